"""Privacy lower bounds: the papers' formulas as plain loops, the papers' values, mechanisms with known epsilon."""

import functools
import math

import numpy as np
import pytest
from scipy.stats import beta as beta_distribution
from scipy.stats import binom, norm

from byheart.core.errors import DataError
from byheart.stats import epsilon_bounds


def plain_p_value(m, r, v, epsilon, delta):
    """Theorem of arXiv 2305.08846 with every probability summed separately."""
    q = math.exp(epsilon) / (math.exp(epsilon) + 1)
    chance = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    worst = max((2 / i * sum(chance[max(0, v - i) : v]) for i in range(1, m + 1)), default=0)
    return min(1.0, sum(chance[v:]) + m * delta * worst)


@pytest.mark.parametrize(("m", "r", "v"), [(30, 20, 17), (20, 20, 20), (40, 8, 8), (25, 10, 6), (12, 5, 0)])
@pytest.mark.parametrize("epsilon", [0.0, 0.7, 2.0])
def test_the_p_value_equals_the_papers(m, r, v, epsilon):
    for delta in (1e-5, 1e-3, 0.02):
        ours = epsilon_bounds.one_run_p_value(m, r, v, epsilon=epsilon, delta=delta)
        assert ours == pytest.approx(plain_p_value(m, r, v, epsilon, delta), rel=1e-9)


def test_bounds_equal_published_values():
    assert epsilon_bounds.one_run(1000, 200, 180, delta=1e-3) == pytest.approx(1.134, abs=1e-3)
    assert epsilon_bounds.one_run(1000, 100, 75, delta=1e-4) == pytest.approx(0.673, abs=5e-4)  # the paper's appendix D
    assert epsilon_bounds.one_run(100_000, 1510, 1439, delta=1e-5) == pytest.approx(2.675, abs=1e-3)  # its section 7


def test_the_delta_term_changes_the_bound():
    loose = epsilon_bounds.one_run(1000, 200, 180, delta=1e-12)
    assert loose == pytest.approx(1.799, abs=1e-3)


@pytest.mark.parametrize("bound", [epsilon_bounds.one_run, epsilon_bounds.one_run_gaussian])
def test_more_correct_guesses_raise_the_bound(bound):
    found = [bound(100, 40, v, delta=1e-5) for v in range(41)]
    assert found == sorted(found)
    assert found[20] == 0
    assert found[40] > 2
    assert bound(100, 40, 36, delta=1e-5, confidence=0.99) < found[36]
    assert bound(100, 40, 36, delta=1e-3) < found[36]


def test_few_correct_guesses_give_no_bound():
    assert epsilon_bounds.one_run(8, 4, 4, delta=1e-5) == 0  # one in sixteen
    assert epsilon_bounds.one_run(8, 5, 5, delta=1e-5) > 0


def test_a_gaussians_epsilon_solves_the_equation_of_its_delta_curve():
    for mu in (0.3, 1.0, 4.0):
        epsilon = epsilon_bounds.gaussian_epsilon(mu, delta=1e-5)
        curve = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
        assert curve == pytest.approx(1e-5, rel=1e-4)
    assert epsilon_bounds.gaussian_epsilon(1.0, delta=1e-5) == pytest.approx(4.377, abs=1e-3)
    assert epsilon_bounds.gaussian_epsilon(0.0, delta=1e-5) == 0


def test_probabilities_of_a_gaussian_mechanism_are_never_rejected():
    """All guesses on a mechanism with known probabilities: Binomial(m, Phi(mu / 2)) correct guesses."""
    m, mu = 60, 1.0
    epsilon = epsilon_bounds.gaussian_epsilon(mu, delta=1e-5)
    rate = norm.cdf(mu / 2)
    over = sum(
        binom.pmf(v, m, rate) for v in range(m + 1) if epsilon_bounds.one_run_gaussian(m, m, v, delta=1e-5) > epsilon
    )
    assert over <= 0.05


def counted(mechanism, bound, *, canaries, guesses, delta, studies=300):
    """Return the bounds of many audits of one mechanism."""
    chance = np.random.default_rng(5)
    known = functools.cache(lambda v: bound(canaries, guesses, v, delta=delta))
    found = []
    for _ in range(studies):
        coins = chance.random(canaries) < 0.5
        found.append(known(epsilon_bounds.correct_guesses(mechanism(coins, chance), coins, guesses)))
    return np.array(found)


def test_the_bound_is_valid_and_informative_for_randomized_response():
    epsilon = 2.0

    def response(coins, chance):
        reported = np.where(chance.random(len(coins)) < 1 / (1 + math.exp(-epsilon)), coins, ~coins)
        return reported + 0.01 * chance.random(len(coins))

    found = counted(response, epsilon_bounds.one_run, canaries=400, guesses=200, delta=1e-6)
    assert (found <= epsilon).mean() >= 0.93
    assert np.median(found) > 1.4


def test_bounds_are_valid_and_informative_for_gaussian_noise():
    def noised(coins, chance):
        return 2.0 * coins + chance.normal(size=len(coins))

    epsilon = epsilon_bounds.gaussian_epsilon(2.0, delta=1e-5)
    plain = counted(noised, epsilon_bounds.one_run, canaries=300, guesses=100, delta=1e-5)
    gaussian = counted(noised, epsilon_bounds.one_run_gaussian, canaries=300, guesses=100, delta=1e-5)
    assert (gaussian <= epsilon).mean() >= 0.95
    assert np.median(gaussian) > np.median(plain) > 2


