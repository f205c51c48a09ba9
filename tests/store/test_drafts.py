"""Incomplete files that a killed process left are removed by the next write to the same place; those of running processes stay."""

import os
import signal

import pytest

from byheart.core.atomic_file import atomic_write, draft_of


def killed_while_writing(place):
    """Kill a process between its two writes of a file."""
    process = os.fork()
    if process == 0:
        with atomic_write(place) as draft:
            draft.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_next_write_removes_what_a_killed_one_left(tmp_path):
    place = tmp_path / "page.html"
    killed_while_writing(place)
    assert len(names(tmp_path)) == 1
    assert not place.exists()
    with atomic_write(place) as draft:
        draft.write_text("whole")
    assert names(tmp_path) == ["page.html"]
    assert place.read_text() == "whole"


def test_drafts_of_running_processes_and_of_other_places_stay(tmp_path):
    mine = draft_of(tmp_path / "page.html")
    mine.write_text("this process still writes it")
    killed_while_writing(tmp_path / "other.html")
    with atomic_write(tmp_path / "page.html") as draft:
        draft.write_text("whole")
    assert len(names(tmp_path)) == 3
    assert mine.exists()


def test_a_folder_that_a_killed_process_left_is_removed(tmp_path):
    process = os.fork()
    if process == 0:
        draft = draft_of(tmp_path / "audit")
        draft.mkdir()
        (draft / "half").touch()
        os._exit(0)
    os.waitpid(process, 0)
    assert len(names(tmp_path)) == 1
    assert not draft_of(tmp_path / "audit").exists()
    assert names(tmp_path) == []


def test_a_name_of_any_length_has_a_draft(tmp_path):
    place = tmp_path / ("a" * 250)
    with atomic_write(place, suffix=".jsonl") as draft:
        assert draft.suffix == ".jsonl"
        draft.write_text("whole")
    assert place.read_text() == "whole"


def fail_in(place):
    with atomic_write(place) as draft:
        draft.write_text("half")
        raise KeyError


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        fail_in(tmp_path / "a")
    assert names(tmp_path) == []
