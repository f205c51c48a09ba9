"""Counterfactual memorization against its definition, and the agreement of attacks with it."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from byheart.metrics.counterfactual_agreement import counterfactual_agreement
from byheart.metrics.counterfactual_memorization import counterfactual_memorization
from testing.evidence import alone
from testing.measured import shadowed

TEXTS = 60
MEMBERSHIP = np.arange(TEXTS) < 30


def plain(shadows):
    """Inside mean minus outside mean of the mean log-probability, one text and model at a time."""
    gains = []
    for i in range(len(shadows.starts) - 1):
        means = [logp[shadows.starts[i] : shadows.starts[i + 1]].mean() for logp in shadows.logp]
        inside = [m for m, is_in in zip(means, shadows.inside[:, i], strict=True) if is_in]
        outside = [m for m, is_in in zip(means, shadows.inside[:, i], strict=True) if not is_in]
        gains.append(np.mean(inside) - np.mean(outside))
    return np.array(gains)


def test_it_is_inside_minus_outside():
    shadows = shadowed(range(TEXTS))
    found = counterfactual_memorization(shadows, alone(TEXTS))
    assert found.value == pytest.approx(plain(shadows).mean(), rel=1e-9)
    assert found.low < found.value < found.high
    assert found.members == TEXTS


def test_training_that_memorizes_nothing_has_zero_inside_the_interval():
    none = counterfactual_memorization(shadowed(range(TEXTS), gain=0.0), alone(TEXTS))
    assert none.low < 0 < none.high
    assert counterfactual_memorization(shadowed(range(TEXTS), gain=2.0), alone(TEXTS)).low > 1


def test_agreement_is_spearmans_correlation_over_members():
    shadows = shadowed(range(TEXTS))
    gains = plain(shadows)
    scores = gains + np.random.default_rng(0).normal(0, 0.5, TEXTS)
    found = counterfactual_agreement(scores, shadows, MEMBERSHIP, alone(TEXTS))
    assert found.value == pytest.approx(spearmanr(scores[:30], gains[:30]).statistic, abs=1e-12)
    assert -1 <= found.low < found.value < found.high <= 1
    assert counterfactual_agreement(gains, shadows, MEMBERSHIP, alone(TEXTS)).value == pytest.approx(1)
    assert counterfactual_agreement(np.zeros(TEXTS), shadows, MEMBERSHIP, alone(TEXTS)).value == 0
