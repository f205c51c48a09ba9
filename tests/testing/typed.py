"""The command line of byheart in a separate process."""

import subprocess
import sys


def byheart(*arguments):
    """Run the command line and return the process that has ended."""
    return subprocess.run(
        [sys.executable, "-m", "byheart", *map(str, arguments)], capture_output=True, text=True, check=False
    )
