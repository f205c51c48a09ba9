"""Perplexity and the gap, against plain loops, and their intervals."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from byheart.core.errors import CellError, DataError
from byheart.core.types import Estimate
from byheart.metrics.generalisation_gap import generalisation_gap
from byheart.metrics.perplexity import perplexity
from byheart.metrics.train_perplexity import train_perplexity
from testing.evidence import MEMBERS, alone, free, packed, readings


def test_perplexity_weights_tokens_equally():
    evidence = packed([np.log([0.5, 0.25]), np.log([0.125])])
    assert free(perplexity, evidence).value == pytest.approx(
        4
    )  # (2 * 4 * 8) ** (1 / 3); the mean of the texts' own is 5.4
    assert free(perplexity, evidence).nonmembers == free(train_perplexity, evidence).members == 2
    assert free(perplexity, evidence)[:3] == free(train_perplexity, evidence)[:3]


@pytest.mark.parametrize("name", ["train", "validation"])
def test_perplexity_and_gap_equal_plain_loops(name):
    texts = readings({"train": 0, "validation": 1}[name], {"train": MEMBERS, "validation": 90}[name], 2.5)
    expected = math.exp(-math.fsum(map(math.fsum, texts)) / sum(map(len, texts)))
    assert free(perplexity, packed(texts)).value == pytest.approx(expected)
    other = readings(7, 40, 1.0)
    gap = free(generalisation_gap, packed(other), packed(texts))
    assert gap.value == pytest.approx(math.log(expected) - math.log(free(train_perplexity, packed(other)).value))
    assert gap.value > 0
    assert (gap.members, gap.nonmembers) == (40, len(texts))


def test_one_text_has_no_interval_and_equal_texts_a_narrow_one():
    one, same = packed([np.array([-1.0, -2.0])]), packed([np.array([-1.0, -2.0])] * 4)
    assert free(perplexity, one) == Estimate(math.exp(1.5), None, None, None, 1)
    assert free(generalisation_gap, one, same) == Estimate(0.0, None, None, 1, 4)
    assert free(perplexity, same)[:3] == pytest.approx([math.exp(1.5)] * 3)
    assert free(generalisation_gap, same, same) == Estimate(0.0, 0.0, 0.0, 4, 4)


def bent(t, skew, lean):
    """Hall (1992): the monotone cubic, with the correction for the denominator's variance."""
    factor = skew / 3 - lean
    return t + factor * t**2 + factor**2 * t**3 / 3 + skew / 6


@pytest.mark.parametrize("seed", range(4))
def test_the_nll_interval_is_halls(seed):
    generator = np.random.default_rng(seed)
    lengths = np.ceil(20 * generator.lognormal(0, 0.7, 40)).astype(int)
    levels = 3 * generator.lognormal(0, 0.7, 40) + lengths / 60
    texts, groups = (
        [np.full(n, -v) for n, v in zip(lengths, levels, strict=True)],
        tuple(f"g{i % 30}" for i in range(40)),
    )
    value = sum(lengths * levels) / sum(lengths)
    left = [sum(lengths[i] * (levels[i] - value) for i in range(g, 40, 30)) for g in range(30)]
    sizes = [sum(lengths[i] for i in range(g, 40, 30)) for g in range(30)]
    second, third, fourth = (sum(e**k for e in left) / 30 for k in (2, 3, 4))
    skew = third / second**1.5 / math.sqrt(30)
    lean = (
        sum(e * n for e, n in zip(left, sizes, strict=True))
        / 30
        / math.sqrt(second)
        / (sum(sizes) / 30)
        / math.sqrt(30)
    )
    reach = student.ppf(0.975, min(29, 2 * 30 / (fourth / second**2 - 1)))
    error = math.sqrt(30 * second * 30 / 29) / sum(sizes)
    found = perplexity(packed(texts), groups)
    for end, expected in ((found.low, reach), (found.high, -reach)):
        # Only the error has the factor 30 / 29, and both are divided by its third power.
        straight = bent((value - math.log(end)) / error, skew * (29 / 30) ** 1.5, lean * (29 / 30) ** 1.5)
        assert straight == pytest.approx(expected, rel=1e-9)


def test_copies_in_a_group_do_not_change_the_nll_intervals():
    texts, others = readings(0, 30, 2.5), readings(1, 40, 3.0)
    names, twice = alone(30), tuple(np.repeat(alone(30), 2).tolist())
    doubled = packed([t for t in texts for _ in range(2)])
    assert perplexity(doubled, twice)[:3] == pytest.approx(perplexity(packed(texts), names)[:3])
    once = generalisation_gap(packed(texts), packed(others), names, alone(40))
    assert generalisation_gap(doubled, packed(others), twice, alone(40))[:3] == pytest.approx(once[:3])
    assert generalisation_gap(packed(others), doubled, alone(40), twice)[:3] == pytest.approx(
        (-once.value, -once.high, -once.low)
    )
    free_again = free(perplexity, doubled)
    assert free_again.high - free_again.low < 0.8 * (perplexity(doubled, twice).high - perplexity(doubled, twice).low)


def test_a_diverged_model_is_a_failed_cell_without_nan():
    far = packed([np.array([-2000.0, -1.0]), np.array([-900.0])])
    with pytest.raises(CellError, match="diverged"):
        free(perplexity, far)
    assert math.isfinite(free(generalisation_gap, far, far).value)
    for wrong in (-math.inf, math.nan):
        with pytest.raises(DataError, match="must be finite"):
            packed([np.array([-1.0]), np.array([wrong])])
    wide = free(perplexity, packed([np.array([-1.0]), np.array([-600.0])]))
    assert math.isfinite(wide.high)
    assert wide.low == 1


def test_the_intervals_of_perplexity_and_gap_have_nominal_coverage():
    """Texts differ in difficulty and length, hard texts being longer: the ratio of sums is neither mean of means."""
    stored, gap_held, repeats = 0, 0, 300
    generator = np.random.default_rng(0)

    def texts(count, shift):
        lengths = generator.integers(5, 60, count)
        level = generator.gamma(8.0, 0.2, count) + lengths / 60 + shift
        return packed([-level[i] * generator.gamma(2.0, 0.5, n) for i, n in enumerate(lengths)])

    # E[length * level] / E[length] by the moments of the uniform integers 5..59
    lengths = np.arange(5, 60)
    truth = 1.6 + (lengths**2).mean() / lengths.mean() / 60
    for _ in range(repeats):
        seen, unseen = texts(60, 0.0), texts(40, 0.3)
        found = free(train_perplexity, seen)
        stored += found.low <= math.exp(truth) <= found.high
        gap = free(generalisation_gap, seen, unseen)
        gap_held += gap.low <= 0.3 <= gap.high
    assert 0.91 <= stored / repeats <= 0.985
    assert 0.91 <= gap_held / repeats <= 0.985
