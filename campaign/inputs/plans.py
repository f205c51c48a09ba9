"""Preregistered plans with edited values, sealed again or not; read by an audit of a tiny model."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from byheart.store.seal import sealed_json
from campaign.edits import edited, edited_bytes
from campaign.originals import save_tiny_model, write_lines
from campaign.outcomes import Outcome, typed
from campaign.surfaces import Case, Surface


def surface() -> Surface:
    """Return the surface."""
    return Surface("plans", prepare, attempt)


def prepare(folder: Path) -> tuple[Path, list[str], str]:
    """Return a plan, the words of the audit that follows it, and the model."""
    model = str(save_tiny_model(folder / "model"))
    members, nonmembers = write_lines(folder / "m.jsonl", 6), write_lines(folder / "n.jsonl", 6, 900)
    words = [
        "audit",
        "--members",
        str(members),
        "--nonmembers",
        str(nonmembers),
        "--attacks",
        "loss",
        "--max-tokens",
        "16",
    ]
    outcome = typed([*words, "--preregister", str(folder / "plan.json")])
    if outcome is not None:
        raise RuntimeError(outcome.words)
    return folder / "plan.json", words, model


def attempt(prepared: Any, case: Case, folder: Path) -> Outcome | None:
    """Edit a plan and audit with it."""
    plan, words, model = prepared
    chance = random.Random(case.choice)
    if chance.random() < 0.2:
        (folder / "plan.json").write_bytes(edited_bytes(plan.read_bytes(), case.edits))
    else:
        content = edited(json.loads(plan.read_text()), case.edits, ["loss", "min_k", "auc=0.6", "joined", "float32"])
        try:
            text = sealed_json(content)
        except (ValueError, AttributeError, TypeError):
            text = json.dumps(content)
        (folder / "plan.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    output = chance.choice(([], [], ["-o", "audited"]))
    return typed([*words, "--model", model, "--preregistered", str(folder / "plan.json"), *output])
