"""Attacks combined on known texts: what is fitted, on which texts, and that audited texts are never used for fitting."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import byheart
from byheart.attacks.ensemble import DEFAULT_ATTACKS, ensemble
from byheart.core import registry
from byheart.core.errors import DataError, SettingError, UnknownNameError
from byheart.core.types import TokenStats
from byheart.store.store import Store

NAMES = ("target", "base", "known_members", "known_members_base", "known_nonmembers", "known_nonmembers_base")


def read(seed, gains, lengths=None):
    """Target and base statistics of texts whose log-probabilities fine-tuning raised by `gains` nats per token."""
    chance = np.random.default_rng(seed)
    lengths = chance.integers(5, 40, len(gains)) if lengths is None else lengths
    starts = np.concatenate(([0], np.cumsum(lengths)))
    count = starts[-1]
    ease = np.repeat(chance.normal(0, 1.0, len(gains)), lengths)
    logp = np.minimum(-chance.gamma(3.0, size=count) + ease - 1, -0.01)
    moved = np.minimum(logp + chance.normal(0.2, 0.3, count) + np.repeat(gains, lengths), -0.001)
    rest = {"mean": logp - 1, "std": np.ones(count), "entropy": 1 - logp, "rank": chance.integers(0, 5, count)}
    return TokenStats(logp=moved, starts=starts, **rest), TokenStats(logp=logp, starts=starts, **rest)


def evidence(gain=0.3, known=40, audited=60):
    members = np.arange(audited) % 2 == 0
    parts = (read(0, gain * members), read(1, np.full(known, gain)), read(2, np.zeros(known)))
    return dict(zip(NAMES, (stats for pair in parts for stats in pair), strict=True)), members


def auc(scores, members):
    return np.mean([(m > n) + (m == n) / 2 for m in scores[members] for n in scores[~members]])


def columns(target, base, of=DEFAULT_ATTACKS):
    known = {"target": target, "base": base}
    return np.stack(
        [(a := registry.load_function("attacks", n))(*(known[k] for k in registry.needs(a))) for n in of], axis=1
    )


def test_logistic_equals_scikit_learn_on_standardized_scores():
    known, _ = evidence()
    inside = columns(known["known_members"], known["known_members_base"])
    outside = columns(known["known_nonmembers"], known["known_nonmembers_base"])
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(
        np.vstack([inside, outside]), [1] * 40 + [0] * 40
    )
    expected = fitted.decision_function(columns(known["target"], known["base"]))
    np.testing.assert_allclose(ensemble(*known.values()), expected, rtol=1e-3, atol=1e-4)


def test_quantile_is_the_maximum_likelihood_gaussian():
    """The same penalized likelihood as a loop over texts, maximized without gradients."""
    known, _ = evidence()
    of = ("loss", "min_k", "reference")  # reference requires two models

    def features(base):
        return [
            [*row, np.log(n)] for row, n in zip(columns(base, base, of[:2]), np.diff(base.starts).tolist(), strict=True)
        ]

    fitted, wanted = np.array(features(known["known_nonmembers_base"])), np.array(features(known["base"]))
    mean, spread = fitted.mean(0), fitted.std(0)
    reported = columns(known["known_nonmembers"], known["known_nonmembers_base"], ("loss",))[:, 0]
    found = columns(known["target"], known["base"], ("loss",))[:, 0]
    rows, scores = (fitted - mean) / spread, (reported - reported.mean()) / reported.std()

    def loss(w):
        total = sum(w[i] ** 2 / 2 for i in (1, 2, 3, 5, 6, 7))
        for row, score in zip(rows, scores, strict=True):
            total -= norm.logpdf(score, w[0] + w[1:4] @ row, np.exp(w[4] + w[5:] @ row))
        return total

    best = minimize(loss, np.zeros(8), method="BFGS").x
    rows = (wanted - mean) / spread
    expected = ((found - reported.mean()) / reported.std() - best[0] - rows @ best[1:4]) / np.exp(
        best[4] + rows @ best[5:]
    )
    got = ensemble(*known.values(), of=of, regression="quantile")
    np.testing.assert_allclose(got, expected, rtol=0.01, atol=0.01)


def test_quantile_of_nonmembers_is_a_standard_normal():
    """At a threshold for a false positive rate, about this share of non-members is above it."""
    known, _ = evidence(known=2000)
    others = dict(zip(("target", "base"), read(9, np.zeros(2000)), strict=True))
    scores = ensemble(*{**known, **others}.values(), regression="quantile")
    for rate in (0.5, 0.1, 0.02):
        assert abs(np.mean(scores > norm.isf(rate)) - rate) < 0.35 * rate + 0.01


@pytest.mark.parametrize("regression", ["logistic", "quantile"])
def test_it_detects_a_planted_signal_and_nothing_without_one(regression):
    planted, members = evidence(gain=0.6)
    assert auc(ensemble(*planted.values(), regression=regression), members) > 0.8
    flat = [auc(ensemble(*evidence(gain=0)[0].values(), regression=regression), members)]
    assert 0.3 < flat[0] < 0.7


def test_quantile_beats_loss_if_texts_differ_in_difficulty():
    planted, members = evidence(gain=0.5)
    scores = ensemble(*planted.values(), regression="quantile")
    assert auc(scores, members) > auc(columns(planted["target"], planted["base"], ("loss",))[:, 0], members) + 0.1


@pytest.mark.parametrize("regression", ["logistic", "quantile"])
def test_no_audited_text_is_used_for_fitting(regression):
    """Changing or removing an audited text does not change other scores, so the fit does not use it."""
    known, _ = evidence()
    scores = ensemble(*known.values(), regression=regression)
    target, base = known["target"], known["base"]
    half = target.starts[30]
    moved = {
        **known,
        "target": dataclasses.replace(target, logp=np.where(np.arange(len(target.logp)) < half, target.logp, -9.0)),
    }
    assert np.array_equal(ensemble(*moved.values(), regression=regression)[:30], scores[:30])

    def first(stats):
        arrays = {f.name: getattr(stats, f.name)[:half] for f in dataclasses.fields(stats) if f.name != "starts"}
        return TokenStats(starts=stats.starts[:31], **arrays)

    fewer = {**known, "target": first(target), "base": first(base)}
    assert np.array_equal(ensemble(*fewer.values(), regression=regression), scores[:30])


def test_quantile_needs_no_known_members():
    known, _ = evidence()
    strangers = dict(zip(("known_members", "known_members_base"), read(7, np.full(3, 5.0)), strict=True))
    assert np.array_equal(
        ensemble(*{**known, **strangers}.values(), regression="quantile"),
        ensemble(*known.values(), regression="quantile"),
    )


@pytest.mark.parametrize("regression", ["logistic", "quantile"])
def test_equal_target_and_base_have_finite_scores(regression):
    """As at epoch 0: all gains are zero, and the base determines the target's score exactly."""
    known, members = evidence()
    same = {n: known[n if n.endswith("base") else {"target": "base"}.get(n, f"{n}_base")] for n in NAMES}
    scores = ensemble(*same.values(), regression=regression)
    assert np.isfinite(scores).all()
    assert 0.3 < auc(scores, members) < 0.7


