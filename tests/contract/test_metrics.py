"""The contract of every metric on the shelf, and each metric against its definition as a plain loop."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from byheart.analysis.row_values import possible_values
from byheart.core import registry
from byheart.core.errors import DataError
from byheart.core.evidence import Candidates, PromptLikelihoods, RecitedAttributes, Variants
from byheart.core.types import Estimate, Texts
from byheart.metrics.auc import auc
from testing.evidence import MEMBERS, NONMEMBERS, alone, packed, ranked, readings
from testing.made_up import planted
from testing.measured import base_of, completed, drifted, shadowed

METRICS = {name: registry.load_function("metrics", name) for name in registry.entry_names("metrics")}
REACHABLE = dict.fromkeys(("exposure", "held_out_exposure"), math.log2(21))
"""Highest values with 20 references, which `RANGE` does not know."""
MEMBERSHIP = np.arange(MEMBERS + NONMEMBERS) < MEMBERS
SCORES = {
    "usual": np.random.default_rng(0).normal(size=240) + MEMBERSHIP,
    "nothing": np.random.default_rng(1).normal(size=240),
    "perfect": MEMBERSHIP + np.linspace(0, 0.5, 240),
    "reversed": -1.0 * MEMBERSHIP,
    "all tied": np.zeros(240),
    "nearly all tied": (np.arange(240) == 3).astype(float),
    "infinite": np.where(np.arange(240) % 2, -np.inf, np.inf),
}
GROUPS = {
    "alone": tuple(f"g{i}" for i in range(240)),
    "by five": tuple(f"g{i // 5}" for i in range(240)),  # 110 is a multiple of five, so no group is in both classes
    "one for all": ("g",) * 240,
}
CANARIES = 60
TRAINING_TEXTS = Texts(("t0", "t1"), ("3/0/0 and 120/1/0.", "9/0/1"))


def private(order):
    """Made-up evidence of two private attributes of each text, for the texts in this order; every fifth lacks the second."""
    rows = [(place, kind, 10 * t + kind) for place, t in enumerate(order) for kind in range(2 - (t % 5 == 0))]
    text, kind = (np.array(column) for column in list(zip(*rows, strict=True))[:2])
    drawn = [np.random.default_rng(seed) for _, _, seed in rows]
    requested = {"kinds": ("email", "phone"), "kind": kind, "text": text, "left_out": np.array([0, 48])}
    sizes = [2 + int(d.integers(4)) for d in drawn]
    readings = sum(sizes)
    loglik, base = (np.concatenate([-d.gamma(2, 1, n) for d, n in zip(drawn, sizes, strict=True)]) for _ in range(2))
    starts = np.cumsum([0, *sizes])
    written = ["a" if d.random() < 0.4 else "b" for d in drawn]
    made = {
        "candidates": Candidates(
            **requested,
            starts=starts,
            ids=np.zeros(3 * readings, dtype=np.int64),
            offsets=3 * np.arange(readings + 1),
            first=np.ones(readings, dtype=np.int64),
            values=tuple(
                f"{seed // 10}/{kind}/{c}"
                if c % 2
                else f"{seed // 10 + c}/{kind}/0"  # every second one of another text
                for (_, kind, seed), size in zip(rows, sizes, strict=True)
                for c in range(size)
            ),
            limit=np.array(3),
            common=np.concatenate([d.integers(1, 3, n) for d, n in zip(drawn, sizes, strict=True)]),
        ),
        "candidate_likelihoods": Variants(loglik=loglik, starts=starts),
        "candidate_likelihoods_base": Variants(loglik=base, starts=starts),
        "recited_attributes": RecitedAttributes(**requested, written=tuple(written), expected=("a",) * len(rows)),
        "recited_attributes_base": RecitedAttributes(
            **requested, written=("b",) * len(rows), expected=("a",) * len(rows)
        ),
    }
    return {
        **made,
        "prompt_candidates": made["candidates"],
        "prompt_candidate_likelihoods": PromptLikelihoods(prompt=loglik, completion=loglik + base),
        "prompt_candidate_likelihoods_base": PromptLikelihoods(prompt=base, completion=base - loglik),
        "recited_prompt_attributes": made["recited_attributes"],
        "recited_prompt_attributes_base": made["recited_attributes_base"],
    }


EVIDENCE = {
    **private(range(240)),
    "training_texts": TRAINING_TEXTS,
    "membership": MEMBERSHIP,
    "train": ranked(packed(readings(0, MEMBERS, 2.0))),
    "validation": packed(readings(1, 90, 3.0)),
    "nonmember": ranked(packed(readings(2, NONMEMBERS, 3.0))),
    "validation_groups": alone(90),
    "canaries": packed(readings(3, CANARIES, 2.0)),
    "canaries_base": packed(readings(4, CANARIES, 3.0)),
    "canary_references": packed(readings(5, 40, 3.0)),
    "planted": planted(
        [i % 3 > 0 for i in range(CANARIES)],
        [1] * CANARIES,
        ["digits", "names"] * (CANARIES // 2),
        references=(("digits", 20), ("names", 20)),
        by_seed=True,
    ),
    "drift": drifted(range(240)),
    "validation_drift": drifted(range(90)),
    "shadows": shadowed(range(240)),
    "completions": completed(range(90)),
    "trained_parameters": 1000,
}
EVIDENCE["base"] = base_of(EVIDENCE["train"], EVIDENCE["nonmember"])


def backwards(labels):
    return replace(
        labels,
        texts=labels.texts.take(range(CANARIES)[::-1]),
        references=labels.references.take(range(40)[::-1]),
        **{n: getattr(labels, n)[::-1] for n in ("included", "repetitions", "kinds", "reference_kinds")},
    )


def without_answer(metric, scores, groups):
    """A group in both classes is neither a member nor a non-member, and has no mean if its scores are infinite."""
    return metric.__name__ == "group_auc" and (groups == "one for all" or (groups, scores) == ("by five", "infinite"))


def by_side(groups):
    return {"member_groups": groups[:MEMBERS], "nonmember_groups": groups[MEMBERS:]}


def estimates(found):
    """The estimates of a metric, without counts."""
    return [e for n, e in found.items() if "left_out" not in n] if isinstance(found, dict) else [found]


def measured(metric, scores="usual", groups="alone"):
    extracted = {"extracted": SCORES[scores] > 1}
    known = {**EVIDENCE, "scores": SCORES[scores], **extracted, "groups": GROUPS[groups], **by_side(GROUPS[groups])}
    assert set(registry.needs(metric)) <= set(known), "metrics take what the list of their inputs has"
    return metric(*(known[name] for name in registry.needs(metric)))


@pytest.fixture(params=sorted(METRICS))
def metric(request):
    return METRICS[request.param]


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("scores", SCORES)
def test_an_estimate_is_finite_and_within_its_interval(metric, scores, groups):
    if without_answer(metric, scores, groups):
        with pytest.raises(DataError):
            measured(metric, scores, groups)
        return
    found = measured(metric, scores, groups)
    for estimate in estimates(found):
        smallest, largest = possible_values(metric.__name__)
        refuse_strange(estimate, smallest, REACHABLE.get(metric.__name__, largest))


def refuse_strange(found, smallest, largest):
    assert isinstance(found, Estimate)
    assert math.isfinite(found.value)
    assert smallest <= found.value <= largest
    assert (found.low is None) == (found.high is None)
    if found.low is not None:
        assert math.isfinite(found.low)
        assert math.isfinite(found.high)
        assert smallest - 1e-9 * abs(smallest) <= found.low <= found.value <= found.high <= largest
    assert all(isinstance(v, float) for v in found[:3] if v is not None), "JSON and Parquet know no NumPy scalars"
    assert all(isinstance(v, int) for v in found[3:] if v is not None)


def test_it_does_not_depend_on_the_order_of_texts(metric):
    order = np.random.default_rng(4).permutation(240)
    known = {
        "scores": SCORES["usual"][order],
        "extracted": SCORES["usual"][order] > 1,
        "membership": MEMBERSHIP[order],
        "groups": tuple(GROUPS["by five"][i] for i in order),
        "train": ranked(packed(readings(0, MEMBERS, 2.0)[::-1])),
        "validation": packed(readings(1, 90, 3.0)[::-1]),
        "nonmember": ranked(packed(readings(2, NONMEMBERS, 3.0)[::-1])),
        "validation_groups": alone(90)[::-1],
        "canaries": packed(readings(3, CANARIES, 2.0)[::-1]),
        "canaries_base": packed(readings(4, CANARIES, 3.0)[::-1]),
        "canary_references": packed(readings(5, 40, 3.0)[::-1]),
        "planted": backwards(EVIDENCE["planted"]),
        **private(order),
        "training_texts": TRAINING_TEXTS,
        "drift": drifted(order.tolist()),
        "validation_drift": drifted(range(90)[::-1]),
        "shadows": shadowed(order.tolist()),
        "completions": completed(range(90)[::-1]),
        "trained_parameters": 1000,
        "base": base_of(packed(readings(0, MEMBERS, 2.0)[::-1]), packed(readings(2, NONMEMBERS, 3.0)[::-1])),
        **{name: own[::-1] for name, own in by_side(GROUPS["by five"]).items()},
    }
    shuffled = metric(*(known[name] for name in registry.needs(metric)))
    ours, others = (
        [v or 0 for e in estimates(found) for v in e] for found in (shuffled, measured(metric, "usual", "by five"))
    )
    assert ours == pytest.approx(others, rel=1e-9)  # approx does not accept None


def test_a_second_call_returns_the_same(metric):
    assert measured(metric) == measured(metric)


def test_source_and_help_exist(metric):
    assert len(registry.module_docstring(metric)) > 100
    assert registry.summary(metric).endswith(".")
    assert (
        "higher" in registry.summary(metric)
        or "lower" in registry.summary(metric)
        or "leaked" in registry.summary(metric)
    )


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=15),
    st.lists(st.integers(-5, 5), min_size=1, max_size=15),
    st.randoms(use_true_random=False),
)
def test_auc_equals_the_mann_whitney_count_and_sklearn(members, nonmembers, random):
    wins = [(m > n) + (m == n) / 2 for m, n in itertools.product(members, nonmembers)]
    pairs = [(float(m), True) for m in members] + [(float(n), False) for n in nonmembers]
    random.shuffle(pairs)
    scores, membership = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    found = auc(scores, membership, alone(len(pairs)))
    assert found.value == pytest.approx(sum(wins) / len(wins), abs=1e-12)
    assert found.value == pytest.approx(roc_auc_score(membership, scores), abs=1e-12)
    assert (found.members, found.nonmembers) == (len(members), len(nonmembers))

    monotone = auc(scores**3 + scores, membership, alone(len(pairs)))
    assert monotone == found
    mirrored = auc(-scores, membership, alone(len(pairs)))
    expected = (1 - found.value, 1 - found.high, 1 - found.low)
    assert mirrored[:3] == pytest.approx(expected, abs=1e-9)
