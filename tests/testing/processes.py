"""Processes that start with torch and its libraries imported, which a new Python takes seven seconds of a core for.

A server, one for each process of the test run, imports them once and forks. Its processes share nothing else with the test.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "transformers", "peft", "datasets", "byheart.study.tasks", "byheart.cli.main"])


def started(path, words, folder, **environment):
    """Start a script (or a package's __main__) with these arguments; it prints to `out` and `err` in the folder."""
    complete = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    process = CONTEXT.Process(
        target=_run, args=(str(path), list(map(str, words)), Path(folder), complete, Path.cwd()), daemon=True
    )
    process.start()
    return process


def _run(path, words, folder, environment, place):
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(place)
    sys.argv = [path, *words]
    runpy.run_path(path, run_name="__main__")


def ended(process, folder, *, within):
    """Wait for a process; fail with the end of what it printed if it fails or takes longer (seconds)."""
    process.join(within)
    if process.exitcode != 0:
        process.kill()
        raise AssertionError(f"exit code {process.exitcode}: {(folder / 'err').read_text()[-3000:]}")


def ranks(path, words, folder, *, count=2, within=300, **environment):
    """Run a script in processes that share a training, with the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    running = []
    for rank in map(str, range(count)):
        own = folder / f"rank{rank}"
        own.mkdir()
        one = {"RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": str(count)}
        running.append((started(path, words, own, **environment, **shared, **one), own))
    for process, own in running:
        ended(process, own, within=within)


def wait_for(process, folder, text, *, within=120):
    """Wait until a running process has printed a text."""
    printed, deadline = folder / "out", time.monotonic() + within
    while process.is_alive() and time.monotonic() < deadline:
        if printed.exists() and text in printed.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"never printed {text!r}")
