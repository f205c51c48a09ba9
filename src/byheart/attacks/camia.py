"""CAMIA: how does the loss run through the text, and how does it change when the text is read a second time?

Hongyan Chang, Ali Shahin Shamsabadi, Kleomenis Katevas, Hamed Haddadi, Reza Shokri. Context-Aware Membership Inference
Attacks against Pre-trained Large Language Models. EMNLP, 2025. arXiv 2409.13745.

Signals of a text, from its losses l_t = -ln p(x_t | x_<t) and those of its second reading, l'_t. A member has less of:

    loss            mean of l, in the whole text and in its first 200 and 300 tokens
    unlikely        share of tokens with l above 1, 2, 3 nats
    above mean      share of tokens with l above the mean of l, at the same cuts
    above previous  share of tokens with l above the mean of all l before, at the same cuts
    Lempel-Ziv      words of l's Lempel-Ziv (1978) parsing per token, l in 3, 4, 5 steps of equal size
    entropy         approximate entropy of l (Pincus 1991; m = 2, r = 0.8 standard deviations)
    fall            minus the slope of l, l' in a row: what the text need not be told falls less
    change          loss and unlikely of l minus those of l'

    p = (1 + known non-members whose signal is as low or lower) / (1 + known non-members)
    score(x) = -mean of p (Edgington), or -2 sum of ln p (Fisher)

The signs are fixed here, from what memory does to losses: they are low and even, with a few peaks, and a second reading
lowers them little. The authors' code takes each sign, and so the direction of its test, from the labels of the very
texts that are judged. Signals whose sign does not follow are left out (the changes of Lempel-Ziv and of above mean), as
are the diversity of the text's tokens, which no model has anything to do with, loss divided by it, and perplexity, which
ranks as the loss does. Their p is the share of non-members alone, 0 for what is below all; ours counts the text itself.

Theirs counts tokens above the mean, ours their share: a count is the text's length. Theirs takes entropy and slope of up
to ten readings in a row, and the entropy with m = 8, where in a short text next to nothing recurs: what is least regular
then comes out lowest. Ours reads a text twice and takes the entropy of the first reading.

A cut that no known non-member reaches says nothing and is left out. A text too short for a signal (before a single token
there is none) has no evidence in it, p = 1; theirs gives it an entropy of 0, the lowest. p-values of signals of one text
depend on one another: combined they rank texts, and are no p-value.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from jaxtyping import Bool, Float, Int

from byheart.core import DataError, LogProbs, Scores, ragged

UNLIKELY_LOSSES = (1.0, 2.0, 3.0)  # nats
LEMPEL_ZIV_STEPS = (3, 4, 5)
ENTROPY_TOLERANCE = 0.8  # standard deviations within which two losses are alike

NO_EVIDENCE = np.inf
"""A signal of a text that is too short to have one: as high as can be, p = 1."""

KNOWN = 10
"""The fewest known non-members: of fewer every p-value is a tenth or more."""


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

    Minus their mean (Edgington), or minus twice the sum of their logarithms (Fisher). `cuts` are the first so many tokens
    at which some signals are taken besides the whole text. Raises `DataError` without known non-members.
    """
    if not len(known_nonmembers):
        raise DataError("camia needs texts that its adversary knows not to be members; set data.known, to 50 or so")
    reached = tuple(c for c in cuts if ragged.lengths(known_nonmembers.starts).max() > c)
    known = np.sort(_signals(known_nonmembers, known_nonmembers_repeated, reached), axis=1)
    rows = zip(known, _signals(target, repeated, reached), strict=True)
    p = np.stack([(1 + np.searchsorted(k, x, side="right")) / (1 + len(k)) for k, x in rows])
    return -p.mean(0) if combine == "edgington" else -2 * np.log(p).sum(0)


