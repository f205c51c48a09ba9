"""Former words of stored split checks, so that a page that shows an old study has one wording."""

from __future__ import annotations

import dataclasses
import re

from byheart.core.split_check import Finding, Gate

FORMER_WORDS = (
    (r"exact copies", "exact duplicates"),
    (r"near copies", "near duplicates"),
    (r" tell only an AUC above ", " distinguish only an AUC above "),
    (r"(AUC|TPR) ([\d.]+) is \w+ from chance", r"one attack distinguishes \1 \2 from chance"),
    (r"\(4 characters taken for a token\)", "(at 4 characters per token)"),
    (
        r"([\d.]+%) in training texts; ([\d.]+%) in members, members' own ([\d.]+%)",
        r"\1 occur in training texts, \2 in members; \3 of a member's in other groups",
    ),
)
"""Patterns of former phrases, and the present ones."""


def with_current_words(gate: Gate) -> Gate:
    """Return the gate with present phrases in place of former ones; numbers and verdicts are unchanged."""
    return dataclasses.replace(gate, findings=tuple(map(_with_current_words, gate.findings)))


def _with_current_words(finding: Finding) -> Finding:
    texts = {name: getattr(finding, name) for name in ("name", "found", "why")}
    for former, current in FORMER_WORDS:
        texts = {name: re.sub(former, current, text) for name, text in texts.items()}
    return dataclasses.replace(finding, **texts)
