"""A tiny study, and the command line in this process and in a separate one."""

import json
import signal
import subprocess
import sys

import pytest

DATA = {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60}
THEIRS = """
import time
import numpy as np
from byheart.core.types import Estimate
def fails(target):
    raise ValueError("no such\\nluck")
def fails_inside(target):
    return np.zeros(3)[7]
def nan(target):
    return np.full(len(target), np.nan)
def short(target):
    return np.zeros(len(target) - 1)
def words(target):
    return ["a"] * len(target)
def nothing(target):
    return None
def slow(target):
    time.sleep(60)
def dies(target):
    import os; os._exit(9)
def asks(for_what_is_not_there):
    return None
def unmeasured(scores, membership):
    return Estimate(float("nan"))
class NoFunction: pass
"""


def run_command(monkeypatch, capsys, *words):
    """Run what is typed after `byheart` in this process; return exit code, output and errors."""
    from byheart.cli.main import main

    monkeypatch.setattr(sys, "argv", ["byheart", *map(str, words)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    return ended.value.code, shown.out, shown.err


def content(folder):
    return {
        "name": "tiny",
        "models": str(folder),
        "datasets": [{"records": {"count": 60}}],
        "data": DATA,
        "methods": ["head"],
        "training": {"epochs": 1, "batch_size": 4},
        "attacks": ["loss"],
        "metrics": ["auc", "perplexity"],
    }


def byheart(*words, **how):
    command = [sys.executable, "-m", "byheart", *map(str, words)]

    def heed() -> None:
        # A shell starts background processes with Ctrl-C ignored, and children inherit this: these must receive it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed, **how)  # noqa: PLW1509 - no threads here


def lines(count=60, last=b""):
    sentences = [{"text": f"The {n} sailor wrote {n * n} letters to {n + 7} queens."} for n in range(count)]
    return "".join(json.dumps(s) + "\n" for s in sentences).encode() + last
