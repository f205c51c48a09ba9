"""Study files: YAML with edited values and keys, YAML's own constructions, and edited bytes; read by plan, check and status."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

from byheart.core import config
from byheart.core.registry import SHELVES, entry_names
from campaign.edits import edited, edited_bytes
from campaign.originals import save_tiny_model, write_lines
from campaign.outcomes import Outcome, typed
from campaign.surfaces import Case, Surface

YAML = (
    *(
        "&a [*a]",
        "&a {b: *a}",
        "*a",
        "!!python/object/apply:os.system [ls]",
        "!!binary aGVsbG8=",
        "!!set {a, b}",
        "!!omap [a: 1]",
    ),
    *(
        "2024-01-01",
        "2024-01-01T00:00:00Z",
        "!!timestamp 2024-01-01",
        "{<<: {a: 1}}",
        "!!float .inf",
        ".nan",
        "0x10",
        "0o17",
    ),
    *(
        "1_000",
        "12e03",
        "+1",
        "~",
        "!!str 1",
        "!!int a",
        "!unknown x",
        "{? [a, b] : c}",
        "{? {a: 1} : c}",
        "{1: 2}",
        "{null: 1}",
    ),
    *(
        "{true: 1}",
        "{1.5: a}",
        "|\n  a",
        "'",
        '"',
        "{",
        "[",
        "- a",
        "%YAML 9.9",
        "1e-4",
        "0b1",
        "1:30",
        "!!null ''",
        "{a: 1, a: 2}",
    ),
)
COMMANDS = (["plan"], ["check"], ["plan", "--json"], ["check", "--json"])
SET = "@@"


def surface() -> Surface:
    """Return the surface."""
    return Surface("study files", prepare, attempt)


def prepare(folder: Path) -> tuple[list[Any], list[Any]]:
    """Return valid studies, and words from which edits draw."""
    save_tiny_model(folder / "model")
    write_lines(folder / "data.jsonl", 40)
    names = [name for shelf in SHELVES for name in entry_names(shelf)]
    settings = [
        f.name
        for kind in (config.Data, config.Training, config.Scoring, config.Machine, config.Canaries)
        for f in dataclasses.fields(kind)
    ]
    return studies(folder), [*names, *settings, "epochs", "path", "count", "rank", [1, 2], {"records": {"count": 40}}]


def studies(folder: Path) -> list[Any]:
    """Return valid studies that together use every key."""
    model = str(folder / "model")
    small: dict[str, Any] = {
        "name": "tiny",
        "models": model,
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
        "methods": ["head"],
        "training": {"epochs": 1, "batch_size": 4},
        "attacks": ["loss"],
        "metrics": ["auc", "perplexity"],
    }
    large = {
        **small,
        "models": [model],
        "datasets": [{"files": {"path": str(folder / "data.jsonl")}}],
        "data": {
            "train": 10,
            "members": 8,
            "nonmembers": 10,
            "validation": 4,
            "known": 0,
            "max_tokens": 30,
            "canaries": {"count": 4, "repetitions": [1], "kinds": ["digits"], "references": 4},
        },
        "methods": [
            {"lora": {"rank": [2, 4], "alpha": 8, "targets": "all"}},
            "full",
            {"prefix": {"virtual_tokens": 3}},
        ],
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "observe": [1, 2], "schedule": "constant"},
        "seeds": [0, 1],
        "attacks": ["loss", {"min_k": {"k": [0.1, 0.2]}}, "zlib_ratio", "reference"],
        "metrics": ["auc", {"tpr_at_fpr": {"fpr": 0.1}}],
        "scoring": {"precision": "float32"},
        "machine": {"device": "cpu", "workers": 1, "executor": "local"},
        "tables": ["methods"],
        "figures": ["trajectory"],
        "observations": [{"shadows": {"models": 4}}],
        "published": [],
    }
    return [small, large]


def attempt(prepared: Any, case: Case, folder: Path) -> Outcome | None:
    """Write the edited study and read it with one of the commands."""
    originals, words = prepared
    chance = random.Random(case.choice)
    original, command, style = chance.choice(originals), chance.choice(COMMANDS), chance.random()
    marks = [f"{SET}{n}" for n in range(len(YAML))]
    content = edited(original, case.edits if style < 0.8 else (), [*words, *marks, *marks])
    text = json.dumps(content, indent=chance.choice((None, 1)), ensure_ascii=chance.random() < 0.5)
    for number in reversed(range(len(YAML))):
        text = text.replace(f'"{SET}{number}"', YAML[number])
    written = text.encode("utf-8", "surrogatepass")
    if style >= 0.8:
        written = edited_bytes(written, case.edits)
    (folder / "study.yaml").write_bytes(written)
    return typed([command[0], str(folder / "study.yaml"), "--store", "store", *command[1:]])
