"""A quick, seeded part of the campaign of kills, and whether it sees the faults that it looks for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import campaign
from campaign.kills.campaign import broken, drawn
from campaign.kills.moments import Moment, child
from campaign.kills.runs import Run


@pytest.mark.slow
def test_killed_runs_end_like_unbroken_ones():
    """In a process of its own: this one has threads, which a forked child would not have."""
    words = ["kills", "--surface", "audit,plant", "--first", "0", "--count", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    root = Path(campaign.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "campaign", *words],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "{'audit': 2, 'plant': 2}; 0 other results" in done.stdout, done.stdout


@pytest.mark.forks
def test_a_child_is_ended_before_its_nth_file_operation(tmp_path):
    place = tmp_path / "place"
    place.mkdir()

    def run():
        for n in range(5):
            (place / f"{n}").write_text("x")

    unbroken = child(run, place, Moment())
    assert (unbroken.code, unbroken.operations) == (0, 5)
    for file in place.iterdir():
        file.unlink()
    assert child(run, place, Moment(signal.SIGKILL, operation=3)).code == -signal.SIGKILL
    assert sorted(p.name for p in place.iterdir()) == ["0", "1"]


@pytest.mark.forks
def test_an_error_of_the_child_is_reported(tmp_path):
    def run():
        raise KeyError("gone")

    ended = child(run, tmp_path / "place", Moment())
    assert ended.code == 99
    assert "KeyError" in ended.printed


def test_moments_follow_from_the_run_and_the_number():
    moments = [drawn("study", n, 3.0, 40) for n in range(200)]
    assert moments == [drawn("study", n, 3.0, 40) for n in range(200)]
    assert {m.number for m in moments} == {signal.SIGKILL, signal.SIGTERM, signal.SIGINT}
    assert {m.operation for m in moments if m.operation is not None} <= set(range(1, 41))
    assert sum(m.operation is None for m in moments) > 40


def _file_run(start):
    return Run("study", start, lambda place: {"drafts": []})


def _make(place, name):
    folder = place / "store" / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text("{}")


@pytest.mark.forks
def test_a_result_that_is_made_again_is_a_fault(tmp_path):
    def makes_all_again(place):
        for name in "ab":
            (place / "store" / "models" / name / "recipe.json").unlink(missing_ok=True)
            _make(place, name)

    def makes_what_is_missing(place):
        for name in "ab":
            if not (place / "store" / "models" / name / "recipe.json").exists():
                _make(place, name)

    moment = Moment(signal.SIGKILL, operation=8)  # a is complete, b is not
    assert broken(_file_run(makes_all_again), tmp_path, moment, {"drafts": []}) == "made twice: ['models/a']"
    assert not broken(_file_run(makes_what_is_missing), tmp_path, moment, {"drafts": []})


@pytest.mark.forks
def test_a_signal_that_ends_a_run_with_another_exit_code_is_a_fault(tmp_path):
    def fails(place):
        try:
            (place / "x").write_text("x")
        except KeyboardInterrupt:
            sys.exit(1)

    moment = Moment(signal.SIGINT, operation=1)
    assert broken(_file_run(fails), tmp_path, moment, {"drafts": []}).startswith("SIGINT ends the run with 1")
