"""The command line of byheart in a separate process."""

import subprocess
import tempfile
from pathlib import Path

import byheart as package
from testing import processes

MAIN = Path(package.__file__).with_name("__main__.py")


def byheart(*arguments):
    """Run the command line and return the process that has ended. tests/cli also starts it as a new Python."""
    with tempfile.TemporaryDirectory() as folder:
        process = processes.started(MAIN, arguments, folder)
        process.join()
        out, err = ((Path(folder) / name).read_text() for name in ("out", "err"))
        return subprocess.CompletedProcess(arguments, process.exitcode, out, err)
