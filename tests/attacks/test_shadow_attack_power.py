"""Power of shadow attacks: near the optimum on simulated numbers, and on texts that a tiny model memorized."""

import json

import numpy as np
import pytest
from scipy.stats import norm

import byheart
from byheart.store.store import Store
from testing.shadow_numbers import ATTACKS, GAIN, MEANS, SPREAD, drawn, lira, rmia


def auc(scores):
    half = len(scores) // 2
    members, others = scores[:half], np.sort(scores[half:])
    below, upto = np.searchsorted(others, members), np.searchsorted(others, members, side="right")
    return float((below + upto).mean() / 2 / len(others))


def best(target, seed=0, spreads=1.0):
    """The AUC of the likelihood ratio with the true means and spreads (Neyman and Pearson: no score does better)."""
    level = np.random.default_rng(seed).normal(*MEANS, len(target))
    s_in, s_out = (s * spreads for s in SPREAD)
    return auc(norm.logpdf(target.logp, level + GAIN, s_in) - norm.logpdf(target.logp, level, s_out))


def test_lira_is_near_optimal_and_offline_lira_is_below():
    target, shadows, population = drawn(32)
    optimum = best(target)
    assert 0.9 < optimum < 0.93
    for variance in ("pooled", "text"):
        online, offline = (auc(lira(target, shadows, mode=m, variance=variance)) for m in ("online", "offline"))
        assert optimum - 0.01 < online < optimum + 0.005
        assert offline < online - 0.003
    assert auc(target.logp) < 0.65 < auc(rmia(target, shadows, population)) < optimum + 0.005


def test_few_shadow_models_reduce_auc_and_pooling_restores_most_of_it():
    target, shadows, _ = drawn(2)
    pooled, own = (auc(lira(target, shadows, variance=v)) for v in ("pooled", "text"))
    assert own + 0.05 < pooled < best(target)
    assert pooled > 0.85


def test_many_shadow_models_estimate_each_texts_variance():
    spreads = np.exp(np.random.default_rng(9).normal(0, 0.7, 3000))
    target, shadows, _ = drawn(32, spreads=spreads)
    pooled, own = (auc(lira(target, shadows, variance=v)) for v in ("pooled", "text"))
    assert pooled + 0.02 < own < best(target, spreads=spreads) + 0.005
    assert auc(lira(target, shadows)) == own


@pytest.fixture(scope="module")
def hard(tiny_folder, tmp_path_factory):
    requested = {
        "name": "hard",
        "models": str(tiny_folder("llama")),
        "datasets": [{"records": {"count": 160}}],
        "data": {"train": 50, "members": 40, "nonmembers": 40, "validation": 4, "known": 10, "max_tokens": 40},
        "methods": ["full"],
        "training": {"epochs": 4, "batch_size": 8, "learning_rate": 0.005, "schedule": "constant"},
        "attacks": ["lira", {"lira": {"mode": "offline"}}, "rmia", "info_rmia", {"info_rmia": {"unit": "text"}}],
        "observations": [{"shadows": {"models": 6}}],
        "metrics": ["auc"],
        "machine": {"precision": "float32"},
    }
    found = byheart.run(requested, store=Store.open(tmp_path_factory.mktemp("store")))
    assert not found.failed, found.failed
    return [r for r in found.rows if r.metric == "auc"]


def test_memorized_texts_are_distinguished_from_others(hard):
    last = {(r.attack, r.attack_settings): r for r in hard if r.epoch == 4}
    assert len(last) == 5
    for row in last.values():
        assert row.low > 0.5, row


def test_the_base_model_does_not_leak(hard):
    assert {r.value for r in hard if r.epoch == 0} == {0.5}


def test_shadow_attacks_condition_on_prompts_and_virtual_tokens(tiny_folder, tmp_path):
    rows = [{"prompt": f"Number {i} is", "completion": f" written {i * i} or {i * 7 % 31} times."} for i in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    requested = {
        "name": "prompted",
        "models": str(tiny_folder("gpt2")),
        "datasets": [{"files": {"path": str(tmp_path / "rows.jsonl")}}],
        "data": {"train": 20, "members": 10, "nonmembers": 10, "validation": 4, "known": 10, "near_duplicate": 1.0},
        "methods": [{"prompt": {"virtual_tokens": 4}}],
        "training": {"epochs": 1},
        "attacks": ["lira", "rmia", "info_rmia"],
        "observations": [{"shadows": {"models": 4}}],
        "metrics": ["auc"],
    }
    found = byheart.run(requested, store=tmp_path / "store")
    assert not found.failed, found.failed
    assert {(r.attack, r.epoch) for r in found.rows if r.metric == "auc"} == {(a, e) for a in ATTACKS for e in (0, 1)}
