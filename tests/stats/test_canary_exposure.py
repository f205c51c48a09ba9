"""Exposure: the paper's rank as a plain loop, the skew-normal tail beyond floating point, means with intervals."""

import math

import numpy as np
import pytest
from scipy.stats import laplace, norm, skewnorm
from scipy.stats import t as student

from byheart.core.errors import CellError, DataError
from byheart.core.types import LogProbs
from byheart.metrics.canary_guess import canary_guess
from byheart.metrics.epsilon_lower_bound import epsilon_lower_bound
from byheart.metrics.exposure import exposure
from byheart.metrics.held_out_exposure import held_out_exposure
from byheart.stats import skew_normal
from byheart.stats.canary_exposure import exposure_by_extrapolation, exposure_by_sampling
from byheart.stats.epsilon_bounds import correct_guesses, one_run
from byheart.stats.heavy_tail import log_tail_limit
from byheart.stats.skew_normal import log_skewnorm_cdf
from testing.made_up import planted


def packed(sums):
    """Evidence of texts of two tokens each whose log-likelihoods are these."""
    return LogProbs(logp=np.repeat(np.asarray(sums, dtype=float) / 2, 2), starts=2 * np.arange(len(sums) + 1))


def plain_exposure(canary, references):
    """log2 |R| - log2 rank, R the references and the canary, by rising perplexity."""
    rank = 1
    for other in references:
        if -other <= -canary:
            rank += 1
    return math.log2(len(references) + 1) - math.log2(rank)


def test_sampled_exposure_equals_the_papers_formula():
    chance = np.random.default_rng(0)
    references, canaries = chance.normal(-40, 3, 99), chance.normal(-35, 4, 20)
    expected = [plain_exposure(c, references) for c in canaries]
    assert exposure_by_sampling(canaries, references) == pytest.approx(expected)
    assert exposure_by_sampling(np.array([0.0, -100.0]), references).tolist() == pytest.approx([math.log2(100), 0])


def test_a_model_with_equal_likelihoods_has_zero_exposure():
    assert exposure_by_sampling(np.full(3, -5.0), np.full(50, -5.0)) == pytest.approx(0)


def test_held_out_canaries_have_the_documented_mean_exposure():
    chance = np.random.default_rng(1)
    found = exposure_by_sampling(chance.normal(size=20_000), chance.normal(size=20_000))
    assert found.mean() == pytest.approx(1 / math.log(2), abs=0.05)
    assert (found < 1).mean() == pytest.approx(0.5, abs=0.02)
    assert (found > 5).mean() == pytest.approx(1 / 32, abs=0.006)


@pytest.mark.parametrize("shape", [-20.0, -3.0, 0.0, 0.5, 3.0, 20.0])
@pytest.mark.parametrize("z", [-1.0, -4.0, -10.0, -40.0])
def test_the_tail_equals_a_numerical_integral(shape, z):
    from scipy.special import log_ndtr

    slope = abs(z) * (1 + max(shape, 0.0) ** 2)
    steps = np.linspace(0, 50 / slope if slope > 3 else 15, 400_001)
    density = math.log(2 / math.sqrt(2 * math.pi)) - (z - steps) ** 2 / 2 + log_ndtr(shape * (z - steps))
    expected = density[0] + math.log(np.trapezoid(np.exp(density - density[0]), steps))
    assert log_skewnorm_cdf(z, shape) == pytest.approx(expected, rel=1e-5)


def test_the_tail_equals_scipys_where_scipy_is_accurate():
    for shape in (-2.0, 0.0, 2.0):
        for z in (-1.0, 0.0, 1.5):
            assert log_skewnorm_cdf(z, shape) == pytest.approx(math.log(skewnorm.cdf(z, shape)), rel=1e-6)
    assert log_skewnorm_cdf(-1000.0, 0.0) == pytest.approx(norm.logcdf(-1000.0), rel=1e-9)
    assert skewnorm.cdf(-60.0, 0.0) == 0  # beyond the precision of a share


