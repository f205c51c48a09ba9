"""Power of bounds to pass: by formula, by counting, and the texts that it takes."""

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from byheart.metrics.tpr_at_fpr import tpr_at_fpr
from byheart.stats.equivalence import auc_pass_power, texts_to_pass, tpr_pass_power


def test_the_power_of_an_auc_is_that_of_two_one_sided_tests():
    error = math.sqrt(401 / (12 * 200 * 200))
    expected = 2 * ndtr(0.1 / error - ndtri(0.975)) - 1
    assert auc_pass_power(200, 200, 0.6) == pytest.approx(expected)
    assert auc_pass_power(200, 200, 0.6, attacks=5) == pytest.approx(expected**5)
    assert auc_pass_power(20, 20, 0.51) == 0.0


@pytest.mark.parametrize(("texts", "bound", "fpr"), [(200, 0.2, 0.1), (400, 0.05, 0.01), (60, 0.4, 0.1)])
@pytest.mark.usefixtures("many_calls")
def test_the_power_of_a_tpr_is_how_often_the_metric_stays_below(texts, bound, fpr):
    rng, membership = np.random.default_rng(1), np.arange(2 * texts) < texts
    groups = tuple(map(str, range(2 * texts)))
    highs = []
    for _ in range(400):
        scores = rng.normal(size=2 * texts)
        highs.append(max(tpr_at_fpr(s, membership, groups, fpr=fpr).high for s in (scores, -scores)))
    assert tpr_pass_power(texts, texts, bound, fpr=fpr) == pytest.approx(np.mean(np.array(highs) < bound), abs=0.06)


def test_a_rate_that_no_threshold_realizes_is_never_shown():
    assert tpr_pass_power(500, 99, 0.5, fpr=0.01) == 0.0
    assert tpr_pass_power(0, 500, 0.5, fpr=0.01) == 0.0


def test_the_texts_that_it_takes_have_the_power_and_half_of_them_do_not():
    for power in (
        lambda n: auc_pass_power(n, n, 0.55, attacks=5),
        lambda n: tpr_pass_power(n, n, 0.03, fpr=0.01, attacks=5),
    ):
        needed = texts_to_pass(power)
        assert power(needed) >= 0.79
        assert power(needed // 2) < 0.8
    assert texts_to_pass(lambda _: 0.5) is None
