"""Which records other seeds and splits find again, against plain counts."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from byheart.analysis.stability import decide, mean_rank_correlation, stability
from byheart.core.errors import DataError
from byheart.core.types import ScoreSet
from byheart.tables.stability import stability as table
from testing.made_up import scored, study

IDS = tuple(f"r{i}" for i in range(100))
MEMBERS = np.arange(100) < 60


def models(count, *, shared, seed=0):
    """Scores of models with a part that all share, so that they find the same records."""
    chance = np.random.default_rng(seed)
    common = chance.normal(size=100) + MEMBERS
    return [ScoreSet(IDS, shared * common + (1 - shared) * chance.normal(size=100), MEMBERS) for _ in range(count)]


def test_a_model_finds_at_most_the_share_of_non_members():
    score_set = models(1, shared=0.5)[0]
    for fpr in (0.01, 0.05, 0.1, 0.5):
        found = decide(score_set, fpr).found
        assert found[~MEMBERS].sum() == int(fpr * 40 + 1e-9)


def test_agreement_is_the_plain_count():
    decisions = [decide(s, 0.1) for s in models(4, shared=0.6)]
    found = stability(decisions, members=True)
    pairs = list(itertools.permutations(decisions, 2))
    again = sum((a.found & b.found & MEMBERS).sum() for a, b in pairs) / sum(
        (a.found & MEMBERS).sum() for a, _ in pairs
    )
    flips = np.mean([(a.found != b.found)[MEMBERS].mean() for a, b in pairs])
    rates = [d.found[MEMBERS].mean() for d in decisions]
    chance = sum(a * b for a, b in itertools.permutations(rates, 2)) / (3 * sum(rates))
    assert found.records == 60
    assert found.found == pytest.approx(np.mean(rates))
    assert found.found_again.value == pytest.approx(again)
    assert found.flips.value == pytest.approx(flips)
    assert found.by_chance == pytest.approx(chance)
    counts = sum(d.found[MEMBERS].astype(int) for d in decisions)
    assert found.by_count == tuple(int((counts == k).sum()) for k in range(5))
    assert set(found.always) == {n for n, k in zip(IDS, [*counts, *[0] * 40], strict=True) if k == 4}


def test_models_that_share_nothing_find_again_what_chance_finds():
    decisions = [decide(s, 0.2) for s in models(12, shared=0.0, seed=3)]
    found = stability(decisions, members=True)
    assert found.found_again.low < found.by_chance < found.found_again.high
    same = stability([decide(s, 0.2) for s in models(5, shared=1.0)], members=True)
    assert (same.found_again.value, same.flips.value) == (1, 0)
    assert abs(mean_rank_correlation(decisions, members=True)) < 0.1
    assert mean_rank_correlation([decide(s, 0.2) for s in models(3, shared=1.0)], members=True) == pytest.approx(1)


def test_splits_are_compared_on_records_that_are_members_of_both():
    first, second = models(2, shared=1.0)
    other = replace_members(second, np.arange(100) % 2 == 0)
    found = stability([decide(first, 0.1), decide(other, 0.1)], members=True)
    assert found.records == sum(1 for i in range(100) if i < 60 and i % 2 == 0)
    apart = replace_members(second, ~MEMBERS)
    assert stability([decide(first, 0.1), decide(apart, 0.1)], members=True).records == 0


def replace_members(score_set, members):
    return score_set._replace(members=members)


def test_the_table_compares_seeds_and_splits():
    seeds = study(datasets=("xsum",), methods=("full", "lora"), seeds=(0, 1, 2))
    made = table(seeds, scored(seeds))
    assert {row[-10] for row in made.rows} == {"3"}
    assert len(made.rows) == 2 * len({r.attack for r in seeds if r.attack})
    splits = [replace(r, dataset_settings="seed=1", cell=r.cell + "b") for r in study(datasets=("xsum",))]
    both = [*study(datasets=("xsum",)), *splits]
    assert {row[-10] for row in table(both, scored(both)).rows} == {"2"}
    assert len(table(both, scored(both), records=0).header) == len(made.header) - 1
    one = study(datasets=("xsum",), seeds=(0,))
    with pytest.raises(DataError, match=r"one seed and one split\. List several"):
        table(one, scored(one))
