"""Private attributes: inference among candidates, extraction; formulas as plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.core.errors import DataError
from byheart.core.evidence import Candidates, RecitedAttributes, Variants
from byheart.core.split import Examples
from byheart.core.types import NO_TEXTS, Texts
from byheart.data.private_attributes import candidate_values
from byheart.metrics.attribute_extraction import attribute_extraction
from byheart.metrics.attribute_inference import attribute_inference
from byheart.observations import _attributes
from byheart.stats.proportions import paired_share_difference, share_with_interval


def requested(preferred, *, common=None, kinds=("email",), kind=None, text=None, left_out=None):
    """Candidates, and readings of one token each, whose log-probabilities these are: a list for each attribute, its own first."""
    flat = [x for own in preferred for x in own]
    starts = np.cumsum([0, *map(len, preferred)])
    made = Candidates(
        kinds=kinds,
        kind=np.array(kind or [0] * len(preferred)),
        text=np.array(text or range(len(preferred))),
        starts=starts,
        ids=np.zeros(2 * len(flat), dtype=np.int64),
        offsets=2 * np.arange(len(flat) + 1),
        first=np.ones(len(flat), dtype=np.int64),
        values=tuple(f"{a}/{c}" for a, own in enumerate(preferred) for c in range(len(own))),
        limit=np.array(9),
        common=np.array([x for own in common for x in own]) if common else np.ones(len(flat), dtype=np.int64),
        left_out=np.array(left_out or [0] * len(kinds)),
    )
    return made, Variants(loglik=np.array(flat, dtype=float), starts=starts)


def alone(count):
    return tuple(f"g{i}" for i in range(count))


rankings = st.lists(st.lists(st.integers(-4, 0), min_size=2, max_size=6), min_size=2, max_size=8)


@given(rankings, st.data())
def test_choice_and_rank_equal_those_of_ties_broken_at_random(preferred, data):
    membership = np.array([True, False, *(data.draw(st.booleans()) for _ in preferred[2:])])
    made, readings = requested(preferred)
    found = attribute_inference(made, readings, readings, membership, alone(len(preferred)), NO_TEXTS)
    hits, ranks = [], []
    for own in preferred:
        better, tied = sum(x > own[0] for x in own), sum(x == own[0] for x in own)
        places = range(better + 1, better + tied + 1)
        hits.append(sum(r == 1 for r in places) / tied)
        ranks.append(sum(1 / r for r in places) / tied)
    for of, side in (("members", membership), ("nonmembers", ~membership)):
        for measure, values in (("top1", hits), ("mrr", ranks)):
            expected = np.mean([v for v, inside in zip(values, side, strict=True) if inside])
            estimate = found[f"kind=email, pool=unseen, measure={measure}, of={of}"]
            assert estimate.value == pytest.approx(expected)
            assert estimate.low <= estimate.value <= estimate.high
    lead = found["kind=email, pool=unseen, measure=advantage, over=nonmembers"]
    assert lead.value == pytest.approx(np.mean(np.array(hits)[membership]) - np.mean(np.array(hits)[~membership]))


def test_by_hand():
    # Whole texts are compared, so that sums over unequal numbers of tokens decide, not means.
    made = Candidates(
        kinds=("name",), kind=np.zeros(2, int), text=np.array([0, 1]), starts=np.array([0, 2, 4]),
        ids=np.zeros(11, dtype=np.int64), offsets=np.array([0, 3, 5, 8, 11]), first=np.ones(4, dtype=np.int64),
        common=np.array([3, 1, 1, 1]), left_out=np.array([2]), values=("Ann", "Bo", "Cy", "Di"), limit=np.array(1),
    )  # fmt: skip
    tuned_ = Variants(loglik=np.array([-1.0, -1.5, -2.0, -1.0]), starts=made.starts)  # sums -2 and -1.5; -4 and -2
    base = Variants(loglik=np.array([-1.0, -3.0, -2.0, -2.0]), starts=made.starts)  # sums -2 and -3; a tie
    found = attribute_inference(made, tuned_, base, np.array([True, False]), ("a", "b"), NO_TEXTS)
    nonmember = {
        "measure=top1, of=nonmembers": 0,
        "measure=mrr, of=nonmembers": 0.5,
        "measure=majority, of=nonmembers": 0.5,
    }
    assert {n: e.value for n, e in found.items()} == {
        "kind=name, pool=unseen, measure=top1, of=members": 0,
        "kind=name, pool=unseen, measure=mrr, of=members": 0.5,
        "kind=name, pool=unseen, measure=majority, of=members": 1,
        **{f"kind=name, pool=unseen, {n}": v for n, v in nonmember.items()},
        "kind=name, pool=unseen, measure=advantage, over=majority": -1,
        "kind=name, pool=unseen, measure=advantage, over=nonmembers": 0,
        "kind=name, pool=unseen, measure=advantage, over=untuned": -1,
        **{f"kind=name, pool=trained, {n}": v for n, v in nonmember.items()},  # the member has no trained candidate
        "kind=name, measure=left_out": 2,
    }
    assert found["kind=name, pool=unseen, measure=majority, of=members"].low is None


def test_the_base_model_has_no_advantage_over_itself():
    made, readings = requested([[0, -1], [0, -1]])
    found = attribute_inference(made, readings, readings, np.array([True, False]), alone(2), NO_TEXTS)
    reported = {n.removeprefix("kind=email, pool=unseen, measure="): e.value for n, e in found.items()}
    assert reported["top1, of=members"] == reported["top1, of=nonmembers"] == 1
    assert reported["advantage, over=nonmembers"] == 0
    assert "advantage, over=majority" in reported
    assert "advantage, over=untuned" not in reported


def test_results_are_reported_by_kind_and_in_total():
    made, readings = requested([[0, -1], [-1, 0], [0, -1]], kinds=("email", "phone"), kind=[0, 1, 0], text=[0, 0, 1])
    found = attribute_inference(made, readings, readings, np.array([True, False]), alone(2), NO_TEXTS)
    reported = {n.split(", ")[0]: e.value for n, e in found.items() if "pool=unseen, measure=top1, of=members" in n}
    assert reported == {"kind=email": 1, "kind=phone": 0, "kind=all": 0.5}
    assert "kind=phone, pool=unseen, measure=top1, of=nonmembers" not in found
    assert "kind=phone, pool=unseen, measure=advantage, over=nonmembers" not in found
    assert found["kind=all, pool=unseen, measure=top1, of=members"].members == 2


def test_an_attribute_is_extracted_if_it_is_verbatim():
    made = RecitedAttributes(
        kinds=("email",),
        kind=np.zeros(5, int),
        text=np.arange(5),
        written=(" a@b.c. More", "a@b.cd", "A@b.c", "to a@b.c", ""),
        expected=(" a@b.c", " a@b.c", "a@b.c", "a@b.c", "a@b.c"),
        left_out=np.array([1]),
    )
    base = RecitedAttributes(**{**vars(made), "written": ("",) * 5})
    found = attribute_extraction(made, base, np.array([True, True, False, False, False]), alone(5))
    assert {n: e.value for n, e in found.items()} == {
        "kind=email, measure=recited, of=members": 1,
        "kind=email, measure=recited, of=nonmembers": 0,
        "kind=email, measure=advantage, over=nonmembers": 1,
        "kind=email, measure=advantage, over=untuned": 1,
        "kind=email, measure=left_out": 1,
    }


def test_equal_outcomes_have_an_interval_wider_than_zero():
    half = np.arange(40) % 2.0
    never = paired_share_difference(half, half, alone(40))
    assert never.value == 0
    assert never.high - never.low > 0.05


@pytest.mark.usefixtures("many_calls")
def test_intervals_of_a_gain_have_nominal_coverage_near_zero_and_one():
    chance = np.random.default_rng(1)
    stored = 0
    for _ in range(200):
        a, b = ((chance.random(32) < p).astype(float) for p in (0.95, 0.05))
        found = paired_share_difference(a, b, alone(32))
        stored += found.low <= 0.9 <= found.high
    assert stored >= 183  # plain Student intervals hold in 174 of 200


def test_attributes_of_one_text_count_less_than_the_same_number_of_texts():
    values = np.repeat(np.arange(20) % 2, 5).astype(float)
    wide, narrow = (
        share_with_interval(values, tuple(f"g{i // 5}" for i in range(100))),
        share_with_interval(values, alone(100)),
    )
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@given(st.sets(st.text(min_size=1, max_size=4), min_size=2, max_size=12), st.integers(1, 12), st.randoms())
def test_candidates_are_distinct_false_and_independent_of_the_order(pool, count, random):
    truth, *_ = sorted(pool)
    found = candidate_values(sorted(pool), kind="name", truth=truth, text="A text.", count=count)
    assert len(found) == len(set(found)) == min(count, len(pool) - 1)
    assert truth not in found
    assert set(found) <= pool
    assert candidate_values(sorted(pool), kind="name", truth=truth, text="A text.", count=12)[:count] == found


def test_a_value_is_replaced_only_as_a_complete_word():
    exchanged = _attributes.replace_value
    assert exchanged("Ann met Anna, and Ann left.", "Ann", "Bo") == "Bo met Anna, and Bo left."
    assert exchanged("Anna left.", "Ann", "Bo") == "Boa left."  # it occurs nowhere else
    assert exchanged("Mail a.b@c.d.", "a.b@c.d", "x") == "Mail x."
    assert exchanged("At 3, 33 and (3).", "3", "4") == "At 4, 33 and (4)."


def test_attributes_missing_in_their_texts_raise_an_error():
    texts = Texts(("t0",), ("Ann left.",))
    with pytest.raises(DataError, match=r"'t0'.*'name'.*'Bo'"):
        Examples(texts, ("pool",), ("g",), ({"name": "Bo"},))
    with pytest.raises(DataError, match=r"'t0'.*'name'"):
        Examples(texts, ("pool",), ("g",), ({"name": " "},))
