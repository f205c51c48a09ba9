"""Agreement of devices: the same study on the CPU and on the best available device, by all six methods."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import byheart
from benchmarks.subjects import default_base
from byheart.core.types import Row
from byheart.lm.devices import torch_device

METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")
ATTACKS = (
    "loss",
    "reference",
    "zlib_ratio",
    "min_k",
    "min_k_plus_plus",
    "error_zone",
    "wbc",
    "hard_tokens",
    "grad_norm",
)
SIZES = {"train": 16, "members": 16, "nonmembers": 16, "validation": 16, "max_tokens": 48}
COMPARED = ("auc", "perplexity", "train_perplexity")


def measured() -> dict[str, object]:
    """Return the largest difference of each metric between the devices by method, and the number of compared rows.

    AUCs are differences; perplexities are relative to the CPU's. Training and scoring compute in float32.
    """
    device = torch_device("auto").type
    with tempfile.TemporaryDirectory() as folder:
        cpu, other = (_rows(Path(folder) / str(i), each) for i, each in enumerate(("cpu", device)))
    if cpu.keys() != other.keys():
        raise RuntimeError(f"the devices have other rows: {sorted(map(str, cpu.keys() ^ other.keys()))[:4]}")
    found: dict[str, Any] = {"device": device, "rows": len(cpu)}
    for method in METHODS:
        found[method] = {
            metric: max(
                abs(other[key] - value) / (1.0 if metric == "auc" else value)
                for key, value in cpu.items()
                if key[0] == method and key[1] == metric
            )
            for metric in COMPARED
        }
    return found


def _rows(store: Path, device: str) -> Mapping[tuple[object, ...], float]:
    study = {
        "name": "devices",
        "models": [default_base()],
        "datasets": [{"records": {"count": 80}}],
        "data": SIZES,
        "methods": list(METHODS),
        "training": {"epochs": 1, "batch_size": 4},
        "attacks": list(ATTACKS),
        "metrics": list(COMPARED),
        "machine": {"device": device, "precision": "float32"},
    }
    results = byheart.run(study, store=store)
    if results.failed:
        raise RuntimeError(f"cells fail on {device}: {results.failed}")
    return {_key(row): row.value for row in results.rows if row.metric in COMPARED and not row.initialized}


def _key(row: Row) -> tuple[object, ...]:
    return (row.method, row.metric, row.epoch, row.attack, row.metric_settings)
