"""Arguments of `byheart.audit_scores`, edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import byheart
from campaign.edits import edited
from campaign.inputs.in_memory import OBJECTS
from campaign.originals import sentences
from campaign.outcomes import Outcome
from campaign.surfaces import Case, Surface

NAMES = ("mine", "base/mine", "base/", "loss", "text", "prompt", "completion", "messages", "id", "group", "os:system")


def surface() -> Surface:
    """Return the surface."""
    return Surface("given scores", prepare, attempt)


def prepare(_: Path) -> dict[str, Any]:
    """Return valid arguments: records with texts, and those of the second class with ids, groups and numbers as text."""
    texts = sentences(8), sentences(8, 900)
    members = [{"text": t, "mine": i / 7, "base/mine": -i / 3} for i, t in enumerate(texts[0])]
    nonmembers = [
        {"text": t, "id": f"n{i}", "group": f"g{i // 2}", "mine": f"{i}", "base/mine": 1e-3}
        for i, t in enumerate(texts[1])
    ]
    settings = {"higher_means_member": True, "name": "theirs", "max_texts": 7, "fpr": 0.2, "pass_below": {}}
    return {"members": members, "nonmembers": nonmembers, "scores": ["mine"], **settings}


def attempt(prepared: Any, case: Case, _: Path) -> Outcome | None:
    """Edit the arguments, audit, and print and save the result."""
    arguments = edited(prepared, case.edits, [*NAMES, *OBJECTS])
    if not isinstance(arguments, dict) or not {"members", "nonmembers", "scores"} <= set(arguments) <= set(prepared):
        return None  # Python itself refuses these
    result = byheart.audit_scores(arguments.pop("members"), arguments.pop("nonmembers"), **arguments)
    result.text()
    json.dumps(result.as_dict(), allow_nan=False)
    if case.choice % 20 == 0:
        result.save("audit")
    return None
