"""Somebody else's attacks and metrics: what fails in them is told in one line."""

import pytest


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        ("fails", "attacks theirs:fails failed in theirs.py line 6: ValueError: no such luck"),
        ("fails_inside", "attacks theirs:fails_inside failed in theirs.py line 8: IndexError: index 7"),
        ("nan", "attacks theirs:nan must give finite scores; 22 of 22 are NaN or infinite"),
        ("short", "attacks theirs:short must give 22 scores, one a text; it gave shape (21,)"),
        ("words", "attacks theirs:words must give 22 scores, one a text; it gave no numbers"),
        ("nothing", "attacks theirs:nothing must give 22 scores"),
    ],
)
def test_a_foreign_attack_that_fails_is_one_line(theirs, failed, study, store, attack, told):
    line = failed("run", study(attacks=["loss", f"theirs:{attack}"]), "--store", store)
    assert told in line
    assert list((store / "rows").iterdir()), "what was there stays"


def test_a_foreign_metric_without_a_number_is_one_line(theirs, failed, study, store):
    line = failed("run", study(metrics=["theirs:unmeasured"]), "--store", store)
    assert "metrics theirs:unmeasured must give finite numbers; it gave nan" in line


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("theirs:absent", "has no attribute 'absent'"),
        ("theirs:NoFunction", "is a type; write the name of a function"),
        ("theirs:asks", "asks for 'for_what_is_not_there'; there are texts, "),
    ],
)
def test_foreign_code_that_cannot_be_used_is_refused_up_front(theirs, refused, study, tmp_path, name, told):
    assert told in refused("run", study(attacks=[name]), "--store", tmp_path / "st")