def _signals(
    first_reading: LogProbs, second_reading: LogProbs, cuts: tuple[int, ...]
) -> Float[np.ndarray, "signals texts"]:
    """Every signal of texts read twice; a member's are lower."""
    loss, again, starts = (
        -first_reading.logp.astype(np.float64),
        -second_reading.logp.astype(np.float64),
        first_reading.starts,
    )
    rows = [signal for c in (None, *cuts) for signal in _mean_loss_signals(*_first_losses(loss, starts, c))]
    unlikely = [
        [ragged.means((x > nats).astype(np.float64), starts) for nats in UNLIKELY_LOSSES] for x in (loss, again)
    ]
    rows += unlikely[0]
    rows += [before - after for before, after in zip(*unlikely, strict=True)]
    rows.append(ragged.means(loss, starts) - ragged.means(again, starts))
    rows.append(-_slopes(loss, again, starts))
    of_text = [slice(a, b) for a, b in pairwise(starts)]
    rows += [np.array([_lempel_ziv_complexity(loss[t], steps) for t in of_text]) for steps in LEMPEL_ZIV_STEPS]
    rows.append(np.array([_approximate_entropy(loss[t]) for t in of_text]))
    return np.stack(rows)


def _first_losses(
    loss: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"], count: int | None
) -> tuple[Float[np.ndarray, " kept"], Int[np.ndarray, " texts_plus_one"]]:
    """The first so many losses of each text, and their offsets."""
    if count is None:
        return loss, starts
    kept = ragged.token_positions(starts) < count
    return loss[kept], np.concatenate(([0], np.cumsum(np.minimum(ragged.lengths(starts), count))))


def _mean_loss_signals(
    loss: Float[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"]
) -> list[Float[np.ndarray, " texts"]]:
    """Mean loss, share of tokens above it, share of tokens above the mean of those before them."""
    mean = ragged.means(loss, starts)
    above = loss > np.repeat(mean, ragged.lengths(starts))
    # Text by text: differences of one cumulative sum would let the texts before show in a text's last bit.
    previous = [_share_above_running_mean(loss[a:b]) for a, b in pairwise(starts)]
    return [mean, ragged.means(above.astype(np.float64), starts), np.array(previous)]


def _share_above_running_mean(loss: Float[np.ndarray, " tokens"]) -> float:
    if len(loss) == 1:
        return NO_EVIDENCE
    return float((loss[1:] > np.cumsum(loss)[:-1] / np.arange(1, len(loss))).mean())


def _slopes(
    loss: Float[np.ndarray, " tokens"],
    second_loss: Float[np.ndarray, " tokens"],
    starts: Int[np.ndarray, " texts_plus_one"],
) -> Float[np.ndarray, " texts"]:
    """Slope (nats per token) of the straight line through both readings in a row, by least squares."""
    lengths = ragged.lengths(starts)
    middle = np.repeat(lengths - 0.5, lengths)
    place = ragged.token_positions(starts)
    lever = (place - middle) * loss + (place + np.repeat(lengths, lengths) - middle) * second_loss
    both = 2.0 * lengths
    return ragged.sums(lever, starts) / (both * (both**2 - 1) / 12)


def _lempel_ziv_complexity(loss: Float[np.ndarray, " tokens"], steps: int) -> float:
    """Words per token of the Lempel-Ziv (1978) parsing of the losses, in steps between the lowest and the highest."""
    low, high = loss.min(), loss.max()
    scaled = (loss - low) / (high - low) if high > low else np.zeros(len(loss))
    symbols = np.minimum(scaled * steps, steps - 1).astype(np.uint8).tobytes()
    known: set[bytes] = set()
    at = 0
    for end in range(1, len(symbols) + 1):
        if symbols[at:end] not in known:
            known.add(symbols[at:end])
            at = end
    return len(known) / len(symbols)


def _approximate_entropy(loss: Float[np.ndarray, " tokens"]) -> float:
    """How much less often three losses in a row recur than two (nats, mean of logarithms); 0 where all are alike."""
    if len(loss) <= 3:  # noqa: PLR2004 - nothing that three in a row could recur in
        return NO_EVIDENCE
    apart = np.subtract.outer(loss, loss)
    alike = np.abs(apart, out=apart) <= ENTROPY_TOLERANCE * loss.std()
    two = alike[:-1, :-1] & alike[1:, 1:]
    return abs(_mean_log_recurrence(two) - _mean_log_recurrence(two[:-1, :-1] & alike[2:, 2:]))


def _mean_log_recurrence(runs: Bool[np.ndarray, "n n"]) -> float:
    """Mean logarithm of the share of places at which a run recurs, its own among them."""
    return float(np.log(np.add.reduce(runs, axis=0, dtype=np.uint32) / len(runs)).mean())
