"""CAMIA: combines signals of how the loss changes within the text and when the model reads the text a second time.

Hongyan Chang, Ali Shahin Shamsabadi, Kleomenis Katevas, Hamed Haddadi, Reza Shokri. Context-Aware Membership Inference
Attacks against Pre-trained Large Language Models. EMNLP, 2025. arXiv 2409.13745.

Signals of a text, from its losses l_t = -ln p(x_t | x_<t) and the losses l'_t of a second reading. Members have lower values:

    loss            mean of l, in the whole text and in its first 200 and 300 tokens
    unlikely        share of tokens with l above 1, 2, 3 nats
    above mean      share of tokens with l above the mean of l, at the same cuts
    above previous  share of tokens with l above the mean of all l before, at the same cuts
    Lempel-Ziv      words of l's Lempel-Ziv (1978) parsing per token, l in 3, 4, 5 steps of equal size
    entropy         approximate entropy of l (Pincus 1991; m = 2, r = 0.8 standard deviations)
    fall            minus the slope of the sequence l, l'; the loss of a memorized text falls less
    change          loss and unlikely of l minus those of l'

    p = (1 + known non-members whose signal is as low or lower) / (1 + known non-members)
    score(x) = -mean of p (Edgington), or -2 sum of ln p (Fisher)

Departures from the authors' code:

- The signs of the signals are fixed in advance: a memorized text has low, even losses with few peaks, and a second reading
  lowers them little. Their code derives each sign from the labels of the attacked texts.
- Signals without a clear sign are omitted: the changes of Lempel-Ziv and of above mean.
- Token diversity, loss divided by token diversity, and perplexity are omitted: diversity does not depend on the model, and
  perplexity ranks texts as the loss does.
- Their p is the share of non-members alone, which is 0 for a text below all of them. Ours counts the text itself.
- Theirs counts tokens above the mean, which measures the length of the text. Ours uses the share of tokens.
- Theirs computes entropy and slope over up to ten consecutive readings. Ours reads a text twice and computes the entropy of
  the first reading.
- Theirs computes the entropy with m = 8. In a short text almost no run of 8 recurs, so the least regular text gets the lowest
  value.
- A text too short for a signal has no evidence in it: p = 1. Theirs gives it entropy 0, the lowest value.

A cut that no known non-member reaches is omitted. The p-values of one text's signals depend on each other: their combination
ranks texts but is not a p-value.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from jaxtyping import Bool, Float, Int

from byheart.core import DataError, LogProbs, Scores, ragged

VARIANT = (
    "signs of the signals fixed in advance, in place of chosen from the labels; several signals are omitted or changed"
)

UNLIKELY_LOSSES = (1.0, 2.0, 3.0)  # nats
LEMPEL_ZIV_STEPS = (3, 4, 5)
ENTROPY_TOLERANCE = 0.8  # standard deviations; two losses closer than this count as equal

NO_EVIDENCE = np.inf
"""Signal of a text that is too short to have one: the highest value, so that p = 1."""

KNOWN = 10
"""Minimum number of known non-members: with fewer, every p-value is at least a tenth."""


def camia(
    target: LogProbs,
    repeated: LogProbs,
    known_nonmembers: LogProbs,
    known_nonmembers_repeated: LogProbs,
    *,
    combine: Literal["edgington", "fisher"] = "edgington",
    cuts: tuple[Annotated[int, Ge(1)], ...] = (200, 300),
) -> Scores:
    """Combined p-values of a text's signals among known non-members (no unit); higher means member.

    The score is minus the mean p-value (Edgington), or minus twice the sum of their logarithms (Fisher). `cuts` are numbers of
    leading tokens for which some signals are also computed. Raises `DataError` without known non-members.
    """
    if not len(known_nonmembers):
        raise DataError("attacks camia: no known non-members. Set data.known, for example to 50.")
    usable_cuts = tuple(c for c in cuts if ragged.lengths(known_nonmembers.starts).max() > c)
    known_signals = np.sort(_signals(known_nonmembers, known_nonmembers_repeated, usable_cuts), axis=1)
    signal_pairs = zip(known_signals, _signals(target, repeated, usable_cuts), strict=True)
    p = np.stack(
        [
            (1 + np.searchsorted(known_signal, signal, side="right")) / (1 + len(known_signal))
            for known_signal, signal in signal_pairs
        ]
    )
    return -p.mean(0) if combine == "edgington" else -2 * np.log(p).sum(0)


def _signals(
    first_reading: LogProbs, second_reading: LogProbs, cuts: tuple[int, ...]
) -> Float[np.ndarray, "signals texts"]:
    """Return every signal of texts read twice; a member's are lower."""
    loss, second_loss, starts = (
        -first_reading.logp.astype(np.float64),
        -second_reading.logp.astype(np.float64),
        first_reading.starts,
    )
    signals = [signal for cut in (None, *cuts) for signal in _mean_loss_signals(*_first_losses(loss, starts, cut))]
    unlikely_shares = [
        [ragged.means((losses > nats).astype(np.float64), starts) for nats in UNLIKELY_LOSSES]
        for losses in (loss, second_loss)
    ]
    signals += unlikely_shares[0]
    signals += [before - after for before, after in zip(*unlikely_shares, strict=True)]
    signals.append(ragged.means(loss, starts) - ragged.means(second_loss, starts))
    signals.append(-_slopes(loss, second_loss, starts))
    text_slices = [slice(a, b) for a, b in pairwise(starts)]
    signals += [
        np.array([_lempel_ziv_complexity(loss[tokens], steps) for tokens in text_slices]) for steps in LEMPEL_ZIV_STEPS
    ]
    signals.append(np.array([_approximate_entropy(loss[tokens]) for tokens in text_slices]))
    return np.stack(signals)


