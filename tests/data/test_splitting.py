"""Splitting: no group, copy or near copy in two roles, the requested numbers, and the same split for the same seed."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byheart.core.errors import DataError
from byheart.core.split import Examples
from byheart.core.types import Texts
from byheart.data.splitting import split

WORDS = ["otter", "river", "fish", "stone", "reed", "heron"]


def examples(scored, groups=None, roles=None, prompts=()) -> Examples:
    ids = tuple(f"t{i}" for i in range(len(scored)))
    return Examples(
        Texts(ids, tuple(scored), tuple(prompts)), tuple(roles or ("pool",) * len(ids)), tuple(groups or ids)
    )


def distinct_texts(count: int, offset: int = 0) -> list[str]:
    """Texts that share no shingle."""
    return [" ".join(f"w{offset + i}x{j}" for j in range(8)) for i in range(count)]


def ids_of(result) -> dict[str, set[str]]:
    return {
        "train": {*result.train.ids},
        "nonmembers": {*result.nonmembers.ids},
        "validation": {*result.validation.ids},
    }


def overlap(one: str, other: str) -> float:
    """Jaccard of five-word shingles, as a plain loop."""

    def shingles(text):
        words = re.findall(r"\w+", text.lower())
        found = {tuple(words[i : i + 5]) for i in range(len(words) - 4)}
        return found or {tuple(words)}

    a, b = shingles(one), shingles(other)
    return len([s for s in a if s in b]) / (len(a) + len(b) - len([s for s in a if s in b]))


@st.composite
def pools(draw):
    """Pools with many copies and near copies: long texts over six words, many of them edits of one another."""
    text = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9)
    seeds = draw(st.lists(text, min_size=1, max_size=12))
    texts = []
    for words in seeds:
        long = [f"{word}{len(texts)}" for word in words] + words * 3
        for edit in draw(st.lists(st.integers(-1, 40), min_size=1, max_size=4)):
            changed = [*long[:edit], "edited", *long[edit:]] if 0 <= edit < len(long) else long
            texts.append(" ".join(changed) if edit % 2 else "  ".join(changed).upper())
    groups = draw(st.lists(st.integers(0, 9), min_size=len(texts), max_size=len(texts)))
    order = draw(st.permutations(range(len(texts))))
    return [texts[i] for i in order], [f"g{g}" for g in groups]


@given(
    pools(),
    st.fixed_dictionaries(
        {"nonmembers": st.integers(1, 4), "validation": st.integers(1, 3), "train": st.none() | st.integers(1, 8)}
    ),
    st.integers(0, 5),
    st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
@settings(max_examples=400, deadline=None)
def test_no_group_copy_or_near_copy_is_in_two_roles(drawn, requested, seed, near):
    pool = examples(*drawn)
    try:
        result = split(pool, **requested, members=1, seed=seed, near_duplicate=near)
    except DataError:
        return
    at = {name: i for i, name in enumerate(pool.texts.ids)}
    roles = ids_of(result)
    for one, other in combinations(roles.values(), 2):
        assert not one & other
        assert not {pool.groups[at[i]] for i in one} & {pool.groups[at[i]] for i in other}
        for a in one:
            for b in other:
                first, second = pool.texts.scored[at[a]], pool.texts.scored[at[b]]
                assert first.lower().split() != second.lower().split()
                assert overlap(first, second) < near
    assert len(result.nonmembers) == requested["nonmembers"]
    assert len(result.validation) == requested["validation"]
    assert len(result.train) == (requested["train"] or len(result.train))
    assert split(pool, **requested, members=1, seed=seed, near_duplicate=near) == result
    counts = result.counts
    used = sum(len(ids) for ids in roles.values())
    removed = counts["exact_duplicates_removed"] + counts["near_duplicates_removed"]
    assert counts["texts"] == len(pool.texts) == used + removed + counts["left_over"]
    assert counts["groups"] == len(set(pool.groups))
    assert counts["shared_groups"] == 0
    assert counts["left_over"] >= 0


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30), st.integers(0, 3), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_texts_without_copies_or_groups_are_all_used(train, nonmembers, validation, spare, seed):
    pool = examples(distinct_texts(train + nonmembers + validation + spare))
    result = split(pool, train=train, members=train, nonmembers=nonmembers, validation=validation, seed=seed)
    assert (len(result.train), len(result.nonmembers), len(result.validation)) == (train, nonmembers, validation)
    assert sorted(result.members) == list(range(train))
    assert result.counts["left_over"] == spare
    everything = split(pool, train=None, members=1, nonmembers=nonmembers, validation=validation, seed=seed)
    assert len(everything.train) == train + spare


def test_members_are_a_sample_of_the_training_texts_with_their_groups():
    pool = examples(distinct_texts(100), [f"g{i // 3}" for i in range(100)])
    result = split(pool, train=50, members=20, nonmembers=20, validation=10)
    assert len(set(result.members)) == 20
    group = dict(zip(pool.texts.ids, pool.groups, strict=True))
    assert result.member_groups == tuple(group[i] for i in result.train.take(result.members).ids)
    assert result.nonmember_groups == tuple(group[i] for i in result.nonmembers.ids)
    assert result.audited.ids[:20] == result.train.take(result.members).ids
    assert result.audited.ids[20:] == result.nonmembers.ids
    assert result.membership.sum() == 20


def test_another_seed_assigns_other_roles():
    pool = examples(distinct_texts(60))
    sizes = {"train": 20, "members": 10, "nonmembers": 20, "validation": 10}
    one, other = split(pool, **sizes, seed=0), split(pool, **sizes, seed=1)
    assert ids_of(one)["nonmembers"] != ids_of(other)["nonmembers"]
    assert one.members != other.members


def test_every_text_and_role_is_equally_likely():
    pool = examples(distinct_texts(30))
    role_counts = np.zeros((30, 3))
    for seed in range(400):
        result = split(pool, train=10, members=5, nonmembers=10, validation=10, seed=seed)
        for role, ids in enumerate(ids_of(result).values()):
            role_counts[[int(i[1:]) for i in ids], role] += 1
    # 400 fair draws of one in three have a standard deviation of 9.4.
    assert (abs(role_counts - 400 / 3) < 5 * 9.4).all()


def test_copies_are_no_rarer_among_non_members_than_among_members():
    twice, once = distinct_texts(40), distinct_texts(120, offset=40)
    pool = examples([*twice, *once, *twice])
    of_copies = {f"t{i}" for i in (*range(40), *range(160, 200))}
    train_counts, nonmember_counts = [], []
    for seed in range(200):
        result = split(pool, train=60, members=60, nonmembers=60, validation=5, seed=seed)
        train_counts.append(len(of_copies & {*result.train.ids}))
        nonmember_counts.append(len(of_copies & {*result.nonmembers.ids}))
    # Removing copies from the non-members alone would leave about 24 copies among 60 members, and 9 among non-members.
    assert abs(np.mean(train_counts) - np.mean(nonmember_counts)) < 1


def test_a_copy_in_another_group_is_removed_and_one_in_the_same_group_stays():
    words = distinct_texts(6)
    pool = examples([*words, words[0].upper(), f" {words[1]} ", words[2]], ["a", *"bcdef", "g", "h", "c"])
    result = split(pool, train=None, members=1, nonmembers=1, validation=1)
    assert result.counts["exact_duplicates_removed"] == 2
    assert result.counts["near_duplicates_removed"] == 0
    used = {i for ids in ids_of(result).values() for i in ids}
    assert used <= {"t0", "t1", "t2", "t3", "t4", "t5", "t8"}
    assert len(used) + result.counts["left_over"] == 7


@pytest.mark.parametrize(("near", "removed"), [(0.75, 1), (0.76, 0)])
def test_the_threshold_itself_is_a_near_copy(near, removed):
    pool = examples(["a b c d e f g", "x a b c d e f", *distinct_texts(4)])  # six words aligned, of eight
    result = split(pool, train=3, members=1, nonmembers=1, validation=1, near_duplicate=near)
    assert result.counts["near_duplicates_removed"] == removed


def test_near_copies_are_replaced_by_unused_texts():
    bodies = distinct_texts(30)
    near = [f"{text} {text} {text} once" for text in bodies] + [f"{text} {text} {text} more" for text in bodies]
    result = split(examples(near), train=20, members=5, nonmembers=6, validation=4)
    assert (len(result.train), len(result.nonmembers), len(result.validation)) == (20, 6, 4)
    assert result.counts["near_duplicates_removed"] == 30
    assert not {t.rsplit(" ", 1)[0] for t in result.train.scored} & {
        t.rsplit(" ", 1)[0] for t in result.nonmembers.scored
    }


def test_a_large_pool_is_sampled():
    pool = examples(distinct_texts(300) * 10)
    result = split(pool, train=20, members=5, nonmembers=5, validation=5)
    assert result.counts["exact_duplicates_removed"] < 30
    assert result.counts["left_over"] > 2900


def test_punctuation_does_not_hide_a_near_copy():
    pool = examples(["one, two, three, four: five six!", "One two three four five six", *distinct_texts(3)])
    result = split(pool, train=2, members=1, nonmembers=1, validation=1)
    assert result.counts["near_duplicates_removed"] == 1


def test_a_completion_is_compared_without_its_prompt():
    same = "an otter was seen by the river"
    pool = examples([same, same, *distinct_texts(4)], prompts=["first", "second", *"abcd"])
    assert split(pool, train=3, members=1, nonmembers=1, validation=1).counts["exact_duplicates_removed"] == 1


def test_a_short_completion_is_compared_with_its_prompt():
    shared = examples(["a bird"] * 6, prompts=distinct_texts(6))
    assert len(split(shared, train=4, members=1, nonmembers=1, validation=1).train) == 4
    alike = examples(["a bird"] * 6, prompts=["the same prompt"] * 6)
    with pytest.raises(DataError, match=r"1 in 1 groups \(5 duplicates"):
        split(alike, train=4, members=1, nonmembers=1, validation=1)


def test_one_large_group_does_not_prevent_a_split():
    pool = examples(distinct_texts(102), ["large"] * 100 + ["b", "c"])
    for seed in range(20):
        result = split(pool, train=50, members=5, nonmembers=1, validation=1, seed=seed)
        assert len(result.train) == 50
        assert result.counts["left_over"] == 50


# As published


def published_pool() -> Examples:
    roles = ["train"] * 20 + ["nonmember"] * 10 + ["validation"] * 5
    groups = [f"g{i % 20}" for i in range(35)]
    return examples(distinct_texts(35), groups, roles)


@given(st.integers(1, 20), st.integers(1, 10), st.integers(1, 5), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_published_roles_are_used(train, nonmembers, validation, seed):
    result = split(
        published_pool(),
        train=train,
        members=train,
        nonmembers=nonmembers,
        validation=validation,
        by="published",
        seed=seed,
    )
    numbers = {role: {int(i[1:]) for i in ids} for role, ids in ids_of(result).items()}
    assert numbers["train"] <= {*range(20)}
    assert numbers["nonmembers"] <= {*range(20, 30)}
    assert numbers["validation"] <= {*range(30, 35)}
    assert [len(n) for n in numbers.values()] == [train, nonmembers, validation]
    shared = {n % 20 for n in numbers["train"]} & {n % 20 for n in numbers["nonmembers"] | numbers["validation"]}
    assert result.counts["shared_groups"] == len(shared)


def test_without_a_number_all_published_training_texts_are_used():
    result = split(published_pool(), train=None, members=20, nonmembers=10, validation=5, by="published")
    assert result.train.ids == tuple(f"t{i}" for i in range(20))
    assert result.counts["left_over"] == 0


def test_unused_test_texts_replace_missing_validation_texts():
    pool = examples(distinct_texts(14), None, ["train"] * 4 + ["nonmember"] * 10)
    result = split(pool, train=4, members=2, nonmembers=6, validation=4, by="published")
    assert {*result.nonmembers.ids} | {*result.validation.ids} == {f"t{i}" for i in range(4, 14)}
    with pytest.raises(DataError) as error:
        split(pool, train=4, members=2, nonmembers=10, validation=1, by="published")
    assert str(error.value).startswith("validation: ")
    assert "split: group" in str(error.value)


def test_copies_of_training_texts_are_removed_from_the_other_published_roles():
    words = distinct_texts(8)
    pool = examples(
        [*words[:3], words[0].upper(), *words[3:6], words[1], words[3], words[6]],
        None,
        ["train"] * 3 + ["nonmember"] * 4 + ["validation"] * 3,
    )
    result = split(pool, train=3, members=3, nonmembers=3, validation=1, by="published")
    assert result.nonmembers.ids == ("t4", "t5", "t6")
    assert result.validation.ids == ("t9",)
    assert result.counts["exact_duplicates_removed"] == 3
    assert result.counts["left_over"] == 0


# Errors


@pytest.mark.parametrize(
    ("requested", "parts"),
    [
        ({"train": 0}, ("train: 0 ", "1 or more")),
        ({"members": 0}, ("members: 0 ", "1 or more")),
        ({"nonmembers": -1}, ("nonmembers: -1 ", "1 or more")),
        ({"validation": 0}, ("validation: 0 ", "1 or more")),
        ({"members": 11}, ("members: 11 exceeds the 10 training texts. Write 10 or fewer in total.",)),
        ({"members": 8, "known": 3}, ("members: 8 + known: 3 ", "10")),
        ({"near_duplicate": 0.0}, ("near_duplicate: 0.0 ",)),
        ({"near_duplicate": 1.5}, ("near_duplicate: 1.5 ",)),
        ({"near_duplicate": float("nan")}, ("near_duplicate: nan ",)),
        ({"by": "groups"}, ("by: 'groups' ", "group, published")),
        (
            {"train": 30},
            (
                "data: ",
                "30 training, 4 non-member and 2 validation texts",
                "35 in 20 groups (0 duplicates",
                "at most 35",
            ),
        ),
        ({"train": None, "members": 33}, ("at least 33 training", "35 in 20 groups", "at most 35")),
        ({"train": 21, "by": "published"}, ("train: ", "20", "21", "split: group")),
        ({"nonmembers": 11, "by": "published"}, ("nonmembers: ", "10", "11", "split: group")),
        ({"validation": 6, "by": "published"}, ("validation: ", "5", "6", "split: group")),
        ({"train": None, "members": 21, "by": "published"}, ("members: 21 ", "20")),
    ],
)
def test_an_impossible_split_raises_an_error_in_one_line(requested, parts):
    pool = published_pool()
    if requested.get("by") != "published":
        pool = examples(pool.texts.scored, pool.groups)
    with pytest.raises(DataError) as error:
        split(pool, **{"train": 10, "members": 5, "nonmembers": 4, "validation": 2, **requested})
    assert all(part in str(error.value) for part in parts)
    assert "\n" not in str(error.value)


def test_a_pool_without_a_published_split_raises_an_error():
    with pytest.raises(DataError) as error:
        split(examples(distinct_texts(9)), train=None, members=2, nonmembers=2, validation=2, by="published")
    assert str(error.value).startswith("train: ")
    assert "split: group" in str(error.value)


def test_too_few_groups_are_named_as_the_reason():
    pool = examples(distinct_texts(40), ["a"] * 20 + ["b"] * 20)
    with pytest.raises(DataError) as error:
        split(pool, train=10, members=5, nonmembers=5, validation=5)
    assert "40 in 2 groups" in str(error.value)
    assert "too few groups" in str(error.value)
