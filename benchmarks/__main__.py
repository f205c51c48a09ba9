"""Measures what byheart costs, and writes docs/benchmarks.md: `make bench`, or `python -m benchmarks scoring` for one piece.

`python -m benchmarks --results FILE devices shapes` writes a JSON file and no page; `devices` and `shapes` are for GPUs
(`benchmarks/gpu.sh`). Each piece runs in a separate process, so that pieces do not share memory or caches.
"""

import importlib
import json
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks import page

PIECES = ("scoring", "memory", "training", "heads", "harness", "precision", "profiles")
DEVICE_PIECES = ("devices", "shapes")
"""Pieces that compare a GPU with the CPU, or need its memory. The page does not have them."""
RESULTS = Path(__file__).parent / "results.json"
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "numpy")


def main(pieces: list[str], file: Path = RESULTS) -> None:
    """Measure these pieces, or all, and write the page from all results; with another file, write only this file."""
    known = PIECES if file == RESULTS else (*PIECES, *DEVICE_PIECES)
    if unknown := [piece for piece in pieces if piece not in known]:
        sys.exit(f"no piece {unknown[0]!r}; pieces: {', '.join(known)}")
    results = json.loads(file.read_text()) if file.exists() else {}
    for piece in pieces or PIECES:
        started = time.perf_counter()
        made = subprocess.run([sys.executable, "-m", "benchmarks", "--one", piece], check=True, stdout=subprocess.PIPE)
        results[piece] = {**json.loads(made.stdout.splitlines()[-1]), "machine": _machine()}
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"{time.perf_counter() - started:6.0f} s  {piece}", flush=True)
    if file == RESULTS:
        page.PAGE.write_text(page.text(results), encoding="utf-8")


def _machine() -> dict[str, str]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": _processor(),
        "cores": str(torch.get_num_threads()),
        "GPU": gpu,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(importlib.import_module(f"benchmarks.{sys.argv[2]}").measured()))
    elif sys.argv[1:2] == ["--results"]:
        main(sys.argv[3:], Path(sys.argv[2]))
    else:
        main(sys.argv[1:])
