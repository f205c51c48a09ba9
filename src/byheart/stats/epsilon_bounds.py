"""Lower bounds on epsilon from guesses: what an audit shows a training to leak at least. Pure NumPy and SciPy.

- One run: Thomas Steinke, Milad Nasr, Matthew Jagielski. Privacy Auditing with One (1) Training Run. NeurIPS 2023.
  arXiv 2305.08846. Of m texts, each trained on by a fair coin of its own, an adversary guesses r coins, r fixed
  beforehand, and v guesses are right. Under (epsilon, delta)-DP, with q = 1 / (1 + e^-epsilon) and B ~ Binomial(r, q),

      P[v or more are right] <= P[B >= v] + 2 m delta max_i P[v - i <= B < v] / i.

  The bound is the least epsilon that this does not refuse. Checked against two values that the paper prints. A bound
  without the second term is wrong: it may be exceeded wherever delta is not 0 (`tests/test_privacy.py`).
- One run, Gaussian: Saeed Mahloujifar, Luca Melis, Kamalika Chaudhuri. Auditing f-Differential Privacy in One Run.
  ICML 2025. arXiv 2410.22235. Tighter, and a bound on epsilon only where what a training gives away of one text is
  like a Gaussian mechanism's, as DP-SGD's is nearly: (epsilon, delta)-DP at one delta says less than that.
- Many runs: each run trains anew, with one coin of its own. Rates by Clopper and Pearson (Biometrika 26 (1934)
  404-413), both ends together at the confidence asked for.

What is guessed must not be chosen on the coins: no threshold, number of guesses, epoch or attack that did best on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.errors import DataError
from byheart.stats.intervals import clopper_pearson

EPSILON_STEP = 0.2  # of epsilon, in the search for the first that is not refused
MAX_EPSILON = 50.0  # no number of guesses that fits into memory shows more


def correct_guesses(scores: Float[np.ndarray, " texts"], coins: Bool[np.ndarray, " texts"], guesses: int) -> int:
    """Number of right guesses: of the highest scores, trained on, and of the lowest, not, half of the guesses each.

    An odd one is of the highest; equal scores are ordered by place, which coins do not decide.
    """
    order = np.argsort(scores, kind="stable")
    lowest, highest = guesses // 2, guesses - guesses // 2
    return int((~coins[order[:lowest]]).sum() + coins[order[len(order) - highest :]].sum())


def one_run_p_value(canaries: int, guesses: int, right: int, *, epsilon: float, delta: float) -> float:
    """Largest chance of so many right guesses or more under (epsilon, delta)-DP; coins are fair."""
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
    """Epsilon that the training has at least, from one run; 0 where nothing is shown.

    Raises `DataError` for a delta that is no chance, and for guesses that do not fit.
    """
    _check_counts(canaries, guesses, right, delta)

    def held(epsilon: float) -> bool:
        return one_run_p_value(canaries, guesses, right, epsilon=epsilon, delta=delta) >= 1 - confidence

    return _smallest_possible(held)


def one_run_gaussian(canaries: int, guesses: int, right: int, *, delta: float, confidence: float = 0.95) -> float:
    """Epsilon at delta of the least Gaussian mechanism that may give so many right guesses; 0 where nothing is shown.

    With p_i the chance of i right guesses, c_i = sum over k >= i of k p_k / m and w_i = sum of (r - k) p_k / m, being
    mu-Gaussian-DP asks w_i >= Phi(Phi^-1(c_i+1) - mu). From P[v or more] = 1 - confidence down, that takes more than all
    there is where the guesses are too good for mu. Raises as `one_run` does.
    """
    from scipy.special import ndtr, ndtri

    _check_counts(canaries, guesses, right, delta)

    def held(mu: float) -> bool:
        correct = (1 - confidence) * right / canaries
        wrong = (1 - confidence) * (guesses - right) / canaries
        for i in range(right - 1, -1, -1):
            needed = max(wrong, float(ndtr(ndtri(correct) - mu)))
            correct, wrong = correct + i / (guesses - i) * (needed - wrong), needed
        return correct + wrong <= guesses / canaries

    return gaussian_epsilon(_smallest_possible(held), delta=delta)


def gaussian_epsilon(mu: float, *, delta: float) -> float:
    """Epsilon at delta of a Gaussian mechanism whose noise is 1 / mu of what one text moves it by.

    Borja Balle, Yu-Xiang Wang, ICML 2018, arXiv 1805.06530, theorem 8.
    """
    from scipy.special import log_ndtr, ndtr

    def held(epsilon: float) -> bool:
        more = math.exp(epsilon + float(log_ndtr(-epsilon / mu - mu / 2)))
        return float(ndtr(mu / 2 - epsilon / mu)) - more <= delta

    return _smallest_possible(held) if mu else 0.0


def many_runs(
    true_positives: int, members: int, false_positives: int, nonmembers: int, *, delta: float, confidence: float = 0.95
) -> float:
    """Epsilon that the training has at least, from one guess a run; 0 where nothing is shown.

    `found` of the `members` (runs whose coin had the text trained on) were guessed to be, and `alarms` of the others.
    ln((TPR - delta) / FPR) and ln((1 - FPR - delta) / (1 - TPR)), the lower end of TPR against the upper of FPR.
    Raises `DataError` for a delta that is no chance, a side without runs, and counts above their runs.
    """
    check_delta(delta)
    if not (0 <= true_positives <= members > 0 and 0 <= false_positives <= nonmembers > 0):
        raise DataError(
            f"{true_positives} of {members} runs with the text and {false_positives} of {nonmembers} without: each needs one run, and counts that fit"
        )
    low = float(clopper_pearson(float(true_positives), float(members), confidence=confidence)[0])
    high = float(clopper_pearson(float(false_positives), float(nonmembers), confidence=confidence)[1])
    return max(0.0, *(math.log((p - delta) / q) if p > delta else 0.0 for p, q in ((low, high), (1 - high, 1 - low))))


def check_delta(delta: float) -> None:
    """Refuse a delta that no bound can be told at, in one line."""
    if not 0 < delta < 1:
        why = (
            "at delta 0 hardly any training has a finite epsilon"
            if delta == 0
            else "it is the chance that epsilon fails"
        )
        raise DataError(
            f"delta = {delta:g}: {why}; write a number above 0 and below 1, smaller than one in the training texts"
        )


def _check_counts(canaries: int, guesses: int, right: int, delta: float) -> None:
    check_delta(delta)
    if not 0 <= right <= guesses <= canaries or not guesses:
        raise DataError(f"{right} right of {guesses} guesses on {canaries} canaries: each is at most the next")


def _smallest_possible(is_possible: Callable[[float], bool]) -> float:
    """Return the first number from 0 up that is held to be possible, a hair below it.

    Looked for in steps: p-values with a delta need not grow all the way, and what lies behind a gap proves nothing.
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
