"""Effect of bfloat16 scoring on each attack: AUC and ranking compared with float32, for one fine-tuned model."""

import json
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

import byheart
from byheart.store.rows import score_reader
from byheart.store.store import Store

ATTACKS = ["loss", "reference", "zlib_ratio", "min_k", "min_k_plus_plus", "wbc", "error_zone", "surp"]
STUDY = {
    "name": "precision",
    "datasets": [{"wikipedia": {"limit": 400}}],
    "data": {"train": 64, "members": 64, "nonmembers": 64, "validation": 8, "max_tokens": 128},
    "methods": ["lora"],
    "training": {"epochs": 2},
    "attacks": ATTACKS,
    "metrics": ["auc"],
}


def measured() -> dict[str, object]:
    """Return, by attack, the AUC at either precision and the rank correlation of the texts' scores.

    Also the part of a study's time outside of training and passes over texts, and the part that every script needs.
    """
    found: dict[str, dict[str, object]] = {attack: {} for attack in ATTACKS}
    imported = _seconds(lambda: import_module("byheart.lm.train"))
    own: list[float] = []
    spent: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        scores: dict[tuple[str, str], np.ndarray] = {}
        for precision in ("float32", "bfloat16"):
            store = Path(folder) / precision
            study = {**STUDY, "scoring": {"precision": precision}}
            started = time.perf_counter()
            results = byheart.run(study, store=store)
            spent.append(imported + time.perf_counter() - started)
            own.append(spent[-1] - _in_the_model(store))
            read = score_reader(Store(store))
            for row in results.rows:
                if row.metric == "auc" and row.epoch == STUDY["training"]["epochs"]:
                    found[row.attack][precision] = row.value
                    scores[row.attack, precision] = read(row.scores).scores
        for attack in ATTACKS:
            found[attack]["rank correlation"] = float(
                spearmanr(scores[attack, "float32"], scores[attack, "bfloat16"]).statistic
            )
    loaded = _seconds(import_module("benchmarks.subjects").model)
    return {
        "attacks": found,
        "seconds of a study": max(spent),
        "share of byheart itself": max(a / b for a, b in zip(own, spent, strict=True)),
        "of that importing libraries and loading the model": (imported + loaded) / max(own),
    }


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _in_the_model(store: Path) -> float:
    """Return the seconds of training and of passes over texts."""
    facts = [json.loads(p.read_text()) for p in store.glob("training/*/facts.json")]
    evidence = [json.loads(p.read_text()) for p in store.glob("evidence/*/recipe.json")]
    return sum(sum(f["seconds"]) for f in facts) + sum(e["made"]["seconds"] for e in evidence)