def normal_references(number, *, spread=2.0):
    """Log-likelihoods with exactly normal quantiles around -50."""
    return -50 + spread * norm.ppf((np.arange(number) + 0.5) / number)


def test_extrapolated_exposure_is_at_most_twice_the_sampled_range():
    references = normal_references(500)
    canaries = np.array([-50.0, -46.0, -44.0, -40.0, -30.0, -1.0])
    found = exposure_by_extrapolation(canaries, references, bits=60.0)
    deepest = 2 * math.log2(501)
    assert found.values[:3] == pytest.approx(-norm.logsf([0, 2, 3]) / math.log(2), abs=0.3)
    assert (np.diff(found.values[:4]) > 0).all()
    assert found.values[4:].tolist() == [deepest, deepest]
    assert found.highs[4:].tolist() == [60, 60]
    assert exposure_by_extrapolation(canaries, references, bits=12.0).values.max() == 12
    assert not found.is_bound.any()
    assert (found.lows <= found.values).all()
    assert (found.values <= found.highs).all()


@pytest.mark.parametrize("kind", ["laplace", "t"])
def test_references_that_are_not_skew_normal_give_a_lower_bound(kind):
    """A canary of 20 bits, 200 references: the fits give 68 (Laplace) and 93 bits (t5)."""
    law = {"laplace": laplace(), "t": student(5)}[kind]
    references = law.isf((np.arange(200) + 0.5) / 200)
    canaries = law.isf(2.0 ** -np.array([20.0, 3.0]))
    fitted = skew_normal.fit(-references)
    assert (-fitted.log_cdf(-canaries[:1]) / math.log(2) > 60).all()
    found = exposure_by_extrapolation(canaries, references, bits=103.0)
    assert found.values == pytest.approx([math.log2(201), 3.0], abs=0.1)
    assert found.is_bound.tolist() == [True, False]
    assert found.lows == pytest.approx([-math.log2(1 - 0.025 ** (1 / 200)), 2.5], abs=0.1)
    assert found.highs[0] == 103
    assert 3 < found.highs[1] < 4


def test_few_or_very_skewed_references_are_not_extrapolated():
    for references in (normal_references(49), -np.exp(normal_references(300, spread=0.5) + 50)):
        assert exposure_by_extrapolation(np.array([1e9]), references, bits=30.0).is_bound.all()
    assert not exposure_by_extrapolation(np.array([1e9]), normal_references(50), bits=30.0).is_bound.any()


def test_the_fit_test_rejects_one_in_ten_skew_normal_samples():
    chance = np.random.default_rng(6)
    p_values = []
    for _ in range(60):
        sample = skewnorm.rvs(2.0, size=100, random_state=chance)
        p_values.append(skew_normal.goodness_of_fit(sample, skew_normal.bootstrap(skew_normal.fit(sample), 100)))
    assert np.mean(np.array(p_values) < 0.1) < 0.25
    assert 0.3 < np.median(p_values) < 0.7


def test_the_anderson_darling_statistic_equals_the_papers_sum():
    sample = np.random.default_rng(7).normal(5, 2, 40)
    fitted = skew_normal.fit(sample)
    law = skewnorm(float(fitted.shape), float(fitted.location), float(fitted.scale))
    assert law.stats("mvs") == pytest.approx((sample.mean(), sample.var(), float(skew_normal.skewness(sample))))
    p = law.cdf(np.sort(sample))
    total = sum((2 * i - 1) * (math.log(p[i - 1]) + math.log(1 - p[40 - i])) for i in range(1, 41))
    assert float(skew_normal.anderson_darling(sample)) == pytest.approx(-40 - total / 40)


def test_the_tail_limit_covers_light_and_heavy_tails():
    chance = np.random.default_rng(8)
    bits = np.array([10.0, 20.0])
    for law in (norm(), laplace(), student(5)):
        points = law.isf(2.0**-bits)
        above = [log_tail_limit(points, law.rvs(200, random_state=chance)) >= -bits * math.log(2) for _ in range(60)]
        assert np.mean(above) > 0.95
    assert log_tail_limit(np.array([-9.0]), norm.rvs(size=200, random_state=chance)).tolist() == [0]


