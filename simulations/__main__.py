"""Simulates, and writes the tables of docs/statistics.md: `make simulate`, or `python -m simulations 2000` for fewer.

Results in results.json are not simulated again, unless the measured code has changed and the first lot of studies, which is repeated
then, has other counts. A part may be named: `python -m simulations 10000 guesses`.
"""

import ast
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import byheart
from simulations import (
    alarms,
    attributes,
    blind,
    exposure,
    groups,
    guesses,
    intervals,
    near_copies,
    pass_bounds,
    planted,
    reversed_verdicts,
    tables,
    utility,
    verdicts,
)
from simulations.pieces import LOT, Piece

STUDIES = 10_000
ROUNDS = (2, 5, 12)  # lots of every piece before any piece is finished, so that an early stop leaves complete tables
RESULTS = Path(__file__).parent / "results.json"


class Part(NamedTuple):
    """Pieces that measure the same code: files of byheart, and the files of this folder that simulate data."""

    pieces: tuple[Callable[[], Iterator[Piece]], ...]
    measured: tuple[str, ...]
    drawing: tuple[str, ...]


METRICS = ("tpr_at_fpr", "perplexity", "train_perplexity", "generalisation_gap", "_nll")
PARTS = {
    "intervals": Part(
        (intervals.pieces, alarms.pieces),
        (
            *(
                "stats/roc_auc.py",
                "stats/intervals.py",
                "stats/seed_pooling.py",
                "stats/proportions.py",
                "stats/power.py",
                "data/blind_baselines.py",
            ),
            *(f"metrics/{name}.py" for name in METRICS),
        ),
        ("draws.py", "pieces.py", "intervals.py", "alarms.py"),
    ),
    "attributes": Part(
        (attributes.pieces,),
        (
            *(f"metrics/{name}.py" for name in ("attribute_inference", "_attributes", "_candidate_pools")),
            *("data/private_attributes.py", "stats/proportions.py"),
        ),
        ("pieces.py", "attributes.py"),
    ),
    "groups": Part(
        (groups.pieces,),
        (
            *(f"data/{name}.py" for name in ("splitting", "split_roles", "group_sampling")),
            *("metrics/auc.py", "metrics/group_auc.py", "stats/roc_auc.py"),
        ),
        ("pieces.py", "groups.py"),
    ),
    "exposure": Part(
        (exposure.pieces,),
        (
            *(f"stats/{name}.py" for name in ("canary_exposure", "skew_normal", "heavy_tail")),
            *(f"metrics/{name}.py" for name in ("exposure", "_canary_exposure", "_nll")),
        ),
        ("pieces.py", "exposure.py"),
    ),
    "utility": Part(
        (utility.pieces,),
        (
            *(f"analysis/{name}.py" for name in ("utility_curves", "matched_utility")),
            *("tables/matched_utility.py", "metrics/auc.py", "stats/roc_auc.py", "stats/intervals.py"),
        ),
        ("pieces.py", "utility.py"),
    ),
    "near_copies": Part(
        (near_copies.pieces,),
        tuple(f"data/{name}.py" for name in ("near_duplicates", "gram_overlap", "text_units")),
        ("pieces.py", "near_copies.py"),
    ),
    "verdicts": Part(
        (verdicts.pieces,),
        (
            *(f"data/{name}.py" for name in ("blind_baselines", "blind_features", "split_check")),
            *("auditing/verdict.py", "core/split_check.py"),
            *(f"stats/{name}.py" for name in ("leakage_tests", "roc_auc", "intervals")),
        ),
        ("pieces.py", "verdicts.py"),
    ),
    "blind": Part(
        (blind.pieces,),
        (
            *(f"data/{name}.py" for name in ("blind_baselines", "blind_features", "split_check", "splitting")),
            *(f"stats/{name}.py" for name in ("roc_auc", "intervals")),
        ),
        ("pieces.py", "blind.py"),
    ),
    "reversed": Part(
        (reversed_verdicts.pieces,),
        (
            *(f"data/{name}.py" for name in ("blind_baselines", "blind_features", "split_check")),
            *("auditing/verdict.py", "auditing/training/alarms.py", "core/split_check.py"),
            *(f"stats/{name}.py" for name in ("leakage_tests", "roc_auc", "intervals")),
        ),
        ("pieces.py", "verdicts.py", "reversed_verdicts.py"),
    ),
    "pass_bounds": Part(
        (pass_bounds.pieces,),
        (
            *("auditing/pass_bounds.py", "metrics/tpr_at_fpr.py", "data/split_check.py", "data/blind_baselines.py"),
            *(f"stats/{name}.py" for name in ("equivalence", "roc_auc", "intervals", "proportions")),
        ),
        ("pieces.py", "draws.py", "verdicts.py", "pass_bounds.py"),
    ),
    "planted": Part(
        (planted.pieces,),
        (
            *(f"data/{name}.py" for name in ("planting", "planted_kinds", "canary_manifest", "canary_records")),
            *("auditing/canaries/measure.py", "auditing/canaries/texts.py", "auditing/verdict.py"),
            *(f"metrics/{name}.py" for name in ("epsilon_lower_bound", "canary_tpr", "_canary_gain", "tpr_at_fpr")),
            *(f"stats/{name}.py" for name in ("epsilon_bounds", "leakage_tests", "roc_auc", "intervals")),
        ),
        ("pieces.py", "planted.py"),
    ),
    "guesses": Part(
        (guesses.pieces,),
        ("stats/epsilon_bounds.py", "stats/roc_auc.py", "stats/intervals.py"),
        ("pieces.py", "guesses.py"),
    ),
}


