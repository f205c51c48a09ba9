"""Answers of a server with edited values, bytes and statuses; read by an audit of an endpoint. No network is used."""

from __future__ import annotations

import json
import random
import re
import zlib
from pathlib import Path
from typing import Any
from unittest import mock

from byheart.auditing.server.client import Endpoint, RequestLimits
from campaign.edits import edited, edited_bytes
from campaign.originals import sentences
from campaign.outcomes import Outcome
from campaign.surfaces import Case, Surface

WORDS = (
    *(
        None,
        -1.0,
        0.0,
        5.0,
        float("-inf"),
        float("nan"),
        "",
        " ",
        "The",
        "token_logprobs",
        "tokens",
        "top_logprobs",
        "text",
        "logprobs",
    ),
    *(
        "choices",
        "message",
        "content",
        "bytes:\\xe2\\x80",
        "�",
        "Ġ",
        "▁The",
        "<s>",
        {"The": -0.5},
        {"The": "x"},
        [{"The": -0.5}],
        {"a": None},
    ),
)
STATUSES = (400, 401, 404, 405, 413, 422, 301, 204, 500, 503, 200)


def surface() -> Surface:
    """Return the surface."""
    return Surface("endpoint answers", prepare, attempt)


def prepare(_: Path) -> tuple[list[str], list[str]]:
    """Return members and non-members."""
    return list(sentences(4)), list(sentences(4, 900))


def attempt(prepared: Any, case: Case, _: Path) -> Outcome | None:
    """Audit a server of which some answers are edited."""
    import byheart

    chance = random.Random(case.choice)
    style, broken, is_chat, has_logprobs = (
        chance.random(),
        chance.choice((0, 1, 2, 5, 8)),
        chance.random() < 0.1,
        chance.random() < 0.8,
    )
    is_always = chance.random() < 0.5
    count = 0

    def once(_self: Endpoint, _method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes, float]:
        nonlocal count
        count += 1
        answer = answered(path, body, has_logprobs=has_logprobs)
        if is_chat and path == "/completions":
            return 404, b"{}", 0.0
        if count - 1 < broken or (count - 1 > broken and not is_always):
            return 200, json.dumps(answer).encode(), 0.0
        if style < 0.7:
            return 200, json.dumps(edited(answer, case.edits, WORDS)).encode(), 0.0
        if style < 0.85:
            return 200, edited_bytes(json.dumps(answer).encode(), case.edits), 0.0
        status = random.Random(case.edits[0] if case.edits else 0).choice(STATUSES)
        return status, json.dumps(edited({"error": {"message": "no", "code": 1}}, case.edits)).encode(), 0.0

    with mock.patch.object(Endpoint, "_request_once", once), mock.patch.object(RequestLimits, "wait", 0.0, create=True):
        limits = mock.patch("byheart.auditing.server.client.LONGEST_WAIT", 0.0)
        with limits:
            result = byheart.audit_endpoint(
                "http://127.0.0.1:9/v1", "tuned", *prepared, attacks="default", max_requests=400
            )
        result.text()
        json.dumps(result.as_dict(), allow_nan=False)
    return None


def answered(path: str, body: dict[str, Any] | None, *, has_logprobs: bool) -> dict[str, Any]:
    """Return the answer of a consistent server whose model is a hash of the preceding text."""
    if body is None or path == "/models":
        return {"object": "list", "data": [{"id": "tuned"}]}
    prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    tokens = re.findall(r" ?\w+|\W", prompt)
    generated = [" letters"] * int(body.get("max_tokens") or 0)
    if path.startswith("/chat"):
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": "".join(generated)}}]}
    listed = [*tokens, *generated] if body.get("echo") else generated
    before = ["".join([*tokens, *generated][:i]) for i in range(len(listed))]
    numbers = [
        None if i == 0 else -0.01 - zlib.crc32((b + t).encode()) % 500 / 100
        for i, (b, t) in enumerate(zip(before, listed, strict=True))
    ]
    logprobs = {
        "tokens": listed,
        "token_logprobs": numbers,
        "top_logprobs": [None if i == 0 else {" letters": -0.005} for i in range(len(listed))],
    }
    logprobs["text_offset"] = [len(b) for b in before]
    return {
        "model": "tuned",
        "choices": [
            {"text": "".join(listed), "index": 0, "logprobs": logprobs if has_logprobs and body.get("echo") else None}
        ],
    }
