"""Sequence LiRA: the ratio of two multivariate normal densities as a loop; power against LiRA; the null."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf_shrinkage

from byheart.attacks.lira import lira
from byheart.attacks.lira_sequence import lira_sequence
from byheart.core.errors import DataError
from byheart.core.evidence import Shadows
from byheart.core.types import LogProbs
from byheart.metrics.auc import auc


def drawn(pairs, *, texts=300, tokens=20, common=0.3, noise=0.1, gain=0.1, seed=0):
    """Target and shadow models that differ in a whole text's level (`common`), in each token (`noise`), and by training."""
    chance = np.random.default_rng(seed)
    firsts = [chance.permutation(np.arange(texts) % 2 == 0) for _ in range(pairs)]
    inside = np.array([half for first in firsts for half in (first, ~first)])
    members = np.arange(texts) < texts // 2
    trained = np.vstack([members[None], inside])[:, :, None]
    shape = (len(trained), texts, tokens)
    level = -6 + chance.normal(size=shape[1:]) + common * chance.normal(size=(*shape[:2], 1))
    logp = level + noise * chance.normal(size=shape) + gain * chance.exponential(size=shape[1:]) * trained
    packed, starts = logp.reshape(len(logp), -1), np.arange(0, texts * tokens + 1, tokens)
    nothing = {"population_logp": np.empty((len(inside), 0)), "population_starts": np.zeros(1, dtype=int)}
    return LogProbs(logp=packed[0], starts=starts), Shadows(logp=packed[1:], starts=starts, inside=inside, **nothing)


def measured(scores):
    return auc(scores, np.arange(len(scores)) < len(scores) // 2, tuple(map(str, range(len(scores)))))


def shrunk(deviations, lost):
    sample = deviations.T @ deviations / (len(deviations) - lost)
    shrinkage = ledoit_wolf_shrinkage(deviations, assume_centered=True)
    tokens = sample.shape[1]
    return shrinkage * np.trace(sample) / tokens * np.eye(tokens) + (1 - shrinkage) * sample


@pytest.mark.parametrize("covariance", ["shared", "own"])
@pytest.mark.parametrize(("pairs", "tokens"), [(4, 7), (9, 4)])
def test_it_is_the_ratio_of_two_multivariate_normal_densities(covariance, pairs, tokens):
    target, shadows = drawn(pairs, texts=8, tokens=tokens)
    expected = []
    for i in range(8):
        span = slice(i * tokens, (i + 1) * tokens)
        inside, outside = (shadows.logp[shadows.inside[:, i] == side, span] for side in (True, False))
        deviations = [side - side.mean(0) for side in (inside, outside)]
        own = [shrunk(d, 1) for d in deviations]
        matrices = [shrunk(np.vstack(deviations), 2)] * 2 if covariance == "shared" else own
        ours = target.logp[span]
        log_in, log_out = (
            multivariate_normal(side.mean(0), matrix).logpdf(ours)
            for side, matrix in zip((inside, outside), matrices, strict=True)
        )
        expected.append(log_in - log_out)
    assert np.allclose(lira_sequence(target, shadows, covariance=covariance), expected, rtol=1e-6)


def test_it_finds_members_whose_tokens_vary_together():
    target, shadows = drawn(4)
    found = measured(lira_sequence(target, shadows))
    assert found.low > 0.8
    assert found.low > measured(lira(target, shadows)).high


def test_without_correlation_it_is_as_strong_as_lira():
    target, shadows = drawn(4, common=0.0, noise=0.15)
    assert measured(lira_sequence(target, shadows)).value > measured(lira(target, shadows)).value - 0.05


def test_one_covariance_is_better_than_two_of_few_shadow_models():
    target, shadows = drawn(4)
    shared, own = (measured(lira_sequence(target, shadows, covariance=c)).value for c in ("shared", "own"))
    assert shared > own + 0.05


@pytest.mark.parametrize("covariance", ["shared", "own"])
def test_without_training_it_is_at_chance(covariance):
    drawings = [drawn(4, gain=0.0, texts=200, seed=seed) for seed in range(4)]
    nulls = [measured(lira_sequence(*evidence, covariance=covariance)) for evidence in drawings]
    assert sum(null.low < 0.5 < null.high for null in nulls) >= 3
    assert abs(np.mean([null.value for null in nulls]) - 0.5) < 0.06


@pytest.mark.parametrize("covariance", ["shared", "own"])
def test_equal_models_score_zero(covariance):
    target, shadows = drawn(4, texts=6)
    same = dataclasses.replace(shadows, logp=np.repeat(target.logp[None], 8, axis=0))
    assert not lira_sequence(target, same, covariance=covariance).any()


def test_one_token_and_other_tokens():
    target, shadows = drawn(3, texts=40, tokens=1, noise=0.05, common=0.0)
    assert np.isfinite(lira_sequence(target, shadows)).all()
    moved = dataclasses.replace(shadows, starts=np.array([0, 2, *range(3, 41)]))
    with pytest.raises(DataError, match="lira_sequence"):
        lira_sequence(target, moved)
    few_target, few = drawn(2, texts=6)
    assert np.isfinite(lira_sequence(few_target, few)).all()
    with pytest.raises(DataError, match="at least 4"):
        lira_sequence(few_target, few, covariance="own")
    with pytest.raises(DataError, match="at least 2"):
        lira_sequence(target, dataclasses.replace(shadows, inside=np.ones_like(shadows.inside)))
