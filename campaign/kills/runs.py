"""What is killed: a study with shadow models, canaries and extraction, alone and by two workers; then its pack, its page, and an audit.

Each run has a folder of its own, and `results` returns what must be the same after a kill and another run.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from campaign.originals import save_tiny_model, write_lines

NUMBERS = re.compile(r"[0-9a-f]{8,}|\d[\d.:T-]*")
"""Numbers, dates and hashes: texts with times of the run are compared without them."""
TEXTS = {".html", ".md", ".tex", ".txt", ".json"}


class Run(NamedTuple):
    """A run by its name: `start` does it in a folder, `results` returns what was written, by name.

    It is killed at every number that `step` divides: a run whose workers import torch costs half a minute.
    """

    name: str
    start: Callable[[Path], None]
    results: Callable[[Path], Mapping[str, Any]]
    step: int = 1


def study(model: Path, **changes: Any) -> dict[str, Any]:
    """Return a study with shadow models, canaries and extraction on a tiny model."""
    return {
        "name": "killed",
        "models": str(model),
        "datasets": [{"records": {"count": 120}}],
        "data": {
            "train": 24,
            "members": 8,
            "nonmembers": 8,
            "validation": 4,
            "max_tokens": 40,
            "canaries": {"count": 4, "repetitions": [1], "kinds": ["digits"], "references": 4},
        },
        "methods": ["lora", "head"],
        "training": {"epochs": 2, "batch_size": 8},
        "attacks": ["loss", "reference", "lira", "discoverable"],
        "observations": [{"shadows": {"models": 4}}],
        "metrics": ["auc", "perplexity", "extraction_rate", "exposure"],
        **changes,
    }


def typed(*words: object) -> None:
    """Type a command in this process, without output."""
    from byheart.cli.main import main

    sys.argv, printed = ["byheart", *map(str, words)], io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(printed):
            main()
    except SystemExit as ended:
        ended.add_note(printed.getvalue())
        raise


def runs(folder: Path, **changes: Any) -> list[Run]:
    """Return every run; their models and texts are written into the folder. `changes` are settings of the study."""
    model = save_tiny_model(folder / "model")
    members, nonmembers = write_lines(folder / "m.jsonl", 8), write_lines(folder / "n.jsonl", 8, 900)
    (folder / "one.yaml").write_text(json.dumps(study(model, **changes)))
    (folder / "two.yaml").write_text(json.dumps(study(model, **{**changes, "machine": {"workers": 2}})))

    def audit(place: Path) -> None:
        texts = ["--members", members, "--nonmembers", nonmembers, "--attacks", "loss,min_k"]
        typed("audit", "--model", model, *texts, "-o", place / "audit")

    def plant(place: Path) -> None:
        settings = ["--count", 8, "--references", 4, "--repetitions", 1, "--seed", 1]
        typed("canaries", "plant", members, "-o", place / "planted.jsonl", *settings)

    return [
        Run("study", lambda place: typed("run", folder / "one.yaml", "--store", place / "store"), store_results),
        Run(
            "two workers",
            lambda place: typed("run", folder / "two.yaml", "--store", place / "store"),
            store_results,
            step=5,
        ),
        Run(
            "page",
            lambda place: _page(place, "report", "-o", place / "page.html", "--export", place / "out"),
            file_results,
        ),
        Run("pack", lambda place: _page(place, "pack", "-o", place / "pack.tar.xz"), file_results),
        Run("audit", audit, file_results),
        Run("plant", plant, file_results),
    ]


def _page(place: Path, command: str, *words: object) -> None:
    typed(command, "--store", place / "store", *words)


def store_results(place: Path) -> dict[str, Any]:
    """Return rows without seconds, the content of all scores, and drafts that were left."""
    from byheart.store.result_files import read_arrays
    from byheart.store.rows import study_rows
    from byheart.store.store import Store

    store = Store.open(place / "store")
    rows = [r for r in study_rows(store) if r.metric != "seconds"]
    scores = {
        key: {
            name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
            for name, array in read_arrays(store.folder("scores", key)).items()
        }
        for key in store.keys("scores")
    }
    stages = sorted(p.name for p in store.root.iterdir() if p.is_dir())
    results = {stage: store.keys(stage) for stage in stages if stage not in {"claims", "states", ".making"}}
    return {"rows": sorted(map(str, rows)), "scores": scores, "results": results, "drafts": drafts(place)}


def file_results(place: Path) -> dict[str, Any]:
    """Return a hash of every file that was written, of texts without their numbers, and drafts that were left."""
    found: dict[str, str] = {}
    for path in sorted(p for p in place.rglob("*") if p.is_file() and p.relative_to(place).parts[0] != "store"):
        content = path.read_bytes()
        if path.suffix in TEXTS and path.name != "rows.json":
            content = NUMBERS.sub("", content.decode("utf-8", "replace")).encode()
        if path.suffix == ".pdf":  # its date is inside
            content = content[:5]
        found[path.relative_to(place).as_posix()] = hashlib.sha256(content).hexdigest()
    return {"files": found, "drafts": drafts(place)}


def drafts(place: Path) -> list[str]:
    """Return files and folders that a broken run left: names that begin with a point, and states of finished trainings."""
    making = [p for p in place.rglob("*") if p.parent.name == ".making"]
    hidden = [p for p in place.rglob(".*") if p.name != ".making" and ".making" not in p.parts]
    states = list(place.glob("store/states/*/*"))
    return sorted(str(p.relative_to(place)) for p in (*making, *hidden, *states))
