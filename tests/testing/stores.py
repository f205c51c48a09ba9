"""Finished studies on tiny models, made once per test run and shared; a test that writes to one takes a copy.

They are fixtures of the root conftest: `lora_store`, `shadow_store`, `attribute_store`.
"""

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock

from byheart.core import registry
from byheart.store.store import Store
from testing.typed import byheart


class Finished(NamedTuple):
    """A study's content, and the folder of a store that holds all of it."""

    content: dict
    folder: object

    @property
    def store(self):
        return Store.open(self.folder)

    def copied(self, place):
        """A copy of the store, for writing."""
        return Store.open(shutil.copytree(self.folder, place))


def sharing(tmp_path_factory):
    """A function from a name and a fill function to a folder, filled once for all processes of a run."""
    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent  # a folder of all workers of this run
    root = root / "shared"
    root.mkdir(exist_ok=True)

    def shared(name, fill):
        place, complete = root / name, root / f"{name}.whole"
        with FileLock(root / f"{name}.lock"):
            if not complete.exists():
                shutil.rmtree(place, ignore_errors=True)  # of one that failed half-way
                place.mkdir()
                fill(place)
                complete.touch()
        return place

    return shared


def finished(shared, name, content):
    """The study of this content, run by the first process that requests it."""

    def fill(folder):
        from byheart import run

        results = run(content, store=folder)
        assert not results.failed, results.failed

    return Finished(content, shared(f"{name}_store", fill))


QUICKSTART = Path(__file__).parents[2] / "studies" / "quickstart.yaml"
SMALLER = [
    "data={train: 24, members: 24, nonmembers: 24, validation: 8, max_tokens: 64}",
    "training={epochs: 2, batch_size: 4}",
    "methods=[full, prefix]",
    "metrics=[auc, perplexity, train_perplexity]",
]
"""Changes to the quickstart, which is for a pre-trained model."""


def type_quickstart(folder):
    """Run the smaller quickstart from the command line; its output is stored next to the store."""
    changes = (word for change in SMALLER for word in ("--set", change))
    made = byheart("run", QUICKSTART, "--store", folder / "store", *changes)
    assert made.returncode == 0, made.stderr
    (folder / "output.txt").write_text(made.stdout)


def lora_study(folder, **changes):
    return {
        "name": "tiny",
        "models": str(folder),
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
        "methods": ["lora", "head"],
        "training": {"epochs": 2, "batch_size": 4},
        "metrics": ["auc", "perplexity", "train_perplexity", "generalisation_gap"],
        **changes,
    }


FEW = [
    {"nonmember_prefix": {"shots": 1}},
    {"member_prefix": {"shots": 1}},
    {"after_masked": {"probes": 1}},
    {"after_similar": {"probes": 1}},
    {"neighbour_texts": {"count": 2}},
    {"continuations": {"samples": 1}},
    {"contrastive_samples": {"samples": 3, "max_new_tokens": 8}},
    {"synthetic_texts": {"count": 4, "max_tokens": 8}},
    {"synthetic_texts_base": {"count": 4, "max_tokens": 8}},
    {"self_prompted_texts": {"samples": 1}},
    {"shadows": {"models": 4}},
]
"""Observations as cheap as they can be made."""


TEXT_ATTACKS = tuple(
    name
    for name in registry.entry_names("attacks")
    if "rejected" not in registry.needs(registry.load_function("attacks", name))
)
"""Every attack except those on preference pairs."""


def shadow_study(folder, **changes):
    return {
        "name": "shadowed",
        "models": str(folder),
        "datasets": [{"records": {"count": 140}}],
        "data": {"train": 32, "members": 10, "nonmembers": 12, "validation": 6, "known": 20, "max_tokens": 50},
        "methods": ["lora"],
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.01},
        "attacks": [*TEXT_ATTACKS, {"wbc": {"windows": [1, 5]}}],
        "observations": FEW,
        "metrics": ["auc"],
        **changes,
    }


CITIES = ["Lisbon", "Oslo", "Cairo", "Lima", "Quito", "Minsk"]
PEOPLE = ["sailor", "doctor", "painter", "teacher", "farmer", "singer"]


def write_attribute_lines(folder):
    """Texts of a person, a city and a number of three digits."""
    chance = np.random.default_rng(0)
    rows = []
    for n in range(44):
        city, who, code = CITIES[n % 6], PEOPLE[(n // 6) % 6], "".join(map(str, chance.integers(0, 10, 3)))
        rows.append({"text": f"{who}{n} in {city} has the code {code}.", "code": code, "city": city})
    (folder / "codes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def attribute_study(folder, path, **changes):
    return {
        "name": "attributes",
        "models": str(folder),
        "datasets": [{"files": {"path": str(path), "attributes": ["code", "city"]}}],
        "data": {"train": 12, "members": 12, "nonmembers": 12, "validation": 8, "max_tokens": 60},
        "methods": ["full"],
        "training": {"epochs": 16, "batch_size": 2, "learning_rate": 0.01, "schedule": "linear"},
        "attacks": ["loss"],
        "metrics": ["attribute_inference", "attribute_extraction"],
        "observations": [{"candidates": {"count": 4}}],
        **changes,
    }