@pytest.mark.parametrize("regression", ["logistic", "quantile"])
def test_constant_evidence_and_outliers_have_finite_scores(regression):
    constant = {n: read(3, np.zeros(25), np.full(25, 4)) for n in range(3)}
    flat = dataclasses.replace(constant[0][0], logp=np.full(100, -1.0))
    known = dict.fromkeys(NAMES, flat)
    assert np.isfinite(ensemble(*known.values(), regression=regression)).all()
    known, _ = evidence()
    far = {**known, "base": dataclasses.replace(known["base"], logp=known["base"].logp * 1e4)}
    assert np.isfinite(ensemble(*far.values(), regression=regression)).all()


@pytest.mark.parametrize(("side", "regression"), [("known_members", "logistic"), ("known_nonmembers", "quantile")])
def test_too_few_known_texts_are_refused(side, regression):
    known, _ = evidence()
    few = dict(zip((side, f"{side}_base"), read(7, np.zeros(19)), strict=True))
    with pytest.raises(DataError, match=r"attacks ensemble: 19 known .*members, .*data\.known to 20"):
        ensemble(*{**known, **few}.values(), regression=regression)


def test_attacks_that_cannot_be_combined_are_refused_immediately():
    with pytest.raises(SettingError, match="attacks ensemble: of: zlib_ratio needs texts"):
        registry.choose("attacks", "ensemble", {"of": ["loss", "zlib_ratio"]})
    with pytest.raises(SettingError, match="ensemble needs known_members"):
        registry.choose("attacks", "ensemble", {"of": ["ensemble"]})
    with pytest.raises(SettingError, match="attacks ensemble: of = loss, loss"):
        registry.choose("attacks", "ensemble", {"of": ["loss", "loss"]})
    with pytest.raises(UnknownNameError, match="Did you mean 'loss'"):
        registry.choose("attacks", "ensemble", {"of": ["los"]})
    with pytest.raises(SettingError, match="of"):
        registry.choose("attacks", "ensemble", {"of": []})
    assert registry.choose("attacks", "ensemble", {"of": ["wbc"]}).non_default_settings == {"of": ("wbc",)}


def content(folder, **changes):
    return {
        "name": "weighed",
        "models": str(folder),
        "datasets": [{"records": {"count": 140}}],
        "data": {"train": 40, "members": 15, "nonmembers": 15, "validation": 6, "known": 20, "max_tokens": 60},
        "methods": ["prefix"],
        "training": {"epochs": 1, "batch_size": 8, "learning_rate": 0.01},
        "attacks": ["ensemble", {"ensemble": {"regression": "quantile", "of": ["loss", "min_k"]}}],
        "metrics": ["auc"],
        **changes,
    }


def test_a_study_from_end_to_end(tiny_folder, tmp_path):
    results = byheart.run(content(tiny_folder("gemma")), store=Store.open(tmp_path / "store"))
    assert not results.failed, results.failed
    found = {(r.attack_settings, r.epoch): r.value for r in results.rows if r.metric == "auc"}
    assert len(found) == 4
    assert all(0 <= v <= 1 for v in found.values())


def test_too_few_known_texts_are_refused_before_anything_is_trained(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("byheart.study.run_cell.observe", lambda *_: pytest.fail("a model was loaded"))
    requested = content(tiny_folder("gemma"))
    requested["data"] = {**requested["data"], "known": 19}
    with pytest.raises(DataError, match=r"attacks ensemble\b.* data\.known,? to 20"):
        byheart.run(requested, store=tmp_path / "store")
