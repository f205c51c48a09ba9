"""Private attributes of texts, and the other values of their kind that each is told from.

Candidates are values of the same kind in the validation texts, which no model is tuned on: for a non-member the true
value is then as new to the model as the others are, and only what was trained on can set it apart for a member. Values
of other audited texts would not do: where some of them are members', which are better known, a non-member's own falls
below chance, and members would seem to lead over non-members that say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from byheart.core.errors import DataError
from byheart.core.registry import key_of

Attributes = Mapping[str, str]
"""A text's private values by their kind."""


def attribute_kinds(attributes: Iterable[Attributes]) -> tuple[str, ...]:
    """Return the kinds that there are, sorted."""
    return tuple(sorted({kind for own in attributes for kind in own}))


def values_of_kind(attributes: Iterable[Attributes], kind: str) -> list[str]:
    """Return the distinct values of a kind, sorted."""
    return sorted({own[kind] for own in attributes if kind in own})


def candidate_values(pool: Sequence[str], *, kind: str, truth: str, text: str, count: int) -> list[str]:
    """Return up to `count` of the pool's distinct values, none of them the truth, drawn by chances of the text's own."""
    possible = [value for value in pool if value != truth]
    seed = int(key_of({"kind": kind, "value": truth, "text": text}), 16)
    return [possible[i] for i in np.random.default_rng(seed).permutation(len(possible))[:count]]


def check_has_attributes(attributes: Iterable[Attributes], requester: str) -> None:
    """Raise `DataError` where no audited text has a private attribute."""
    if not any(attributes):
        raise DataError(
            f"{requester} needs private attributes, and no audited text has any; take the data set records, or name fields: "
            "files: {path: ..., attributes: [...]}"
        )


def check_has_candidates(
    attributes: Iterable[Attributes], validation_attributes: Sequence[Attributes], requester: str
) -> None:
    """Raise `DataError` for an attribute whose kind has no value but the true one among the validation texts."""
    pools = {kind: values_of_kind(validation_attributes, kind) for kind in attribute_kinds(validation_attributes)}
    for own in attributes:
        for kind, truth in own.items():
            if not any(value != truth for value in pools.get(kind, [])):
                raise DataError(
                    f"{requester}: a text's {kind} is {truth!r}, and the validation texts have no other to tell it from; raise "
                    f"data.validation, or leave {kind} out of the data's attributes"
                )
