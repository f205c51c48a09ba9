"""Errors of the machine become one line that names the fix; errors of byheart keep their traceback."""

import errno
import os
import sys
from pathlib import Path

import pytest

from byheart.cli import main as command
from byheart.cli.messages import named_path_line
from byheart.core import machine_identity
from byheart.core.machine_faults import MACHINE_ERRNOS, OUT_OF_MEMORY, machine_fault_line

TORCH = "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."


def system_error(number, path=None):
    return OSError(number, os.strerror(number), path)


def behind(error):
    """Return an error of a library that has this one behind it."""
    raised = ValueError("is not a zip file")
    raised.__context__ = error
    return raised


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (system_error(errno.ENOSPC), "the disk is full. Free some space"),
        (system_error(errno.EDQUOT), "quota is used up. Free some space"),
        (system_error(errno.EIO, "/a/b"), "/a/b: cannot be read or written (Input/output error). Check the disk"),
        (system_error(errno.EMFILE, "/a/b"), "too many open files. Raise the limit, as in ulimit -n 4096"),
        (
            system_error(errno.EACCES, "/a/b"),
            "/a/b: cannot be read or written (Permission denied). Change its permissions",
        ),
        (system_error(errno.ENOMEM), OUT_OF_MEMORY),
        (MemoryError(), OUT_OF_MEMORY),
        (RuntimeError(TORCH), OUT_OF_MEMORY),
        (RuntimeError("can't start new thread"), OUT_OF_MEMORY),
        (Exception("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (behind(system_error(errno.ENOSPC)), "the disk is full"),
    ],
)
def test_a_fault_of_the_machine_has_a_line(error, words):
    assert words in machine_fault_line(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("x"),
        RuntimeError("x"),
        system_error(errno.ENOENT, "/a"),
        OSError("no number"),
        behind(KeyError()),
    ],
)
def test_another_error_has_none(error):
    assert machine_fault_line(error) is None


def test_an_error_that_is_its_own_cause_ends():
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    assert machine_fault_line(first) is None


@pytest.mark.parametrize("number", sorted(MACHINE_ERRNOS))
def test_another_path_is_no_fix_for_a_fault_of_the_machine(number):
    assert named_path_line(system_error(number, "/a/b"), ["/a/b"]) is None
    assert "Name another path" in named_path_line(system_error(errno.ENOTDIR, "/a/b"), ["/a/b"])


@pytest.mark.parametrize(
    ("error", "code"), [(MemoryError(), 2), (system_error(errno.EMFILE, "/a"), 2), (KeyError("gone"), None)]
)
def test_a_command_ends_in_one_line_or_with_its_traceback(monkeypatch, capsys, error, code):
    def fail(*_arguments, **_settings):
        raise error

    monkeypatch.setattr(command, "app", fail)
    monkeypatch.setattr(sys, "argv", ["byheart", "rows"])
    with pytest.raises(SystemExit if code else KeyError) as ended:
        command.main()
    if code:
        assert ended.value.code == code
        assert capsys.readouterr().err == f"byheart: {machine_fault_line(error)}\n"


@pytest.mark.parametrize(("number", "is_running"), [(errno.ESRCH, False), (errno.EACCES, True), (errno.EMFILE, None)])
def test_a_process_that_the_system_does_not_show_has_not_ended(monkeypatch, number, is_running):
    """Otherwise a process without free file handles removes the drafts and claims of processes that run."""

    def read(*_arguments, **_settings):
        raise system_error(number, "/proc/1/stat")

    monkeypatch.setattr(machine_identity.Path, "read_text", read)
    if is_running is None:
        with pytest.raises(OSError, match="Too many open files"):
            machine_identity.is_running(os.getpid(), "1")
    else:
        assert machine_identity.is_running(os.getpid(), "1") == is_running


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="Linux has names of processes in /proc")
def test_a_process_may_have_a_name_in_any_encoding():
    name = Path("/proc/self/comm")
    before = name.read_bytes()
    try:
        name.write_bytes(b"caf\xe9")
        assert machine_identity.is_running(os.getpid(), machine_identity.process_start(os.getpid()))
    finally:
        name.write_bytes(before.strip())
