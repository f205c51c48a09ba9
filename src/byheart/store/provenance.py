"""Provenance of a result: revision, versions, machine, seconds. Stored with the result and part of no key."""

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
    """Return the provenance of a result that took this many seconds and is finished now."""
    environment = _environment()
    return {
        **environment,
        "machine": {**environment["machine"], **_used_gpus()},
        "seconds": round(seconds, 3),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


@functools.cache
def _environment() -> dict[str, Any]:
    """Return revision, versions and machine, to reproduce the result."""
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
    """Return the processor's name; "" if the system does not report one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _used_gpus() -> dict[str, str]:
    """Return the GPUs that this process has computed on.

    Queries torch only if it is loaded and CUDA is initialized: loading either for a note would take longer than the work.
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
    try:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)  # noqa: S603 - constants
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""
