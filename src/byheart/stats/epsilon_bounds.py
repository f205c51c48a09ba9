"""Lower bounds on epsilon (privacy loss) from guesses about canaries. Pure NumPy and SciPy.

- One run: Thomas Steinke, Milad Nasr, Matthew Jagielski. Privacy Auditing with One (1) Training Run. NeurIPS 2023.
  arXiv 2305.08846. A fair coin includes each of m texts in the training data. An adversary guesses r coins, r fixed
  beforehand, and v guesses are right. Under (epsilon, delta)-DP, with q = 1 / (1 + e^-epsilon) and B ~ Binomial(r, q),

      P[v or more are right] <= P[B >= v] + 2 m delta max_i P[v - i <= B < v] / i.

  The bound is the smallest epsilon that this test does not reject. Checked against two values in the paper. A bound without
  the second term is invalid for delta above 0 (`tests/stats/test_epsilon_bounds.py`).
- One run, Gaussian: Saeed Mahloujifar, Luca Melis, Kamalika Chaudhuri. Auditing f-Differential Privacy in One Run.
  ICML 2025. arXiv 2410.22235. Tighter, but valid only if the training leaks about one text like a Gaussian mechanism, as
  DP-SGD approximately does. (epsilon, delta)-DP at one delta is a weaker guarantee.
- Many runs: each run is a separate training with one coin. Rates by Clopper and Pearson (Biometrika 26 (1934) 404-413),
  with both ends together at the requested confidence.

Do not use the coins to choose the guesses: no threshold, number of guesses, epoch or attack that performed best on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.errors import DataError
from byheart.stats.intervals import clopper_pearson

EPSILON_STEP = 0.2  # step of the search for the smallest epsilon that is not rejected
MAX_EPSILON = 50.0  # no number of guesses that fits into memory gives a larger bound


def correct_guesses(scores: Float[np.ndarray, " texts"], coins: Bool[np.ndarray, " texts"], guesses: int) -> int:
    """Number of correct guesses: half of the guesses are "trained on" for the highest scores, half "not" for the lowest.

    With an odd number, one more guess is on the highest scores. Ties are ordered by position, which the coins do not affect.
    """
    order = np.argsort(scores, kind="stable")
    lowest, highest = guesses // 2, guesses - guesses // 2
    return int((~coins[order[:lowest]]).sum() + coins[order[len(order) - highest :]].sum())


def one_run_p_value(canaries: int, guesses: int, right: int, *, epsilon: float, delta: float) -> float:
    """Largest probability of at least this many right guesses under (epsilon, delta)-DP with fair coins."""
    from scipy.special import betainc, gammaln, xlog1py, xlogy

    if not right:
        return 1.0
    rate = 1 / (1 + math.exp(-epsilon))
    beyond = float(betainc(right, guesses - right + 1, rate))
    counts = np.arange(right - 1.0, -1.0, -1.0)
    ways = gammaln(guesses + 1) - gammaln(counts + 1) - gammaln(guesses - counts + 1)
    below = np.cumsum(np.exp(ways + xlogy(counts, rate) + xlog1py(guesses - counts, -rate)))
    return min(1.0, beyond + 2 * canaries * delta * float((below / np.arange(1, right + 1)).max()))


def one_run(canaries: int, guesses: int, right: int, *, delta: float, confidence: float = 0.95) -> float:
    """Lower bound on epsilon from one run; higher means more leakage, 0 means that no leakage is shown.

    Raises `DataError` for a delta outside (0, 1), and for inconsistent counts.
    """
    _check_counts(canaries, guesses, right, delta)

    def is_possible(epsilon: float) -> bool:
        return one_run_p_value(canaries, guesses, right, epsilon=epsilon, delta=delta) >= 1 - confidence

    return _smallest_possible(is_possible)


def one_run_gaussian(canaries: int, guesses: int, right: int, *, delta: float, confidence: float = 0.95) -> float:
    """Lower bound on epsilon at delta if the training is a Gaussian mechanism; 0 means that no leakage is shown.

    With p_i the probability of i right guesses, c_i = sum over k >= i of k p_k / m and w_i = sum of (r - k) p_k / m,
    mu-Gaussian-DP requires w_i >= Phi(Phi^-1(c_i+1) - mu). The recursion starts at P[v or more] = 1 - confidence and goes
    down; if it needs more than the total probability, the guesses are too good for mu. Raises as `one_run` does.
    """
    from scipy.special import ndtr, ndtri

    _check_counts(canaries, guesses, right, delta)

    def is_possible(mu: float) -> bool:
        correct = (1 - confidence) * right / canaries
        wrong = (1 - confidence) * (guesses - right) / canaries
        for i in range(right - 1, -1, -1):
            needed = max(wrong, float(ndtr(ndtri(correct) - mu)))
            correct, wrong = correct + i / (guesses - i) * (needed - wrong), needed
        return correct + wrong <= guesses / canaries

    return gaussian_epsilon(_smallest_possible(is_possible), delta=delta)


def gaussian_epsilon(mu: float, *, delta: float) -> float:
    """Epsilon at delta of a Gaussian mechanism with noise 1 / mu times its sensitivity to one text; lower is more private.

    Borja Balle, Yu-Xiang Wang, ICML 2018, arXiv 1805.06530, theorem 8.
    """
    from scipy.special import log_ndtr, ndtr

    def is_possible(epsilon: float) -> bool:
        scaled_tail = math.exp(epsilon + float(log_ndtr(-epsilon / mu - mu / 2)))
        return float(ndtr(mu / 2 - epsilon / mu)) - scaled_tail <= delta

    return _smallest_possible(is_possible) if mu else 0.0


def many_runs(
    true_positives: int, members: int, false_positives: int, nonmembers: int, *, delta: float, confidence: float = 0.95
) -> float:
    """Lower bound on epsilon from many runs with one guess each; higher means more leakage, 0: no leakage is shown.

    `true_positives` of the `members` (runs that trained on the text) and `false_positives` of the `nonmembers` were guessed
    to be members. The bound is the larger of ln((TPR - delta) / FPR) and ln((1 - FPR - delta) / (1 - TPR)), with the lower
    end of TPR and the upper end of FPR. Raises `DataError` for a delta outside (0, 1), a class without runs, and counts above
    their number of runs.
    """
    check_delta(delta)
    if not (0 <= true_positives <= members > 0 and 0 <= false_positives <= nonmembers > 0):
        raise DataError(
            f"many-run bound: {true_positives} of {members} runs with the text and {false_positives} of {nonmembers} without "
            "are inconsistent. Give at least one run of each class, and counts of at most the number of runs."
        )
    low = float(clopper_pearson(float(true_positives), float(members), confidence=confidence)[0])
    high = float(clopper_pearson(float(false_positives), float(nonmembers), confidence=confidence)[1])
    return max(0.0, *(math.log((p - delta) / q) if p > delta else 0.0 for p, q in ((low, high), (1 - high, 1 - low))))


def check_delta(delta: float) -> None:
    """Raise `DataError` for a delta outside (0, 1)."""
    if not 0 < delta < 1:
        reason = (
            "at delta 0 hardly any training has a finite epsilon"
            if delta == 0
            else "delta is a probability, that of exceeding epsilon"
        )
        raise DataError(
            f"delta = {delta:g}: {reason}. Write a number above 0 and below 1, smaller than 1 / number of training texts."
        )


def _check_counts(canaries: int, guesses: int, right: int, delta: float) -> None:
    check_delta(delta)
    if not 0 <= right <= guesses <= canaries or not guesses:
        raise DataError(
            f"one-run bound: {right} right of {guesses} guesses on {canaries} canaries is inconsistent. "
            "Give 0 <= right <= guesses <= canaries, with at least 1 guess."
        )


def _smallest_possible(is_possible: Callable[[float], bool]) -> float:
    """Return the smallest possible number from 0 up, rounded down slightly.

    Searches upward in steps: with a delta, p-values are not monotone, and only the first possible number is a valid bound.
    """
    above = 0.0
    while not is_possible(above):
        above += EPSILON_STEP
        if above > MAX_EPSILON:
            return MAX_EPSILON
    if not above:
        return 0.0
    below = above - EPSILON_STEP
    for _ in range(30):
        middle = (below + above) / 2
        below, above = (below, middle) if is_possible(middle) else (middle, above)
    return below
