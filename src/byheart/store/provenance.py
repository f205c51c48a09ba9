"""How a result was made: revision, versions, machine, seconds. Kept beside it, and in no key."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any


def result_provenance(seconds: float) -> dict[str, Any]:
    """Return how a result was made that took so many seconds until now."""
    here = _environment()
    return {
        **here,
        "machine": {**here["machine"], **_used_gpus()},
        "seconds": round(seconds, 3),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


@functools.cache
def _environment() -> dict[str, Any]:
    """Return revision, versions and machine: what a reader needs to make the result again."""
    names = ("byheart", "numpy", "torch", "transformers", "peft", "accelerate", "datasets", "scipy")
    versions = {n: metadata.version(n) for n in names if _installed(n)}
    return {
        "revision": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "versions": {"python": platform.python_version(), **versions},
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            **({"model": model} if (model := _processor_name()) else {}),
        },
    }


def _processor_name() -> str:
    """Return the processor's name where the system tells it; "" where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _used_gpus() -> dict[str, str]:
    """Return the graphics cards that this process has computed on.

    torch is asked only where it runs already: to load it, or to wake a card, for a note would cost more than the work.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    used = [i for i in range(torch.cuda.device_count()) if torch.cuda.max_memory_allocated(i)]
    return {"gpu": " and ".join(torch.cuda.get_device_name(i) for i in used)} if used else {}


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), *arguments]
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""
