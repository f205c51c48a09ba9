"""Sums and means per text over tokens that are packed end to end: text i is `values[starts[i]:starts[i+1]]`.

Every text has at least one token (`LogProbs` refuses any other). Sums are in float64 whatever the tokens are in, each
text is summed by itself, and so its number does not depend on which texts stand beside it or in what order.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.errors import DataError, SettingError
from byheart.core.types import LogProbs

LogProbsT = TypeVar("LogProbsT", bound=LogProbs)


def lengths(starts: Int[np.ndarray, " texts_plus_one"]) -> Int[np.ndarray, " texts"]:
    """Number of tokens of each text."""
    return np.diff(starts)


def token_positions(starts: Int[np.ndarray, " texts_plus_one"]) -> Int[np.ndarray, " tokens"]:
    """Place of each token in its text, from 0."""
    return np.arange(starts[-1]) - np.repeat(starts[:-1], lengths(starts))


def sums(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"]
) -> Float[np.ndarray, " texts"]:
    """Sum of each text's values, in their unit."""
    # Cast first: reduceat with a dtype may cast block by block, and then the order of the texts shows in the last bit.
    return np.add.reduceat(values.astype(np.float64), starts[:-1])


def means(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"]
) -> Float[np.ndarray, " texts"]:
    """Mean of each text's values, in their unit."""
    return sums(values, starts) / lengths(starts)


def smallest_means(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"], *, share: float
) -> Float[np.ndarray, " texts"]:
    """Mean of each text's max(1, floor(share * N)) smallest values, in their unit; `share` is above 0 and at most 1."""
    places, kept = _smallest_positions(values, starts, share)
    return means(values[places], kept)


def smallest_mask(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"], *, share: float
) -> Bool[np.ndarray, " tokens"]:
    """True for each text's max(1, floor(share * N)) smallest values; of equal ones the earlier is the smaller."""
    chosen = np.zeros(len(values), dtype=np.bool_)
    chosen[_smallest_positions(values, starts, share)[0]] = True
    return chosen


def _smallest_positions(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"], share: float
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " texts_plus_one"]]:
    """Places of each text's smallest values, ascending within the text, and their offsets."""
    if not 0 < share <= 1:
        raise SettingError(f"k = {share}: write a share of the tokens, above 0 and at most 1")
    counts = np.maximum(1, np.floor(share * lengths(starts)).astype(np.intp))
    text_of = np.repeat(np.arange(len(counts)), lengths(starts))
    ascending = np.lexsort((values, text_of))  # sorted within each text, so `starts` still holds
    return ascending[token_positions(starts) < np.repeat(counts, lengths(starts))], np.concatenate(
        ([0], np.cumsum(counts))
    )


def window_sums(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"], *, width: int
) -> tuple[Float[np.ndarray, " windows"], Int[np.ndarray, " texts_plus_one"]]:
    """Sums of the `width` neighbours at every place of each text, packed end to end, and their offsets.

    A text of N values has N - width + 1 windows; one that is shorter than `width` has a single one, the whole text.
    """
    counts = np.maximum(lengths(starts) - width, 0) + 1
    offsets = np.concatenate(([0], np.cumsum(counts)))
    first = np.arange(offsets[-1]) + np.repeat(starts[:-1] - offsets[:-1], counts)
    found = _neighbour_sums(values, width)[first]  # a window that runs into the next text is replaced below
    short = lengths(starts) < width
    found[offsets[:-1][short]] = sums(values, starts)[short]
    return found, offsets


def _neighbour_sums(values: Float[np.ndarray, " tokens"], width: int) -> Float[np.ndarray, " tokens"]:
    """Sum of the `width` values from each place on, zeros after the last, texts' borders not looked at.

    Sums of 1, 2, 4, ... neighbours are added. Differences of one cumulative sum would be as short to write, but they
    lose digits, and then the texts before it show in a text's last bit.
    """
    run = np.concatenate((values.astype(np.float64), np.zeros(width)))
    total, at, size = np.zeros(len(values)), 0, 1
    while size <= width:
        if width & size:
            total += run[at : at + len(values)]
            at += size
        run = run[:-size] + run[size:]
        size *= 2
    return total


def check_same_tokens(
    attack: str, starts: Int[np.ndarray, " texts_plus_one"], base_starts: Int[np.ndarray, " others_plus_one"]
) -> None:
    """Raise `DataError` where two models did not score the same tokens of the same texts."""
    if not np.array_equal(starts, base_starts):
        raise DataError(
            f"{attack} compares the same tokens under two models; the target scored {starts[-1]} tokens of "
            f"{len(starts) - 1} texts, the base {base_starts[-1]} of {len(base_starts) - 1}: use the target's own tokenizer for both"
        )


def slice_texts(stats: LogProbsT, text_range: slice) -> LogProbsT:
    """Return what was read of a run of texts: token statistics, or log-probabilities alone."""
    lo, hi = int(stats.starts[text_range.start]), int(stats.starts[text_range.stop])
    arrays = {f.name: getattr(stats, f.name) for f in dataclasses.fields(stats)}
    starts = stats.starts[text_range.start : text_range.stop + 1] - lo
    return type(stats)(**{n: starts if n == "starts" else a[lo:hi] for n, a in arrays.items()})