def code(part: Part) -> str:
    """Return a hash of the measured code without comments and docstrings."""
    source = Path(byheart.__file__).parent
    files = [source / name for name in part.measured] + [RESULTS.parent / name for name in part.drawing]
    trees = [ast.parse(f.read_text(encoding="utf-8")) for f in files]
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                node.body = node.body[1:]
    return hashlib.sha256("".join(map(ast.dump, trees)).encode()).hexdigest()[:16]


def main(studies: int, parts: Sequence[str]) -> None:
    """Simulate this number of studies of every piece of these parts; expensive pieces have fewer."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"code": {}, "pieces": {}}
    for name in parts:
        if results["code"].get(name) != code(PARTS[name]):
            for piece in pieces_of(name):
                if not is_repeated(piece, results["pieces"].get(piece.name)):
                    results["pieces"].pop(piece.name, None)
            results["code"][name] = code(PARTS[name])
    for lots in (*(r for r in ROUNDS if r * LOT < studies), -(-studies // LOT)):
        for piece in (one for name in parts for one in pieces_of(name)):
            kept = results["pieces"].setdefault(piece.name, {"lots": 0, "studies": 0, "held": {}})
            started = time.perf_counter()
            while kept["lots"] < lots:
                counts = piece.counted(kept["lots"])
                kept.setdefault("first", counts)
                for name, count in counts.items():
                    kept["held"][name] = kept["held"].get(name, 0) + count
                kept["lots"] += 1
                kept["studies"] += piece.lot
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            told = ", ".join(f"{name} {count / kept['studies']:.4f}" for name, count in kept["held"].items())
            print(f"{time.perf_counter() - started:6.1f} s  {piece.name}: {told}", flush=True)  # noqa: T201 - the command's answer
    tables.write(results["pieces"])


def is_repeated(piece: Piece, kept: Mapping[str, Any] | None) -> bool:
    """Whether the present code gives the stored counts of the first lot: a change of other code needs no new simulation."""
    return kept is not None and "first" in kept and piece.counted(0) == kept["first"]


def pieces_of(part: str) -> Iterator[Piece]:
    """Yield every piece of a part."""
    for made in PARTS[part].pieces:
        yield from made()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES, sys.argv[2:] or list(PARTS))
