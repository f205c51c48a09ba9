"""AUC over groups: every group is one unit."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import byheart
from byheart.core.errors import DataError, SettingError
from byheart.core.registry import choose
from byheart.metrics.auc import auc
from byheart.metrics.group_auc import group_auc

sizes = st.lists(st.integers(1, 4), min_size=1, max_size=6)
AGGREGATES = {"mean": lambda x: sum(x) / len(x), "max": max, "sum": sum}


def laid_out(members, nonmembers):
    """Membership and groups for groups of these sizes."""
    counts = [*members, *nonmembers]
    membership = np.repeat(np.arange(len(counts)) < len(members), counts)
    return membership, tuple(f"g{i}" for i, n in enumerate(counts) for _ in range(n))


@pytest.mark.parametrize("aggregate", AGGREGATES)
@given(sizes, sizes, st.data())
def test_it_equals_the_mann_whitney_count_over_groups(aggregate, members, nonmembers, data):
    assume(max(members) > 1 < max(nonmembers) or max(*members, *nonmembers) == 1)
    membership, groups = laid_out(members, nonmembers)
    scores = np.array([data.draw(st.integers(-8, 8)) for _ in groups]) / 4
    found = {}
    for score, group in zip(scores, groups, strict=True):
        found.setdefault(group, []).append(score)
    complete = [AGGREGATES[aggregate](texts) for texts in found.values()]
    ours, others = complete[: len(members)], complete[len(members) :]
    pairs = [
        1.0 if a > b and not math.isclose(a, b) else 0.5 if math.isclose(a, b, abs_tol=1e-12) else 0.0
        for a in ours
        for b in others
    ]
    try:
        estimate = group_auc(scores, membership, groups, aggregate=aggregate)
    except DataError as error:
        assume("group sizes differ" not in str(error))  # by chance: sizes of the two classes are drawn independently
        raise
    assert estimate.value == pytest.approx(sum(pairs) / len(pairs))
    assert estimate.low <= estimate.value <= estimate.high
    assert (estimate.members, estimate.nonmembers) == (len(members), len(nonmembers))


def test_by_hand():
    """Means 2 and 3 against 1.75, largest 5 and 3 against 2, sums 4 and 3 against 3.5."""
    scores = np.array([-1.0, 5.0, 3.0, 1.5, 2.0])
    membership = np.array([True, True, True, False, False])
    groups = ("a", "a", "b", "c", "c")
    assert group_auc(scores, membership, groups).value == 1
    assert group_auc(scores, membership, groups, aggregate="max").value == 1
    assert group_auc(scores, membership, groups, aggregate="sum").value == 0.5


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_for_single_texts_it_equals_auc(aggregate):
    scores = np.random.default_rng(0).normal(size=90)
    membership, groups = laid_out([1] * 40, [1] * 50)
    assert group_auc(scores, membership, groups, aggregate=aggregate) == pytest.approx(auc(scores, membership, groups))


def test_copies_of_a_text_do_not_change_it():
    """Ten copies of every text do not change the groups: the same number and the same interval."""
    scores = np.random.default_rng(1).normal(size=60) + (np.arange(60) < 30)
    membership, groups = laid_out([1] * 30, [1] * 30)
    once = group_auc(scores, membership, groups)
    many = group_auc(np.repeat(scores, 10), np.repeat(membership, 10), tuple(g for g in groups for _ in range(10)))
    assert many == pytest.approx(once)


def test_a_weak_signal_accumulates_over_the_texts_of_a_group():
    chance = np.random.default_rng(2)
    membership, groups = laid_out([20] * 40, [20] * 40)
    scores = chance.normal(size=len(groups)) + 0.4 * membership
    assert auc(scores, membership, groups).value < 0.65
    assert group_auc(scores, membership, groups).value > 0.85


def test_the_order_of_texts_does_not_change_the_last_bit():
    chance = np.random.default_rng(3)
    membership, groups = laid_out([3, 4, 5] * 3, [3, 4, 4, 5] * 2)
    scores = chance.normal(size=len(groups))
    order = chance.permutation(len(groups))
    shuffled = group_auc(scores[order], membership[order], tuple(groups[i] for i in order))
    assert shuffled == group_auc(scores, membership, groups)


def test_a_group_in_both_classes_raises_an_error():
    membership, groups = np.array([True, False, True, False]), ("a", "a", "b", "c")
    with pytest.raises(DataError, match=r"^metrics group_auc: 1 of 3 groups .*'a'.*data\.split: group"):
        group_auc(np.zeros(4), membership, groups)


def test_undefined_inputs_raise_an_error():
    with pytest.raises(DataError, match=r"\b1\b.*\b0\b"):
        group_auc(np.zeros(2), np.array([True, True]), ("a", "a"))
    with pytest.raises(DataError, match="not a number"):
        group_auc(np.array([np.inf, -np.inf, 0.0, 0.0]), np.array([True, True, False, False]), ("a", "a", "b", "b"))
    with pytest.raises(SettingError, match="group_auc: aggregate"):
        choose("metrics", "group_auc", {"aggregate": "median"})


SIZES_THAT_DIFFER = {
    "texts of a class drawn one by one": ([1] * 101 + [2] * 34 + [3] * 10, [5] * 40),
    "larger": ([4] * 20 + [6] * 20, [6] * 20 + [8] * 20),
    "more spread out": ([5] * 40, [1, 3, 5, 7, 9] * 8),
    "single texts against few groups": ([1] * 4, [5] * 4),
    "a fifth of a class are several texts": ([1] * 10, [1] * 8 + [2] * 2),
}


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("are_swapped", [False, True])
@pytest.mark.parametrize("case", SIZES_THAT_DIFFER)
def test_different_group_sizes_raise_an_error_with_the_numbers_of_both_classes(case, are_swapped, aggregate):
    classes = SIZES_THAT_DIFFER[case][:: -1 if are_swapped else 1]
    membership, groups = laid_out(*classes)
    scores = np.random.default_rng(5).exponential(size=len(groups))
    with pytest.raises(
        DataError, match=r"^metrics group_auc: the group sizes differ .*whole groups.*, or use auc\.$"
    ) as error:
        group_auc(scores, membership, groups, aggregate=aggregate)
    for name, sizes in zip(("member", "non-member"), classes, strict=True):
        reported = f"{len(sizes)} {name} groups of {np.mean(sizes):.2f} texts on average ({min(sizes)} to {max(sizes)})"
        assert reported in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("members", "nonmembers"),
    [([5] * 40, [5] * 39 + [2]), ([1] * 200, [1] * 199 + [2]), ([1] * 40, [1] * 25), ([2, 3, 5] * 20, [2, 3, 5] * 14)],
)
def test_classes_with_compatible_group_sizes_are_measured(members, nonmembers):
    """A role's last group may be divided, and one duplicate is no reason to refuse."""
    membership, groups = laid_out(members, nonmembers)
    assert group_auc(np.zeros(len(groups)), membership, groups).value == 0.5


