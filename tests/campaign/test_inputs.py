"""A quick, seeded part of the campaign of wrong inputs, and whether it sees the faults that it looks for."""

import importlib
import json
import time

import pytest

from byheart.core.errors import DataError, TrainingError
from campaign import __main__ as command
from campaign import outcomes, page
from campaign.edits import edited, edited_bytes
from campaign.surfaces import Case, Surface, campaign, case_number, smallest, tried

QUICK = {
    "audit_folders": 12,
    "canary_manifests": 15,
    "command_lines": 20,
    "data_files": 15,
    "endpoint_answers": 12,
    "given_scores": 20,
    "in_memory": 30,
    "model_folders": 6,
    "plans": 3,
    "stores": 5,
    "study_files": 25,
}
"""Number of cases of each surface in the test suite."""


def test_every_surface_has_a_quick_part():
    assert set(command.SURFACES) == set(QUICK)


@pytest.mark.parametrize("name", QUICK)
def test_wrong_inputs_are_accepted_rightly_or_refused_in_one_line(name):
    found = campaign(importlib.import_module(f"campaign.inputs.{name}").surface(), 0, QUICK[name], seconds=60)
    assert found.cases == QUICK[name]
    assert not found.faults, json.dumps(found.faults, indent=1)


def test_cases_follow_from_the_surface_and_their_number():
    assert case_number("a", 1) == case_number("a", 1)
    assert len({case_number(name, n) for name in "ab" for n in range(100)}) == 200
    content, seeds = {"a": [1, "b", {"c": 2.5}]}, (1, 2, 3)
    assert json.dumps(edited(content, seeds)) == json.dumps(edited(content, seeds))
    assert content == {"a": [1, "b", {"c": 2.5}]}
    assert edited(content, ()) == content
    assert len({json.dumps(edited(content, (n,))) for n in range(200)}) > 60
    assert len({edited_bytes(b"some content of a file", (n,)) for n in range(200)}) > 100


@pytest.mark.parametrize("name", ["study_files", "given_scores", "in_memory", "plans", "canary_manifests"])
def test_originals_without_edits_are_accepted(name, tmp_path):
    """A surface whose originals are refused would try nothing else."""
    one = importlib.import_module(f"campaign.inputs.{name}").surface()
    prepared = one.prepare(tmp_path)
    found = [tried(one, prepared, Case(choice, ())) for choice in range(6)]
    assert {o.kind for o in found} == {"done"}, found


def surface(attempt):
    return Surface("made up", lambda folder: None, lambda prepared, case, folder: attempt(case, folder))


def refuse(message, kind=DataError):
    def attempt(case, folder):
        raise kind(message)

    return attempt


def crash(case, folder):
    raise KeyError("gone")


def hang(case, folder):
    time.sleep(5)


def leave(case, folder):
    (folder.parent / ".half").write_text("half")
    raise DataError("x: is wrong. Correct it.")


@pytest.mark.parametrize(
    ("attempt", "kind"),
    [
        (lambda case, folder: None, "done"),
        (refuse("x: is wrong. Correct it."), "refused"),
        (refuse("is wrong"), "no fix named"),
        (refuse("x: diverged. Lower it.", TrainingError), "exit 1"),
        (refuse("x: \x1b[31m is wrong. Correct it."), "control characters"),
        (refuse(f"x: {'a' * 4000} is wrong. Correct it."), "long line"),
        (crash, "traceback"),
        (hang, "hang"),
        (leave, "left files"),
        (lambda case, folder: outcomes.typed(["shelf", "nope"]), "refused"),
        (lambda case, folder: outcomes.typed(["shelf", "attacks"]), "done"),
    ],
)
def test_every_kind_of_fault_is_seen(attempt, kind, monkeypatch):
    if attempt is hang:  # the others may take long on a busy machine
        monkeypatch.setattr(outcomes, "HANG_SECONDS", 0.2)
    assert tried(surface(attempt), None, Case(0, (1,))).kind == kind


def test_a_fault_is_reduced_to_the_edits_that_cause_it():
    def attempt(case, folder):
        if 7 in case.edits:
            raise KeyError("gone")

    one = surface(attempt)
    case = Case(0, (3, 7, 9))
    assert smallest(one, None, case, tried(one, None, case)) == Case(0, (7,))
    everywhere = campaign(surface(crash), 0, 20, seconds=60)
    assert [fault["times"] for fault in everywhere.faults.values()] == [20]
    assert everywhere.counts == {"traceback": 20}


def test_the_page_has_the_stored_counts():
    assert page.PAGE.read_text(encoding="utf-8") == page.page(page.read(page.RESULTS), page.read(page.FIXED))
