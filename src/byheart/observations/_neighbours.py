"""How likely a model finds other readings of a text (its neighbours), each behind what conditions the text itself."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from byheart.core import ragged
from byheart.core.evidence import Substitutes, Variants
from byheart.core.types import NO_TEXTS
from byheart.lm.tokens import Tokens

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer

BLOCK = 1 << 18
"""Tokens read before their log-probabilities are averaged: their statistics are many times what is kept of them."""


def neighbour_logprobs(model: Scorer, tokens: Tokens, neighbour_texts: Substitutes) -> Variants:
    """Return the mean log-probability (nats) of each neighbour's scored tokens, behind the prompt of its text."""
    first = np.repeat(tokens.first, np.diff(neighbour_texts.starts))
    return Variants(
        loglik=mean_logprobs(model, neighbour_texts.ids, neighbour_texts.offsets, first), starts=neighbour_texts.starts
    )


def mean_logprobs(
    model: Scorer,
    ids: Int[np.ndarray, " tokens"],
    offsets: Int[np.ndarray, " readings_plus_one"],
    first: Int[np.ndarray, " readings"],
) -> Float[np.ndarray, " readings"]:
    """Return the mean log-probability (nats) of each reading's tokens from its `first`-th on."""
    # A trunk that cannot change is passed again all the same: hidden states of all readings would fill the disk.
    unremembered = dataclasses.replace(model, model=dataclasses.replace(model.model, hidden=None))
    found: list[np.ndarray] = []
    at = 0
    while at < len(first):
        end = max(at + 1, int(np.searchsorted(offsets, offsets[at] + BLOCK, side="right")) - 1)
        block = Tokens(
            ids=ids[offsets[at] : offsets[end]],
            starts=offsets[at : end + 1] - offsets[at],
            first=first[at:end],
            cut=np.zeros(end - at, dtype=np.int64),
            texts=NO_TEXTS,  # readings are ids; their strings are not needed
        )
        stats = unremembered(block)
        found.append(ragged.means(stats.logp, stats.starts))
        at = end
    return np.concatenate(found)
