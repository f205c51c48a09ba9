"""Members and non-members are drawn by whole groups in the same way, so that group sizes have one distribution in both classes."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from byheart.core.errors import DataError
from byheart.core.registry import key_of
from byheart.core.split import Examples
from byheart.core.types import Texts
from byheart.data.group_sampling import draw_groups
from byheart.data.splitting import split
from byheart.metrics.group_auc import group_auc


def examples(sizes, roles=None) -> Examples:
    """Distinct texts in groups of these sizes, in a mixed order."""
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    groups = [groups[i] for i in np.random.default_rng(0).permutation(len(groups))]
    ids = tuple(f"t{i}" for i in range(len(groups)))
    scored = tuple(" ".join(f"w{i}x{j}" for j in range(8)) for i in range(len(groups)))
    return Examples(Texts(ids, scored), tuple(roles or ("pool",) * len(ids)), tuple(groups))


def groups_of(pool, ids) -> Counter[str]:
    """Number of these texts in each group."""
    group = dict(zip(pool.texts.ids, pool.groups, strict=True))
    return Counter(group[i] for i in ids)


def divided(pool, ids) -> list[str]:
    """Groups of these texts of which not all texts are among them."""
    size = Counter(pool.groups)
    return [group for group, count in groups_of(pool, ids).items() if count < size[group]]


GEOMETRIC = np.random.default_rng(1).geometric(0.3, 400).tolist()
SIZES = {"five": [5] * 400, "geometric": GEOMETRIC, "one": [1] * 1000}


def published_roles(count):
    return ["train" if i % 2 else "nonmember" for i in range(count)]


@pytest.mark.parametrize("sizes", SIZES)
def test_the_audited_classes_have_equally_many_groups(sizes):
    """Drawn text by text, 200 members of 1,200 training texts were in 145 groups; 200 non-members were in 40."""
    pool = examples(SIZES[sizes])
    counts = []
    for seed in range(30):
        result = split(pool, train=600, members=200, nonmembers=200, validation=50, seed=seed)
        counts.append((len(set(result.member_groups)), len(set(result.nonmember_groups))))
        assert len(divided(pool, [result.train.ids[m] for m in result.members])) <= 1
        assert len(divided(pool, result.nonmembers.ids)) <= 1
    members, nonmembers = np.array(counts).T
    assert abs((members - nonmembers).mean()) < 4 * np.sqrt((members - nonmembers).var() / 30) + 1e-9


def test_group_sizes_are_of_one_distribution_in_both_classes():
    pool = examples(GEOMETRIC)
    results = [split(pool, train=600, members=200, nonmembers=200, validation=50, seed=seed) for seed in range(60)]
    sizes = [
        [n for r in results for n in Counter(getattr(r, name)).values()]
        for name in ("member_groups", "nonmember_groups")
    ]
    assert ks_2samp(*sizes).pvalue > 0.01
    assert [min(s) for s in sizes] == [1, 1]


@given(
    st.lists(st.integers(1, 7), min_size=12, max_size=40),
    st.integers(2, 12),
    st.integers(2, 12),
    st.integers(0, 6),
    st.integers(0, 12) | st.none(),
    st.integers(0, 20),
)
@settings(max_examples=300, deadline=None)
def test_at_most_one_group_of_a_role_is_divided_and_known_texts_share_no_audited_group(
    sizes, members, nonmembers, known, others, seed
):
    pool = examples(sizes)
    train = None if others is None else members + known + others
    requested = {"train": train, "members": members, "nonmembers": nonmembers, "validation": 2, "known": known}
    try:
        result = split(pool, **requested, seed=seed)
    except DataError as error:
        if not re.search("too few groups|at most", str(error)):
            raise
        return
    member_ids = [result.train.ids[m] for m in result.members]
    roles = (member_ids, result.known_members.ids, result.nonmembers.ids, result.known_nonmembers.ids)
    assert [len(ids) for ids in roles] == [members, known, nonmembers, known]
    assert train is None or len(result.train) == train
    if max(sizes) > 1:
        assert all(len(divided(pool, ids)) <= 1 for ids in roles)
    groups = [set(groups_of(pool, ids)) for ids in roles]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert set(result.known_members.ids) <= set(result.train.ids) - set(member_ids)
    assert result.member_groups == tuple(dict(zip(pool.texts.ids, pool.groups, strict=True))[i] for i in member_ids)


@pytest.mark.parametrize("train", [None, 600])
def test_published_roles_are_drawn_by_whole_groups_too(train):
    sizes = [5] * 400
    pool = examples(sizes)
    number = {g: int(g[1:]) for g in pool.groups}
    roles = ["train" if number[g] < 200 else "nonmember" if number[g] < 300 else "validation" for g in pool.groups]
    pool = Examples(pool.texts, tuple(roles), pool.groups)
    result = split(pool, train=train, members=203, nonmembers=203, validation=51, known=52, by="published")
    member_ids = [result.train.ids[m] for m in result.members]
    for ids in (
        member_ids,
        result.nonmembers.ids,
        result.validation.ids,
        result.known_members.ids,
        result.known_nonmembers.ids,
    ):
        assert len(divided(pool, ids)) == 1
    audited = set(groups_of(pool, (*member_ids, *result.nonmembers.ids)))
    assert not audited & set(groups_of(pool, (*result.known_members.ids, *result.known_nonmembers.ids)))
    assert len(result.train) == (train or 1000)
    scores = np.random.default_rng(2).exponential(size=406)
    estimate = group_auc(scores, result.membership, result.groups)
    assert (estimate.members, estimate.nonmembers) == (41, 41)


def test_known_texts_share_no_group_with_audited_texts_where_a_group_has_several_published_roles():
    sizes = [4] * 100
    pool = examples(sizes, published_roles(400))
    result = split(pool, train=None, members=60, nonmembers=60, validation=10, known=20, by="published")
    audited = set(result.groups)
    assert not audited & set(groups_of(pool, (*result.known_members.ids, *result.known_nonmembers.ids)))
    assert len(result.known_members) == len(result.known_nonmembers) == 20


def test_too_few_published_groups_for_known_texts_are_an_error():
    pool = examples([10] * 4, ["train"] * 20 + ["nonmember"] * 20)
    with pytest.raises(
        DataError, match=r"^known: 19 audited members leave fewer than 1 .*Lower data\.members or data\.known\.$"
    ):
        split(pool, train=None, members=19, nonmembers=5, validation=2, known=1, by="published")


@pytest.mark.parametrize(("by", "expected"), [("group", "c4ab3123b0ea171e"), ("published", "73bec03e56406f95")])
def test_texts_without_groups_have_the_split_of_older_studies(by, expected):
    """Computed before members were drawn by whole groups."""
    pool = examples([1] * 300, ["train"] * 150 + ["nonmember"] * 150)
    content = []
    for seed in range(3):
        result = split(pool, train=100, members=40, nonmembers=50, validation=20, known=12, seed=seed, by=by)
        parts = (result.train, result.nonmembers, result.validation, result.known_members, result.known_nonmembers)
        content.append([*(list(p.ids) for p in parts), list(result.members)])
    assert key_of({"splits": content}) == expected


def test_groups_are_drawn_from_the_end_and_the_last_one_is_divided():
    groups = [[9], [6, 7, 8], [4, 5], [1, 2, 3]]
    drawn, left_over = draw_groups(groups, 7, np.random.default_rng(0))
    assert drawn[:5] == [1, 2, 3, 4, 5]
    assert sorted([*drawn[5:], *left_over]) == [6, 7, 8]
    assert groups == [[9]]
    assert draw_groups(groups, 7, np.random.default_rng(0)) == ([9], [])
    assert draw_groups([[1], [2, 3]], None, np.random.default_rng(0)) == ([2, 3, 1], [])
