"""Log-probabilities of other readings of a text (its neighbours), each after the same context as the text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from byheart.core import ragged
from byheart.core.evidence import NeighborTokens, Variants
from byheart.core.types import NO_TEXTS, TokenStats
from byheart.lm.tokens import Tokens

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer

BLOCK = 1 << 18
"""Tokens scored before their log-probabilities are averaged: token statistics need far more memory than the averages."""


def neighbour_logprobs(model: Scorer, tokens: Tokens, neighbour_texts: NeighborTokens) -> Variants:
    """Return the mean log-probability (nats per token) of each neighbour's scored tokens, after the prompt of its text."""
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
    """Return the mean log-probability (nats per token) of each reading's tokens from its `first`-th on."""
    return np.concatenate([ragged.means(s.logp, s.starts) for s in scored_blocks(model, ids, offsets, first)])


def scored_blocks(
    model: Scorer,
    ids: Int[np.ndarray, " tokens"],
    offsets: Int[np.ndarray, " readings_plus_one"],
    first: Int[np.ndarray, " readings"],
) -> Iterator[TokenStats]:
    """Yield the token statistics of all readings in order, a block of readings at a time."""
    # No cache of hidden states, even for a frozen trunk: those of all readings would fill the disk.
    uncached_model = dataclasses.replace(model, model=dataclasses.replace(model.model, hidden=None))
    begin = 0
    while begin < len(first):
        end = max(begin + 1, int(np.searchsorted(offsets, offsets[begin] + BLOCK, side="right")) - 1)
        block = Tokens(
            ids=ids[offsets[begin] : offsets[end]],
            starts=offsets[begin : end + 1] - offsets[begin],
            first=first[begin:end],
            cut=np.zeros(end - begin, dtype=np.int64),
            texts=NO_TEXTS,  # readings are ids; their strings are not needed
        )
        yield uncached_model(block)
        begin = end