def _first_losses(
    loss: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"], count: int | None
) -> tuple[Float[np.ndarray, " kept"], Int[np.ndarray, " texts_plus_one"]]:
    """Return the first `count` losses of each text (all of them for None), and their offsets."""
    if count is None:
        return loss, starts
    is_first = ragged.token_positions(starts) < count
    return loss[is_first], np.concatenate(([0], np.cumsum(np.minimum(ragged.lengths(starts), count))))


def _mean_loss_signals(
    loss: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"]
) -> list[Float[np.ndarray, " texts"]]:
    """Return the mean loss, the share of tokens above it, and the share of tokens above the mean of the preceding tokens."""
    mean = ragged.means(loss, starts)
    above = loss > np.repeat(mean, ragged.lengths(starts))
    # Text by text: with differences of one cumulative sum, a text's last bit would depend on the preceding texts.
    previous = [_share_above_running_mean(loss[a:b]) for a, b in pairwise(starts)]
    return [mean, ragged.means(above.astype(np.float64), starts), np.array(previous)]


def _share_above_running_mean(loss: Float[np.ndarray, " tokens"]) -> float:
    """Return the share of tokens whose loss is above the mean loss of the preceding tokens."""
    if len(loss) == 1:
        return NO_EVIDENCE
    return float((loss[1:] > np.cumsum(loss)[:-1] / np.arange(1, len(loss))).mean())


def _slopes(
    loss: Float[np.ndarray, " tokens"],
    second_loss: Float[np.ndarray, " tokens"],
    starts: Int[np.ndarray, " texts_plus_one"],
) -> Float[np.ndarray, " texts"]:
    """Return the least-squares slope (nats per token) of the line through both readings in sequence."""
    lengths = ragged.lengths(starts)
    center = np.repeat(lengths - 0.5, lengths)
    position = ragged.token_positions(starts)
    weighted_loss = (position - center) * loss + (position + np.repeat(lengths, lengths) - center) * second_loss
    total_lengths = 2.0 * lengths
    return ragged.sums(weighted_loss, starts) / (total_lengths * (total_lengths**2 - 1) / 12)


def _lempel_ziv_complexity(loss: Float[np.ndarray, " tokens"], steps: int) -> float:
    """Return the words per token of the Lempel-Ziv (1978) parsing of the losses, in `steps` steps between minimum and maximum."""
    low, high = loss.min(), loss.max()
    scaled = (loss - low) / (high - low) if high > low else np.zeros(len(loss))
    symbols = np.minimum(scaled * steps, steps - 1).astype(np.uint8).tobytes()
    words: set[bytes] = set()
    begin = 0
    for end in range(1, len(symbols) + 1):
        if symbols[begin:end] not in words:
            words.add(symbols[begin:end])
            begin = end
    return len(words) / len(symbols)


def _approximate_entropy(loss: Float[np.ndarray, " tokens"]) -> float:
    """Return how much less often runs of three losses recur than runs of two (nats, mean of logarithms); 0 if all are equal."""
    if len(loss) <= 3:  # noqa: PLR2004 - too short for a run of three to recur
        return NO_EVIDENCE
    differences = np.subtract.outer(loss, loss)
    is_close = np.abs(differences, out=differences) <= ENTROPY_TOLERANCE * loss.std()
    pairs = is_close[:-1, :-1] & is_close[1:, 1:]
    return abs(_mean_log_recurrence(pairs) - _mean_log_recurrence(pairs[:-1, :-1] & is_close[2:, 2:]))


def _mean_log_recurrence(runs: Bool[np.ndarray, "n n"]) -> float:
    """Return the mean logarithm of the share of positions at which a run recurs, its own position included."""
    return float(np.log(np.add.reduce(runs, axis=0, dtype=np.uint32) / len(runs)).mean())
