"""Find token sequences in training rows, whole or cut. Pure NumPy.

Windows of the rows are hashed (polynomial hash modulo 2^64) and looked up among the first and last windows of the sequences; each hit
is compared token by token, so a collision of hashes finds nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

WINDOW = 8
"""Number of tokens by which a cut sequence is recognized; shorter sequences are found only whole."""
BASE = np.uint64(1_000_003)
END_TOKENS = 3
"""Number of tokens after a sequence among which its end token is."""


class TokenSequence(NamedTuple):
    """A sequence to find; the tokens from `first` on should receive loss."""

    ids: Int[np.ndarray, " tokens"]
    first: int


class Segments(NamedTuple):
    """Training rows end to end: token ids, whether each receives loss, and the offset of each segment (a row, or part of one)."""

    ids: Int[np.ndarray, " tokens"]
    has_loss: Bool[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " segments_plus_one"]


class Found(NamedTuple):
    """Where a sequence occurs: whole (with the number of its tokens with loss, and whether an end token has loss), or a part of it.

    `first` and `last` are the positions of the found tokens in the sequence, `last` excluded. `end_token` is None without an end token.
    `place` is the position of the first found token in the rows.
    """

    sequence: int
    place: int
    first: int
    last: int
    with_loss: int
    end_token: bool | None


def find(sequences: Sequence[TokenSequence], rows: Segments, special_ids: frozenset[int]) -> Iterator[Found]:
    """Yield every occurrence of each sequence: whole, or cut at the end or the start of a segment."""
    by_window: dict[int, list[int]] = defaultdict(list)
    for i, sequence in enumerate(sequences):
        by_window[min(WINDOW, len(sequence.ids))].append(i)
    for window, members in by_window.items():
        hashes = _window_hashes(rows.ids, window)
        starts: dict[int, list[int]] = defaultdict(list)
        ends: dict[int, list[int]] = defaultdict(list)
        for i in members:
            ids = sequences[i].ids
            starts[int(_window_hashes(ids[:window], window)[0])].append(i)
            if len(ids) > window:
                ends[int(_window_hashes(ids[-window:], window)[0])].append(i)
        for position in np.flatnonzero(np.isin(hashes, np.fromiter(starts, np.uint64, len(starts)))).tolist():
            for i in starts[int(hashes[position])]:
                yield from _at_start(i, sequences[i], rows, position, special_ids)
        for position in np.flatnonzero(np.isin(hashes, np.fromiter(ends, np.uint64, len(ends)))).tolist():
            for i in ends[int(hashes[position])]:
                yield from _at_end(i, sequences[i], rows, position + window)


def _window_hashes(ids: Int[np.ndarray, " tokens"], window: int) -> np.ndarray:
    if len(ids) < window:
        return np.zeros(0, dtype=np.uint64)
    values = ids.astype(np.uint64) + np.uint64(1)
    hashes = np.zeros(len(ids) - window + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(window):
            hashes = hashes * BASE + values[offset : offset + len(hashes)]
    return hashes


def _segment(rows: Segments, position: int) -> tuple[int, int]:
    """Return start and end of the segment with this position."""
    i = int(np.searchsorted(rows.starts, position, "right")) - 1
    return int(rows.starts[i]), int(rows.starts[i + 1])


def _at_start(
    i: int, sequence: TokenSequence, rows: Segments, position: int, special_ids: frozenset[int]
) -> Iterator[Found]:
    """Yield the occurrence that begins at a position: whole, or up to the end of the segment."""
    end = _segment(rows, position)[1]
    length = min(len(sequence.ids), end - position)
    equal = rows.ids[position : position + length] == sequence.ids[:length]
    matched = length if equal.all() else int(np.argmin(equal))
    if matched < min(WINDOW, len(sequence.ids)):
        return
    rest = rows.ids[position + matched : end]
    is_cut = matched < len(sequence.ids) and all(int(t) in special_ids for t in rest[: END_TOKENS + 1])
    if matched < len(sequence.ids) and not (is_cut and len(rest) <= END_TOKENS):
        return
    loss = rows.has_loss[position + min(sequence.first, matched) : position + matched]
    after = range(position + matched, min(position + matched + END_TOKENS, end))
    ended = next((bool(rows.has_loss[p]) for p in after if int(rows.ids[p]) in special_ids), None)
    yield Found(i, position, 0, matched, int(loss.sum()), ended if matched == len(sequence.ids) else None)


def _at_end(i: int, sequence: TokenSequence, rows: Segments, end: int) -> Iterator[Found]:
    """Yield an occurrence that ends at a position and whose beginning is outside the segment."""
    start = _segment(rows, end - 1)[0]
    length = end - start
    if length >= len(sequence.ids) or length < WINDOW:
        return
    if (rows.ids[start:end] == sequence.ids[-length:]).all():
        first = len(sequence.ids) - length
        loss = rows.has_loss[start + max(sequence.first - first, 0) : end]
        yield Found(i, start, first, len(sequence.ids), int(loss.sum()), None)
