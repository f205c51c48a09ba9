"""Sums and means per text over tokens that are packed end to end: text i is `values[starts[i]:starts[i+1]]`.

Every text has at least one token (`LogProbs` checks it). Sums are in float64 for every input type, and each text is summed
separately, so a text's number does not depend on the other texts or on their order.
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
    """Position of each token in its text, from 0."""
    return np.arange(starts[-1]) - np.repeat(starts[:-1], lengths(starts))


def sums(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"]
) -> Float[np.ndarray, " texts"]:
    """Sum of each text's values, in their unit."""
    # Cast first: reduceat with a dtype may cast block by block, and then the last bit depends on the order of the texts.
    return np.add.reduceat(values.astype(np.float64), starts[:-1])


def means(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"]
) -> Float[np.ndarray, " texts"]:
    """Mean of each text's values, in their unit."""
    return sums(values, starts) / lengths(starts)


def trailing_lengths(
    mask: Bool[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"]
) -> Int[np.ndarray, " texts"]:
    """Number of true values at the end of each text, after its last false one."""
    ends_of_prefix = np.where(mask, 0, token_positions(starts) + 1)
    return lengths(starts) - np.maximum.reduceat(ends_of_prefix, starts[:-1])


def smallest_means(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"], *, share: float
) -> Float[np.ndarray, " texts"]:
    """Mean of each text's max(1, floor(share * N)) smallest values, in their unit; `share` is above 0 and at most 1."""
    positions, offsets = _smallest_positions(values, starts, share)
    return means(values[positions], offsets)


def smallest_mask(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"], *, share: float
) -> Bool[np.ndarray, " tokens"]:
    """True for each text's max(1, floor(share * N)) smallest values; of equal values the earlier counts as smaller."""
    mask = np.zeros(len(values), dtype=np.bool_)
    mask[_smallest_positions(values, starts, share)[0]] = True
    return mask


def _smallest_positions(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"], share: float
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " texts_plus_one"]]:
    """Positions of each text's smallest values, ascending within the text, and their offsets."""
    if not 0 < share <= 1:
        raise SettingError(f"k = {share}: out of range. Write a share of the tokens, above 0 and at most 1.")
    counts = np.maximum(1, np.floor(share * lengths(starts)).astype(np.intp))
    text_of = np.repeat(np.arange(len(counts)), lengths(starts))
    ascending = np.lexsort((values, text_of))  # sorted within each text, so `starts` still holds
    return ascending[token_positions(starts) < np.repeat(counts, lengths(starts))], np.concatenate(
        ([0], np.cumsum(counts))
    )


def window_sums(
    values: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"], *, width: int
) -> tuple[Float[np.ndarray, " windows"], Int[np.ndarray, " texts_plus_one"]]:
    """Sums over all windows of `width` consecutive values of each text, packed end to end, and their offsets.

    A text of N values has N - width + 1 windows. A text shorter than `width` has one window, the whole text.
    """
    counts = np.maximum(lengths(starts) - width, 0) + 1
    offsets = np.concatenate(([0], np.cumsum(counts)))
    first = np.arange(offsets[-1]) + np.repeat(starts[:-1] - offsets[:-1], counts)
    window_totals = _moving_sums(values, width)[first]  # a window that reaches into the next text is replaced below
    short = lengths(starts) < width
    window_totals[offsets[:-1][short]] = sums(values, starts)[short]
    return window_totals, offsets


def _moving_sums(values: Float[np.ndarray, " tokens"], width: int) -> Float[np.ndarray, " tokens"]:
    """Sum of the `width` values from each position on, with zeros after the last value, across text boundaries.

    Adds sums of 1, 2, 4, ... consecutive values. Differences of one cumulative sum lose digits, so the last bit of a
    text's number would depend on the texts before it.
    """
    power_sums = np.concatenate((values.astype(np.float64), np.zeros(width)))  # of `size` values from each position
    total, offset, size = np.zeros(len(values)), 0, 1
    while size <= width:
        if width & size:
            total += power_sums[offset : offset + len(values)]
            offset += size
        power_sums = power_sums[:-size] + power_sums[size:]
        size *= 2
    return total


def check_same_tokens(
    attack: str, starts: Int[np.ndarray, " texts_plus_one"], base_starts: Int[np.ndarray, " others_plus_one"]
) -> None:
    """Raise `DataError` if two models did not score the same tokens of the same texts."""
    if not np.array_equal(starts, base_starts):
        raise DataError(
            f"{attack}: the target model scored {starts[-1]} tokens of {len(starts) - 1} texts, the base model "
            f"{base_starts[-1]} tokens of {len(base_starts) - 1} texts. Score the same tokens, with the target's tokenizer for both."
        )


def slice_texts(stats: LogProbsT, text_range: slice) -> LogProbsT:
    """Return the token statistics (or log-probabilities) of a range of consecutive texts."""
    low, high = int(stats.starts[text_range.start]), int(stats.starts[text_range.stop])
    arrays = {f.name: getattr(stats, f.name) for f in dataclasses.fields(stats)}
    starts = stats.starts[text_range.start : text_range.stop + 1] - low
    return type(stats)(**{n: starts if n == "starts" else a[low:high] for n, a in arrays.items()})
