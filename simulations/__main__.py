"""Simulates, and writes the tables of docs/statistics.md: `make simulate`, or `python -m simulations 2000` for fewer.

What results.json holds is not simulated again, unless the code that it measured has changed.
"""

import ast
import hashlib
import json
import sys
import time
from pathlib import Path

import byheart
from simulations import alarms, intervals, tables
from simulations.pieces import LOT

STUDIES = 10_000
ROUNDS = (2, 5, 12)  # lots of every piece, before any piece is finished: an early stop leaves whole tables
MEASURED = ("inference.py", "combining.py", "proportions.py", "power.py", "blind.py", "metrics/*.py")
DRAWING = ("draws.py", "pieces.py", "intervals.py", "alarms.py")
RESULTS = Path(__file__).parent / "results.json"


def code() -> str:
    """Return what tells the code that is measured from any other; comments and docstrings count for nothing."""
    source = Path(byheart.__file__).parent
    files = [f for pattern in MEASURED for f in sorted(source.glob(pattern))] + [RESULTS.parent / f for f in DRAWING]
    trees = [ast.parse(f.read_text(encoding="utf-8")) for f in files]
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                node.body = node.body[1:]
    return hashlib.sha256("".join(map(ast.dump, trees)).encode()).hexdigest()[:16]


def main(studies: int) -> None:
    """Simulate so many studies of every piece that does not cost more."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results = known if known.get("code") == code() else {"code": code(), "pieces": {}}
    for lots in (*(r for r in ROUNDS if r * LOT < studies), -(-studies // LOT)):
        for piece in (*intervals.pieces(), *alarms.pieces()):
            kept = results["pieces"].setdefault(piece.name, {"lots": 0, "studies": 0, "held": {}})
            started = time.perf_counter()
            while kept["lots"] < lots:
                for name, count in piece.counted(kept["lots"]).items():
                    kept["held"][name] = kept["held"].get(name, 0) + count
                kept["lots"] += 1
                kept["studies"] += piece.lot
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            told = ", ".join(f"{name} {count / kept['studies']:.4f}" for name, count in kept["held"].items())
            print(f"{time.perf_counter() - started:6.1f} s  {piece.name}: {told}", flush=True)  # noqa: T201 - the command's answer
    tables.write(results["pieces"])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES)
