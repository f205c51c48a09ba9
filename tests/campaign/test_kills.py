"""A quick, seeded part of the campaign of kills, and whether it sees the faults that it looks for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import campaign
from campaign.kills.campaign import drawn
from campaign.kills.moments import Moment, child


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