def test_sampled_and_extrapolated_exposure_agree_within_the_references():
    references = normal_references(3000)
    canaries = np.array([-52.0, -50.0, -48.0, -46.0])
    assert exposure_by_sampling(canaries, references) == pytest.approx(
        exposure_by_extrapolation(canaries, references, bits=64.0).values, abs=0.1
    )


def test_the_mean_of_lower_bounds_has_no_high_end():
    labels = planted([True] * 6, [1] * 6, ["digits"] * 6, references=(("digits", 200),), bits={"digits": 29.9})
    references = laplace.isf((np.arange(200) + 0.5) / 200)
    canaries = packed(np.full(6, laplace.isf(2.0**-20)))
    found = exposure(canaries, packed(references), labels, estimate="extrapolation")
    assert found.value == pytest.approx(math.log2(201))
    assert 0 < found.low < found.value
    assert found.high is None
    normal = exposure(canaries, packed(normal_references(200)), labels, estimate="extrapolation")
    assert normal.high == 29.9


def test_references_of_one_likelihood_cannot_be_extrapolated():
    with pytest.raises(CellError, match="estimate: sampling"):
        exposure_by_extrapolation(np.zeros(2), np.full(20, -3.0), bits=30.0)


def test_canaries_are_ranked_within_their_kind_and_grouped_by_repetitions():
    labels = planted(
        [True, True, True, False],
        [1, 4, 1, 1],
        ["digits", "digits", "names", "names"],
        references=(("digits", 30), ("names", 30)),
    )
    chance = np.random.default_rng(4)
    references = np.concatenate([chance.normal(-20, 1, 30), chance.normal(-90, 1, 30)])
    canaries = np.array([-20.0, -10.0, -80.0, -90.0])
    once = exposure(packed(canaries), packed(references), labels)
    expected = [plain_exposure(-20.0, references[:30]), plain_exposure(-80.0, references[30:])]
    assert once.value == pytest.approx(np.mean(expected))
    assert once.members == 2
    assert exposure(packed(canaries), packed(references), labels, repeated=4).value == pytest.approx(math.log2(31))
    out = held_out_exposure(packed(canaries), packed(references), labels)
    assert out.value == pytest.approx(plain_exposure(-90.0, references[30:]))
    assert out.nonmembers == 1


def test_intervals_contain_the_mean_and_stay_within_possible_exposures():
    labels = planted([True] * 6 + [False] * 6, [1] * 12, ["digits"] * 12)
    references = np.arange(-30.0, 0.0)
    mixed = packed([-25.0, -20.0, -15.0, -10.0, -5.0, 5.0] * 2)
    some = exposure(mixed, packed(references), labels)
    assert 0 <= some.low < some.value < some.high <= math.log2(31)
    alike = exposure(packed([5.0] * 12), packed(references), labels)
    assert alike.low < alike.value == pytest.approx(alike.high) == pytest.approx(math.log2(31))
    assert alike.low > 2  # six equal values do not give certainty


def test_kinds_without_a_format_have_no_exposure():
    labels = planted([True, True], [1, 1], ["digits", "real_texts"])
    assert exposure(packed([0.0, 9.0]), packed(np.arange(-30.0, 0.0)), labels).members == 1
    bare = planted([True, False], [1, 1], ["real_texts"] * 2, references=(), bits={})
    with pytest.raises(DataError, match="exposure: canaries of kind real_texts"):
        exposure(packed([0.0, 9.0]), packed([]), bare)


def test_missing_canaries_raise_an_error():
    labels = planted([True, False], [1, 4], ["digits"] * 2)
    evidence = packed([0.0, 1.0]), packed(np.arange(-30.0, 0.0)), labels
    with pytest.raises(DataError, match=r"repeated 4 times.* repeated 1 times"):
        exposure(*evidence, repeated=4)
    with pytest.raises(DataError, match="metrics held_out_exposure"):
        held_out_exposure(*evidence[:2], planted([True, True], [1, 1], ["digits"] * 2))


