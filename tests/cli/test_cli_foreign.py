"""External attacks and metrics: an error inside them is reported in one line."""

import re

import pytest


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        ("fails", r"theirs\.py line 6: ValueError: no such luck"),
        ("fails_inside", r"theirs\.py line 8: IndexError: index 7"),
        ("nan", r"22 of 22.* NaN"),
        ("short", r"\(21,\).* 22 scores"),
        ("words", "22 scores"),
        ("nothing", "22 scores"),
    ],
)
def test_a_failing_external_attack_gives_one_line(theirs, failed, study, store, attack, named):
    line = failed("run", study(attacks=["loss", f"theirs:{attack}"]), "--store", store)
    assert re.search(rf"attacks theirs:{attack}\b.*{named}", line)
    assert list((store / "rows").iterdir()), "what was there stays"


def test_an_external_metric_without_a_number_gives_one_line(theirs, failed, study, store):
    line = failed("run", study(metrics=["theirs:unmeasured"]), "--store", store)
    assert re.search(r"metrics theirs:unmeasured\b.*\bnan\b", line)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("theirs:absent", "'absent'"),
        ("theirs:NoFunction", "type"),
        ("theirs:asks", "'for_what_is_not_there'"),
    ],
)
def test_invalid_external_code_is_refused_before_training(theirs, refused, study, tmp_path, name, named):
    line = refused("run", study(attacks=[name]), "--store", tmp_path / "st")
    assert name in line
    assert named in line
