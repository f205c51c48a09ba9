"""Processes that hold one model together: a common end of every call, or the end of all; never one that waits."""

import ast
import os

import pytest

from byheart.core.errors import SettingError
from byheart.lm import processes as launch
from testing import processes

SCRIPT = """
import os, sys, time
from byheart.core.errors import ModelError, StoreError
from byheart.lm import processes as launch
launch.ANSWER_SECONDS = 1
both = launch.joined(2, "cpu")
rank, said = both.rank, []

def fails(error, *ranks):
    def work():
        if rank in ranks:
            raise error
        return "whole"
    return work

def heard(work):
    try:
        said.append(work())
    except Exception as error:
        said.append(f"{type(error).__name__} {error}")
    except SystemExit as error:
        said.append(f"SystemExit {error}")

heard(lambda: both.agree(lambda: "from 0", lambda: "from 1"))
heard(lambda: both.together(fails(ModelError("alike"), 0, 1)))
heard(lambda: both.agree(fails(StoreError("the disk is full"), 0)))
turns = []
def turn():
    turns.append(time.monotonic())
    time.sleep(0.1)
    return rank
heard(lambda: both.in_turn(turn))
both.send(("call", 7)) if rank == 0 else said.append(both.receive())
heard(lambda: both.together(fails(RuntimeError("out of memory"), 0, 1)))
heard(lambda: both.together(fails(ValueError("other"), 1)))
open(f"{sys.argv[1]}/said{rank}", "w").write(repr((said, turns)))
begun = time.monotonic()
if rank == 1:
    os._exit(9)
try:
    both.together(lambda: None)
except SystemExit as error:
    open(f"{sys.argv[1]}/dead", "w").write(repr((str(error), time.monotonic() - begun)))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each process got from the same calls, and what the first got after the other had died."""
    folder = tmp_path_factory.mktemp("launch")
    (folder / "calls.py").write_text(SCRIPT)
    with pytest.raises(AssertionError, match="exit code 9"):
        processes.ranks(folder / "calls.py", [folder], folder, within=120)
    return [ast.literal_eval((folder / name).read_text()) for name in ("said0", "said1", "dead")]


def test_results_and_common_errors_reach_all_processes(said):
    (first, _), (second, _), _ = said
    assert first[:4] == ["from 0", "ModelError alike", "StoreError the disk is full", 0]
    assert second[:5] == ["from 0", "ModelError alike", "StoreError the disk is full", 1, ("call", 7)]


def test_whole_models_are_loaded_one_after_another(said):
    (_, (first,)), (_, (second,)), _ = said
    assert second - first > 0.09


def test_an_error_of_one_process_ends_all_with_one_line(said):
    (first, _), (second, _), (dead, seconds) = said
    for line in (*first[-2:], *second[-2:]):
        assert line.startswith("SystemExit machine.shard: process ")
        assert "\n" not in line
    assert "process 0 of 2 ends: RuntimeError: out of memory" in first[-2]
    assert "ValueError: other" in first[-1]
    assert "a process has ended" in dead
    assert seconds < 30


def test_a_launch_of_another_size_is_refused(monkeypatch):
    assert launch.joined(1, "cpu") is launch.ALONE
    with pytest.raises(
        SettingError, match=r"machine.shard = 2: 1 process was started. Start torchrun --nproc-per-node 2"
    ):
        launch.joined(2, "cpu")
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "4")
    with pytest.raises(SettingError, match="4 processes were started"):
        launch.joined(2, "cpu")
