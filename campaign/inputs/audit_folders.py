"""Folders of finished audits with edited manifests, rows and scores, sealed again or not; read by verify and compare."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

from byheart.store.seal import MANIFEST, sealed_json
from campaign.edits import VALUES, edited
from campaign.inputs.stores import edit_file, seal_again
from campaign.originals import save_tiny_model, write_lines
from campaign.outcomes import Outcome, typed
from campaign.surfaces import Case, Surface


def surface() -> Surface:
    """Return the surface."""
    return Surface("audit folders", prepare, attempt)


def prepare(folder: Path) -> tuple[Path, Path]:
    """Return the folders of two audits of the same texts."""
    model = str(save_tiny_model(folder / "model"))
    texts = [
        "--members",
        str(write_lines(folder / "m.jsonl", 24)),
        "--nonmembers",
        str(write_lines(folder / "n.jsonl", 24, 900)),
    ]
    for name, attacks in (("a", "loss,min_k"), ("b", "loss")):
        words = [
            "audit",
            "--model",
            model,
            *texts,
            "--attacks",
            attacks,
            "-o",
            str(folder / name),
        ]
        outcome = typed(words)
        if outcome is not None:
            raise RuntimeError(outcome.words)
    return folder / "a", folder / "b"


def attempt(prepared: Any, case: Case, folder: Path) -> Outcome | None:
    """Copy an audit, edit one of its files, and read it."""
    chance = random.Random(case.choice)
    audit = Path(shutil.copytree(prepared[0], folder / "audit"))
    file = audit / chance.choice((MANIFEST, MANIFEST, "rows.json", "rows.json", "scores.parquet", "scores.parquet"))
    if file.suffix == ".parquet" and chance.random() < 0.7:
        _edit_scores(file, case)
    elif file.name == MANIFEST:
        manifest = edited(json.loads(file.read_text()), case.edits)
        try:
            file.write_text(sealed_json(manifest))
        except (ValueError, AttributeError, TypeError):
            file.write_text(json.dumps(manifest))
    else:
        edit_file(file, case, chance)
    if chance.random() < 0.8:
        seal_again(audit)
    face = chance.random()
    if face < 0.5:
        return typed(["verify", str(audit), *chance.choice(([], ["--json"], ["--input", "member=x"]))])
    return typed(["compare", str(audit), str(prepared[1]), *chance.choice(([], ["--json"]))])


def _edit_scores(file: Path, case: Case) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = pq.read_table(file).to_pydict()
    for seed in case.edits:
        chance = random.Random(seed)
        name = chance.choice(sorted(columns))
        move = chance.random()
        if move < 0.3:
            columns[name] = [chance.choice(VALUES[:12])] * len(columns[name])
        elif move < 0.5:
            columns[f"{name}x"] = columns.pop(name)
        elif move < 0.7:
            columns[name] = [str(v) for v in columns[name]]
        else:
            columns[name] = [None, *columns[name][1:]]
    try:
        pq.write_table(pa.table(columns), file)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        file.write_bytes(b"PAR1")
