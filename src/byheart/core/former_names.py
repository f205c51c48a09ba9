"""Former names of renamed shelf entries, for study files and store keys."""

from __future__ import annotations

from collections.abc import Mapping

FORMER_NAMES: Mapping[str, Mapping[str, str]] = {
    "observations": {
        "chances": "sampling_logprobs",
        "recitation": "greedy_continuation",
        "suffixes": "prefix_suffix_split",
        "substitutes": "neighbour_texts",
        "after_members": "member_prefix",
        "after_nonmembers": "nonmember_prefix",
    },
    "metrics": {"attribute_recital": "attribute_extraction"},
}
"""Renamed entries of shelves, former name first. Study files may use the former name; store keys always contain it."""


def current_name(shelf: str, name: str) -> str:
    """Return the current name of an entry that may be written by its former name."""
    return FORMER_NAMES.get(shelf, {}).get(name, name)


def stored_name(shelf: str, name: str) -> str:
    """Return the name that store keys contain: the former name of a renamed entry, so that stored results stay valid."""
    return next((old for old, new in FORMER_NAMES.get(shelf, {}).items() if new == name), name)
