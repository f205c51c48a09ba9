"""Arguments of `byheart.audit`, `byheart.token_stats`, `byheart.plant`, `byheart.run` and the callback, edited."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

import byheart
from campaign.edits import edited
from campaign.inputs.data_files import SHAPE_WORDS
from campaign.inputs.study_files import studies
from campaign.originals import save_tiny_model, sentences
from campaign.outcomes import Outcome
from campaign.surfaces import Case, Surface

OBJECTS = (
    *(
        object(),
        b"bytes",
        {1, 2},
        np.float64("nan"),
        np.int64(3),
        np.zeros(3),
        ("a",),
        ("a", "b"),
        ("a", "b", "c"),
        range(3),
        iter(["a"]),
    ),
    *(
        [("a", "b")] * 3,
        [b"a"],
        [np.str_("a")],
        [1.5],
        {"text": ["a", "b"]},
        {"text": "a"},
        {"text": ["a"], "id": [1, 2]},
        Path("x"),
        len,
    ),
    *(
        "loss",
        ["loss"],
        [{"min_k": {"k": 0.5}}],
        "all",
        "default",
        {"auc": 0.5},
        ["auc=0.6"],
        "epoch",
        "refuse",
        "warn",
        "off",
        "x.csv",
    ),
)


def surface() -> Surface:
    """Return the surface."""
    return Surface("in memory", prepare, attempt)


def prepare(folder: Path) -> dict[str, Any]:
    """Return a model, a tokenizer, and valid arguments of each face."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = save_tiny_model(folder / "model")
    chats = [
        {"messages": [{"role": "user", "content": t}, {"role": "assistant", "content": f"Yes, {t}"}]}
        for t in sentences(6, 300)
    ]
    members = [*sentences(6)]
    nonmembers = [{"text": t, "id": f"n{i}", "group": f"g{i // 2}"} for i, t in enumerate(sentences(6, 900))]
    pairs = [{"prompt": t[:9], "completion": t[9:]} for t in sentences(6, 600)]
    shared = {
        "members": members,
        "nonmembers": nonmembers,
        "validation": pairs,
        "attacks": ["loss"],
        "max_texts": 5,
        "max_tokens": 16,
    }
    return {
        "model": AutoModelForCausalLM.from_pretrained(place),
        "tokenizer": AutoTokenizer.from_pretrained(place),
        "audit": {
            **shared,
            "fpr": 0.1,
            "token_budget": 100,
            "precision": "float32",
            "tokenization": "joined",
            "pass_below": {},
        },
        "callback": {**shared, "every": 2, "fpr": 0.1, "stop_above": 0.9, "preflight": "warn", "token_budget": 100},
        "token_stats": {"texts": members, "max_tokens": 16, "token_budget": 100},
        "plant": {
            "dataset": [*nonmembers, *nonmembers],
            "count": 8,
            "repetitions": [1, 2],
            "kinds": ["digits"],
            "seed": 1,
            "references": 4,
            "delta": 1e-5,
        },
        "chats": {
            "dataset": chats,
            "count": 8,
            "repetitions": [1],
            "kinds": ["digits", "names"],
            "seed": 1,
            "references": 4,
        },
        "run": {"study": studies(folder)[0]},
    }


def attempt(prepared: Any, case: Case, _: Path) -> Outcome | None:
    """Edit the arguments of one face and call it."""
    chance = random.Random(case.choice)
    face = chance.choice(("audit", "audit", "callback", "callback", "token_stats", "plant", "plant", "chats", "run"))
    words = [*SHAPE_WORDS, *OBJECTS, *OBJECTS]
    arguments = edited(prepared[face], case.edits, words)
    if not isinstance(arguments, dict) or not set(arguments) <= set(prepared[face]):
        return None  # Python itself refuses unknown names
    model, tokenizer = prepared["model"], prepared["tokenizer"]
    if face == "audit":
        result = byheart.audit(model, tokenizer, **arguments)
        result.text()
        json.dumps(result.as_dict(), allow_nan=False)
    elif face == "callback":
        byheart.MemorizationCallback(tokenizer=tokenizer, **arguments)
    elif face == "token_stats" and "texts" in arguments:
        stats = byheart.token_stats(model, tokenizer, arguments.pop("texts"), **arguments)
        if not np.isfinite(stats.logp.values if hasattr(stats.logp, "values") else stats.logp).all():
            raise AssertionError("a log-probability is not finite")
    elif face in {"plant", "chats"} and "dataset" in arguments:
        planted = byheart.plant(arguments.pop("dataset"), **arguments)
        planted.canaries.save("planted")
    elif face == "run" and "study" in arguments:
        from byheart.study.study_file import parse_study

        parse_study(arguments["study"])
    return None