def test_a_mechanism_that_fails_with_probability_delta_gets_no_bound():
    """It reveals one text in 25 and nothing about the others: epsilon 0 at delta 0.04."""

    def leaky(coins, chance):
        outright = chance.random(len(coins)) < 0.04
        return np.where(outright, 2.0 * coins - 1, 0.01 * chance.normal(size=len(coins)))

    assert counted(leaky, epsilon_bounds.one_run, canaries=500, guesses=20, delta=0.04).max() == 0
    blind = functools.partial(epsilon_bounds.one_run, confidence=0.95)
    assert (
        np.median(counted(leaky, blind, canaries=500, guesses=20, delta=1e-9)) > 1
    )  # the error that the term prevents


def test_guesses_are_the_highest_and_lowest_scores():
    scores = np.array([5.0, 1.0, 4.0, 2.0, 3.0, 0.0])
    coins = np.array([True, False, True, False, False, True])
    assert epsilon_bounds.correct_guesses(scores, coins, 6) == 4
    assert epsilon_bounds.correct_guesses(scores, coins, 2) == 1
    assert epsilon_bounds.correct_guesses(scores, coins, 3) == 2  # two highest, one lowest
    assert epsilon_bounds.correct_guesses(scores, coins, 1) == 1
    order = np.array([3, 1, 5, 0, 2, 4])
    assert all(
        epsilon_bounds.correct_guesses(scores[order], coins[order], r)
        == epsilon_bounds.correct_guesses(scores, coins, r)
        for r in range(1, 7)
    )


@pytest.mark.usefixtures("many_calls")
def test_equal_scores_are_random_guesses():
    chance = np.random.default_rng(0)
    right = [epsilon_bounds.correct_guesses(np.zeros(200), chance.random(200) < 0.5, 100) for _ in range(300)]
    assert np.mean(right) == pytest.approx(50, abs=1)


def exact_end(successes, trials, tail, *, upper):
    if upper:
        return 1.0 if successes == trials else beta_distribution.ppf(1 - tail, successes + 1, trials - successes)
    return 0.0 if successes == 0 else beta_distribution.ppf(tail, successes, trials - successes + 1)


@pytest.mark.parametrize("counts", [(90, 100, 5, 100), (100, 100, 60, 100), (40, 100, 0, 100), (50, 100, 50, 100)])
def test_the_bound_of_many_runs_uses_both_ratios(counts):
    found, members, alarms, nonmembers = counts
    low = exact_end(found, members, 0.025, upper=False)
    high = exact_end(alarms, nonmembers, 0.025, upper=True)
    ratios = [(low - 1e-5) / high]
    if low < 1:
        ratios.append((1 - high - 1e-5) / (1 - low))
    expected = max(0.0, *(math.log(x) if x > 0 else 0.0 for x in ratios))
    assert epsilon_bounds.many_runs(*counts, delta=1e-5) == pytest.approx(expected, rel=1e-9)


def test_the_bound_of_many_runs_detects_a_text_by_its_absence():
    assert (
        epsilon_bounds.many_runs(200, 200, 120, 200, delta=1e-5) > 2
    )  # always detected if present, detected in half of the runs if absent
    assert epsilon_bounds.many_runs(80, 200, 0, 200, delta=1e-5) > 2


@pytest.mark.usefixtures("many_calls")
def test_the_bound_of_many_runs_is_valid_for_gaussian_noise():
    chance, mu = np.random.default_rng(1), 1.0
    epsilon = epsilon_bounds.gaussian_epsilon(mu, delta=1e-5)
    found = []
    for _ in range(400):
        coins = chance.random(500) < 0.5
        reported = coins * mu + chance.normal(size=500) > 2.0
        counts = (reported[coins].sum(), coins.sum(), reported[~coins].sum(), (~coins).sum())
        found.append(epsilon_bounds.many_runs(*map(int, counts), delta=1e-5))
    assert (np.array(found) <= epsilon).mean() >= 0.95
    assert np.median(found) > 0.5


@pytest.mark.parametrize("delta", [0.0, 1.0, 1.5, -1e-3])
def test_a_delta_outside_zero_and_one_raises_an_error(delta):
    for bound in (epsilon_bounds.one_run, epsilon_bounds.one_run_gaussian):
        with pytest.raises(DataError, match=f"delta = {delta:g}: "):
            bound(100, 20, 15, delta=delta)
    with pytest.raises(DataError, match="delta"):
        epsilon_bounds.many_runs(5, 10, 1, 10, delta=delta)


def test_inconsistent_counts_raise_an_error():
    for canaries, guesses, right in ((10, 11, 5), (10, 5, 6), (10, 0, 0), (10, 5, -1)):
        with pytest.raises(DataError, match=f"{right} right of {guesses} guesses on {canaries} canaries"):
            epsilon_bounds.one_run(canaries, guesses, right, delta=1e-5)
    for counts in ((11, 10, 0, 10), (1, 10, 0, 0), (0, 0, 1, 10)):
        with pytest.raises(DataError, match="{} of {} runs .* {} of {}".format(*counts)):
            epsilon_bounds.many_runs(*counts, delta=1e-5)
