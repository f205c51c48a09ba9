"""Private attributes of texts, and the candidate values that attribute attacks rank them among.

Candidates are values of the same kind in the validation texts, which no model is trained on. So for a non-member all values
are equally unseen, and for a member only training distinguishes the true value. Values of other audited texts would bias the
attack: the model knows the values of members better, so the true value of a non-member would rank below chance, and
members would have an advantage without any leakage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from byheart.core.errors import DataError
from byheart.core.registry import key_of

Attributes = Mapping[str, str]
"""A text's private values by kind."""


def attribute_kinds(attributes: Iterable[Attributes]) -> tuple[str, ...]:
    """Return all kinds, sorted."""
    return tuple(sorted({kind for values in attributes for kind in values}))


def values_of_kind(attributes: Iterable[Attributes], kind: str) -> list[str]:
    """Return the distinct values of a kind, sorted."""
    return sorted({values[kind] for values in attributes if kind in values})


def candidate_values(pool: Sequence[str], *, kind: str, truth: str, text: str, count: int) -> list[str]:
    """Return up to `count` distinct values of the pool without the true one, drawn at random with a seed of the text."""
    possible = [value for value in pool if value != truth]
    seed = int(key_of({"kind": kind, "value": truth, "text": text}), 16)
    return [possible[i] for i in np.random.default_rng(seed).permutation(len(possible))[:count]]


def check_has_attributes(attributes: Iterable[Attributes], requester: str) -> None:
    """Raise `DataError` if no audited text has a private attribute."""
    if not any(attributes):
        raise DataError(
            f"{requester}: requires private attributes, but no audited text has any. Use the data set records, or name fields "
            "with files: {path: ..., attributes: [...]}."
        )


def check_has_candidates(
    attributes: Iterable[Attributes], validation_attributes: Sequence[Attributes], requester: str
) -> None:
    """Raise `DataError` for an attribute without another value of its kind in the validation texts."""
    pools = {kind: values_of_kind(validation_attributes, kind) for kind in attribute_kinds(validation_attributes)}
    for values in attributes:
        for kind, truth in values.items():
            if not any(value != truth for value in pools.get(kind, [])):
                raise DataError(
                    f"{requester}: a text's {kind} is {truth!r}, and the validation texts contain no other {kind}. "
                    f"Raise data.validation, or leave out {kind} from the data set's attributes."
                )
