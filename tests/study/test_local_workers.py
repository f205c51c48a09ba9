"""Workers of one machine end with the process that started them."""

import subprocess
import sys
import time

import psutil
import pytest

SCRIPT = """
import multiprocessing, os, sys, time
from pathlib import Path

from byheart.study.executors.local import end_with_parent


def work(place):
    if sys.argv[2] == "ends":
        end_with_parent()
    Path(place + ".part").write_text(str(os.getpid()))
    os.replace(place + ".part", place)
    time.sleep(60)


if __name__ == "__main__":
    worker = multiprocessing.get_context("fork").Process(target=work, args=(sys.argv[1],))
    worker.start()
    worker.join()
"""


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("kind", ["ends", "stays"])
def test_a_worker_ends_when_its_parent_is_killed(tmp_path, kind):
    """The second case shows that the test sees a worker that stays."""
    (tmp_path / "script.py").write_text(SCRIPT)
    place = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, tmp_path / "script.py", str(place), kind])
    deadline = time.monotonic() + 60
    while not place.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    worker = int(place.read_text())
    assert is_running(worker)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + (10 if kind == "ends" else 1)
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    stayed = is_running(worker)
    if stayed:
        psutil.Process(worker).kill()
    assert stayed == (kind == "stays")
