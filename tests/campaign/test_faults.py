"""A quick part of the campaign of faults and of determinism, and whether they see what they look for."""

import errno
import json
import os
from pathlib import Path

import pytest

from byheart.core.atomic_file import _short_hash
from campaign.checks import case_seed
from campaign.determinism.outputs import differing
from campaign.faults import memory
from campaign.faults.damaged_stores import _is_harmless
from campaign.faults.file_faults import OPERATIONS, FileFault, install
from campaign.faults.trial import Trial, ending, problem
from campaign.kills.moments import Ended, Moment, child
from campaign.kills.runs import Run
from testing import processes

SCRIPT = Path(__file__).parents[1] / "testing" / "run_campaign_checks.py"
QUICK = (
    "faults/failing_files=study: ENOSPC at write",
    "faults/failing_files=study: EIO at flush",
    "faults/failing_files=pack: ENOSPC at rename",
    "determinism/repeats=study and pack again",
)


def test_faults_give_one_line_and_no_other_result_and_repeats_the_same_bytes(tmp_path):
    """In a process of its own, which forks: this one has threads."""
    process = processes.started(SCRIPT, [1, *QUICK], tmp_path, HF_HUB_OFFLINE="1")
    processes.ended(process, tmp_path, within=300)
    found = json.loads((tmp_path / "out").read_text())
    assert found == {"faults/failing_files": [3, {}], "determinism/repeats": [1, {}]}, json.dumps(found, indent=1)


def write_result(place):
    (place / "draft").write_text("content")
    (place / "draft").rename(place / "result")


def results(place):
    return {"files": {p.name: p.read_text() for p in place.iterdir()}, "drafts": []}


def made_up(start, place):
    """Return the trial of a run that writes one file."""
    return Trial(Run("made up", start, results), {"files": {"result": "content"}, "drafts": []}, {}, place)


def explained(place):
    """Write as byheart does: nothing is left after an error, and its line names the fix."""
    (place / "result").unlink(missing_ok=True)
    try:
        write_result(place)
    except OSError as error:
        (place / "draft").unlink(missing_ok=True)
        ended = SystemExit(2)
        ended.add_note(f"byheart: {error.filename}: {error.strerror}. Free some space.\n")
        raise ended from error


def careless(place):
    try:
        explained(place)
    except SystemExit:
        (place / "result").write_text("con")
        raise


@pytest.mark.parametrize(
    ("start", "fault", "seen"),
    [
        (explained, FileFault("write", 1, errno.ENOSPC, lasting=True), ""),
        (explained, FileFault("rename", 1, errno.EIO), ""),
        (explained, FileFault("create", 1, errno.ENOSPC, lasting=True), ""),
        (write_result, FileFault("write", 1, errno.ENOSPC, lasting=True), "ends with 99"),
        (careless, FileFault("create", 1, errno.ENOSPC), "half of an output: ['result']"),
    ],
)
@pytest.mark.forks
def test_a_run_with_a_fault_is_judged(tmp_path, start, fault, seen):
    found = problem(made_up(start, tmp_path), lambda place: install(fault, [place]))
    assert found.startswith(seen) if seen else not found


@pytest.mark.forks
def test_the_run_after_a_fault_is_judged(tmp_path):
    def start(place):
        (place / "result").write_text("content" if not (place.parent / "before").exists() else "other")
        (place.parent / "before").touch()

    assert problem(made_up(start, tmp_path), lambda _: None).startswith("the next run gives files")


@pytest.mark.parametrize(
    ("code", "printed", "is_right"),
    [
        (0, "", True),
        (2, "1 cell\nbyheart: store: the disk is full. Free some space.\n", True),
        (2, "byheart: full\n", False),
        (2, "byheart: a: full. Free it.\nbyheart: b: full. Free it.\n", False),
        (2, "", False),
        (1, "failed  head: out of memory. Close other programs.\n", True),
        (1, "failed  head: KeyError\n", False),
        (1, "failed  head: out of memory. Close it.\nTraceback (most recent call last)\n", False),
        (99, "", False),
        (-11, "", False),
    ],
)
def test_the_end_of_a_run_is_judged(code, printed, is_right):
    assert (not ending(Ended(code, 0.0, 0, printed, 0))) == is_right


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.forks
def test_only_the_nth_operation_fails_and_on_a_full_disk_all_that_need_space(tmp_path, operation):
    def run(lasting):
        place = tmp_path / str(lasting)
        place.mkdir()
        install(FileFault(operation, 2, errno.ENOSPC, lasting=lasting), [place])
        failed = []
        for name in "abc":
            try:
                with (place / name).open("w+") as file:
                    file.write(name)
                    file.flush()
                    os.fsync(file.fileno())
                (place / name).replace(place / f"{name}{name}")
                (place / f"{name}{name}").read_text()
            except OSError:
                failed.append(name)
        (tmp_path / f"failed {lasting}").write_text("".join(failed))

    for lasting in (False, True):
        ended = child(lambda lasting=lasting: run(lasting), tmp_path / "place", Moment())
        assert ended.code == 0, ended.printed
    once, later = ((tmp_path / f"failed {lasting}").read_text() for lasting in (False, True))
    assert once == "b"
    assert later == "bc"


@pytest.mark.forks
def test_an_error_at_a_call_leaves_the_called_function(tmp_path):
    def run():
        counts = memory.fail_call("store", 2)
        _short_hash("a")
        try:
            _short_hash("b")
        except MemoryError:
            (tmp_path / "seen").write_text(f"{counts['store']} {_short_hash('c') != ''}")

    ended = child(run, tmp_path / "place", Moment())
    assert ended.code == 0, ended.printed
    assert (tmp_path / "seen").read_text() == "2 True"


def test_each_case_has_another_number():
    numbers = [case_seed("a", "b", "c", n).among(7, 5) for n in range(6)]
    assert len({*numbers[:5]}) == 5
    assert set(numbers[:5]) <= set(range(1, 8))
    assert numbers[5] is None
    assert sorted(case_seed("a", "b", "c", n).among(3, 9) or 0 for n in range(3)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("after", "is_harmless"),
    [
        ('{"a":  1, "crc32": "12"}', True),
        ('{"a": 1, "crc33": "12"}', True),
        ('{"a": 2, "crc32": "12"}', False),
        ('{"b": 1, "crc32": "12"}', False),
        ('{"a": 1', False),
    ],
)
def test_a_change_of_no_value_is_harmless(after, is_harmless):
    assert _is_harmless(b'{"a": 1, "crc32": "12"}', after.encode()) == is_harmless


def test_other_files_and_other_bytes_are_seen(tmp_path):
    assert differing({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b", "c"]
    assert not differing({"a": "1"}, {"a": "1"})
