"""Private attributes of texts, and the candidate values that attribute attacks rank them among.

Candidates are values of the same kind in validation texts and in other audited texts. The audited texts are members and
non-members, and nothing here knows which: a metric, which knows the membership, forms two pools of them
(`byheart.metrics.attribute_inference`), values that occurred in training and values that did not.
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


def other_values(
    validation_pool: Sequence[str], audited_pool: Sequence[str], *, kind: str, truth: str, text: str, limit: int
) -> list[str]:
    """Return the candidates besides the true value: up to `limit` of the validation texts, then up to twice as many audited ones.

    About half of the audited texts are members, so each of the two pools gets about `limit` values. No value occurs twice.
    """
    of_validation = candidate_values(validation_pool, kind=kind, truth=truth, text=text, count=limit)
    excluded = frozenset(of_validation)
    others = [value for value in audited_pool if value not in excluded]
    return [*of_validation, *candidate_values(others, kind=kind, truth=truth, text=text, count=2 * limit)]


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