@pytest.mark.usefixtures("many_calls")
@pytest.mark.parametrize("draw", [lambda c, n: c.geometric(0.3, n), lambda c, n: 1 + c.poisson(2, n)])
def test_one_in_a_hundred_splits_with_equal_size_distributions_is_rejected(draw):
    chance = np.random.default_rng(6)
    refused = 0
    for _ in range(1000):
        membership, groups = laid_out(draw(chance, 40), draw(chance, 30))
        try:
            group_auc(np.zeros(len(groups)), membership, groups)
        except DataError:
            refused += 1
    assert refused < 24  # the number of 1,000 that a rate of 1 % exceeds once in 10,000 times


@pytest.mark.usefixtures("many_calls")
def test_the_interval_covers():
    """Groups of unequal size with correlated texts: the interval misses the true value in about one of twenty of 300 studies."""
    chance = np.random.default_rng(4)
    counts = chance.integers(1, 6, 80)
    membership, groups = laid_out(counts[:40], counts[40:])
    truth = 0.5 * (1 + math.erf(0.8 / 2))  # normal scores 0.8 standard deviations apart
    stored = 0
    for _ in range(300):
        shared = chance.normal(size=80) + 0.8 * (np.arange(80) < 40)
        estimate = group_auc(np.repeat(shared, counts), membership, groups)
        stored += estimate.low <= truth <= estimate.high
    assert 0.91 < stored / 300 < 0.99


def test_a_study_from_end_to_end(tiny_folder, tmp_path, sentences):
    rows = [
        f'{{"text": "{s} Part {p} of {u * 31 + p}.", "user": "u{u}"}}'
        for u, s in enumerate(sentences)
        for p in range(3)
    ]
    (tmp_path / "users.jsonl").write_text("\n".join(rows))
    requested = {
        "name": "users",
        "models": str(tiny_folder("llama")),
        "datasets": [{"files": {"path": str(tmp_path / "users.jsonl"), "group": "user"}}],
        "data": {
            "train": 24,
            "members": 18,
            "nonmembers": 18,
            "validation": 6,
            "max_tokens": 60,
            "near_duplicate": 1.0,
        },
        "methods": ["lora"],
        "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.01},
        "attacks": ["loss"],
        "metrics": ["auc", "group_auc", {"group_auc": {"aggregate": "max"}}],
    }
    results = byheart.run(requested, store=tmp_path / "store")
    assert not results.failed, results.failed
    found = [r for r in results.rows if r.metric == "group_auc"]
    assert len(found) == 4
    assert all(r.members < 18 and r.nonmembers < 18 and r.low <= r.value <= r.high for r in found)