def audited(chance, *, gain, number=60, kinds=("digits", "names")):
    included = (chance.random(number) < 0.5).tolist()
    own = [kinds[i % len(kinds)] for i in range(number)]
    base = chance.normal(-50, 10, number)
    after = (
        base + gain * np.array(included) + np.array([7.0 * (k == "names") for k in own]) + chance.normal(size=number)
    )
    return packed(after), packed(base), planted(included, [1] * number, own, references=(("digits", 3), ("names", 3)))


def test_the_bound_ranks_canaries_by_gain_over_the_base_within_a_kind():
    after, base, labels = audited(np.random.default_rng(5), gain=3.0)
    found = epsilon_lower_bound(after, base, labels, guesses=50)
    gains = after.logp[::2] * 2 - base.logp[::2] * 2
    for kind in ("digits", "names"):
        here = np.array(labels.kinds) == kind
        gains[here] -= np.median(gains[here])
    right = correct_guesses(gains, np.array(labels.included), 50)
    assert found.value == one_run(60, 50, right, delta=1e-5)
    assert found.value > 0.5
    assert found.members == sum(labels.included)
    assert epsilon_lower_bound(after, base, labels, guesses=50, assume="gaussian").value > found.value


def test_a_base_model_gives_a_positive_bound_only_by_chance():
    chance = np.random.default_rng(6)
    found = []
    for _ in range(100):
        _, base, labels = audited(chance, gain=0.0)
        found.append(epsilon_lower_bound(base, base, labels).value)
    assert np.mean(np.array(found) > 0) <= 0.1


def test_only_canaries_with_the_set_repetitions_are_guessed():
    after, base, labels = audited(np.random.default_rng(7), gain=30.0)
    often = planted(labels.included, [1, 4] * 30, labels.kinds, references=(("digits", 3), ("names", 3)))
    found = epsilon_lower_bound(after, base, often)
    assert found.members + found.nonmembers == 30
    assert found.value == one_run(30, 15, 15, delta=1e-5)


def test_bounds_with_violated_assumptions_raise_an_error():
    after, base, labels = audited(np.random.default_rng(8), gain=1.0)
    unfair = planted(labels.included, labels.repetitions, labels.kinds, coin=0.7)
    with pytest.raises(DataError, match=r"data\.canaries\.coin is 0\.7.* 0\.5"):
        epsilon_lower_bound(after, base, unfair)
    for delta in (0.0, 1.0, 2.0):
        with pytest.raises(DataError, match="delta"):
            epsilon_lower_bound(after, base, labels, delta=delta)
    with pytest.raises(DataError, match="guesses = 61, but 60 canaries"):
        epsilon_lower_bound(after, base, labels, guesses=61)
    with pytest.raises(DataError, match=r"4 guesses on 60 canaries.* delta = 1e-05"):
        epsilon_lower_bound(after, base, labels, guesses=4)
    with pytest.raises(DataError, match=r"30 guesses on 60 canaries.* delta = 0.2"):
        epsilon_lower_bound(after, base, labels, delta=0.2)
    with pytest.raises(DataError, match="0 guesses on 0 canaries repeated 3 times"):
        epsilon_lower_bound(after, base, labels, repeated=3)


def test_with_one_guess_per_run_the_first_canary_is_ranked_among_references():
    references = packed(np.arange(-40.0, -10.0))
    for own, trained in ((0.0, True), (-25.0, True), (0.0, False), (-25.0, False)):
        labels = planted([True, trained], [4, 1], ["digits"] * 2, by_seed=True)
        found = canary_guess(packed([0.0, own]), references, labels)
        assert found.value == (own == 0.0)
        assert (found.members, found.nonmembers) == (int(trained), int(not trained))
    with pytest.raises(DataError, match="by_seed: true"):
        canary_guess(packed([0.0]), references, planted([True], [1], ["digits"]))
    with pytest.raises(DataError, match="repeated 9 times"):
        canary_guess(packed([0.0]), references, planted([True], [1], ["digits"], by_seed=True), repeated=9)
