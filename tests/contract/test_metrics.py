"""The exam that every metric on the shelf sits, and each metric against its definition as a plain loop."""

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score, roc_curve

from byheart.core import registry
from byheart.core.errors import CellError, DataError, SettingError
from byheart.core.evidence import Candidates, RecitedAttributes, Variants
from byheart.core.types import Estimate, LogProbs
from byheart.metrics.auc import auc
from byheart.metrics.generalisation_gap import generalisation_gap
from byheart.metrics.perplexity import perplexity
from byheart.metrics.tpr_at_fpr import tpr_at_fpr
from byheart.metrics.train_perplexity import train_perplexity
from byheart.stats.proportions import mid_p
from testing.made_up import planted

METRICS = {name: registry.load_function("metrics", name) for name in registry.entry_names("metrics")}
RANGES = {
    "canary_guess": (0, 1),
    "exposure": (0, math.log2(21)),
    "held_out_exposure": (0, math.log2(21)),
    "epsilon_lower_bound": (0, math.inf),
    "auc": (0, 1),
    "group_auc": (0, 1),
    "tpr_at_fpr": (0, 1),
    "extraction_rate": (0, 1),
    "extraction_rate_nonmembers": (0, 1),
    "extraction_excess": (-1, 1),
    "perplexity": (1, math.inf),
    "train_perplexity": (1, math.inf),
    "attribute_inference": (-1, 1),
    "attribute_extraction": (-1, 1),
}

MEMBERS, NONMEMBERS = 110, 130
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
    "by five": tuple(f"g{i // 5}" for i in range(240)),  # 110 is a multiple of five: no group on both sides
    "one for all": ("g",) * 240,
}


def alone(count):
    return tuple(f"g{i}" for i in range(count))


def packed(texts):
    return LogProbs(logp=np.concatenate(texts), starts=np.cumsum([0, *map(len, texts)]))


def readings(seed, count, mean):
    generator = np.random.default_rng(seed)
    return [-generator.gamma(2.0, mean / 2, size=n) for n in generator.integers(1, 40, count)]


CANARIES = 60


def private(order):
    """Made-up evidence of two private attributes of each text, for the texts in this order; every fifth lacks the second."""
    rows = [(place, kind, 10 * t + kind) for place, t in enumerate(order) for kind in range(2 - (t % 5 == 0))]
    text, kind = (np.array(column) for column in list(zip(*rows, strict=True))[:2])
    drawn = [np.random.default_rng(seed) for _, _, seed in rows]
    asked = {"kinds": ("email", "phone"), "kind": kind, "text": text, "left_out": np.array([0, 48])}
    sizes = [2 + int(d.integers(4)) for d in drawn]
    readings = sum(sizes)
    loglik, base = (np.concatenate([-d.gamma(2, 1, n) for d, n in zip(drawn, sizes, strict=True)]) for _ in range(2))
    starts = np.cumsum([0, *sizes])
    written = ["a" if d.random() < 0.4 else "b" for d in drawn]
    return {
        "candidates": Candidates(
            **asked,
            starts=starts,
            ids=np.zeros(3 * readings, dtype=np.int64),
            offsets=3 * np.arange(readings + 1),
            first=np.ones(readings, dtype=np.int64),
            common=np.concatenate([d.integers(1, 3, n) for d, n in zip(drawn, sizes, strict=True)]),
        ),
        "candidate_likelihoods": Variants(loglik=loglik, starts=starts),
        "candidate_likelihoods_base": Variants(loglik=base, starts=starts),
        "recited_attributes": RecitedAttributes(**asked, written=tuple(written), expected=("a",) * len(rows)),
        "recited_attributes_base": RecitedAttributes(**asked, written=("b",) * len(rows), expected=("a",) * len(rows)),
    }


EVIDENCE = {
    **private(range(240)),
    "membership": MEMBERSHIP,
    "train": packed(readings(0, MEMBERS, 2.0)),
    "validation": packed(readings(1, 90, 3.0)),
    "nonmember": packed(readings(2, NONMEMBERS, 3.0)),
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
}


def backwards(labels):
    return replace(
        labels,
        texts=labels.texts.take(range(CANARIES)[::-1]),
        references=labels.references.take(range(40)[::-1]),
        **{n: getattr(labels, n)[::-1] for n in ("included", "repetitions", "kinds", "reference_kinds")},
    )


def without_answer(metric, scores, groups):
    """A group on both sides is neither a member nor a non-member, and has no mean where its scores are infinite."""
    return metric.__name__ == "group_auc" and (groups == "one for all" or (groups, scores) == ("by five", "infinite"))


def by_side(groups):
    return {"member_groups": groups[:MEMBERS], "nonmember_groups": groups[MEMBERS:]}


def estimates(found):
    """A metric's estimate, or all of its estimates, those of shares and not of counts."""
    return [e for n, e in found.items() if "left_out" not in n] if isinstance(found, dict) else [found]


def measured(metric, scores="usual", groups="alone"):
    extracted = {"extracted": SCORES[scores] > 1}
    known = {**EVIDENCE, "scores": SCORES[scores], **extracted, "groups": GROUPS[groups], **by_side(GROUPS[groups])}
    assert set(registry.needs(metric)) <= set(known), "metrics take what the list of their inputs has"
    return metric(*(known[name] for name in registry.needs(metric)))


@pytest.fixture(params=sorted(METRICS))
def metric(request):
    return METRICS[request.param]


# The exam. A new file on the shelf sits it with no edit.


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("scores", SCORES)
def test_an_estimate_is_finite_and_within_its_interval(metric, scores, groups):
    if without_answer(metric, scores, groups):
        with pytest.raises(DataError):
            measured(metric, scores, groups)
        return
    found = measured(metric, scores, groups)
    for estimate in estimates(found):
        refuse_strange(estimate, *RANGES.get(metric.__name__, (-math.inf, math.inf)))


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


def test_the_order_of_the_texts_leaves_it_alone(metric):
    order = np.random.default_rng(4).permutation(240)
    known = {
        "scores": SCORES["usual"][order],
        "extracted": SCORES["usual"][order] > 1,
        "membership": MEMBERSHIP[order],
        "groups": tuple(GROUPS["by five"][i] for i in order),
        "train": packed(readings(0, MEMBERS, 2.0)[::-1]),
        "validation": packed(readings(1, 90, 3.0)[::-1]),
        "nonmember": packed(readings(2, NONMEMBERS, 3.0)[::-1]),
        "validation_groups": alone(90)[::-1],
        "canaries": packed(readings(3, CANARIES, 2.0)[::-1]),
        "canaries_base": packed(readings(4, CANARIES, 3.0)[::-1]),
        "canary_references": packed(readings(5, 40, 3.0)[::-1]),
        "planted": backwards(EVIDENCE["planted"]),
        **private(order),
        **{name: own[::-1] for name, own in by_side(GROUPS["by five"]).items()},
    }
    shuffled = metric(*(known[name] for name in registry.needs(metric)))
    ours, others = (
        [v or 0 for e in estimates(found) for v in e] for found in (shuffled, measured(metric, "usual", "by five"))
    )
    assert ours == pytest.approx(others, rel=1e-9)  # approx takes no None


def test_the_same_twice(metric):
    assert measured(metric) == measured(metric)


def test_source_and_help_are_there(metric):
    assert len(registry.module_docstring(metric)) > 100
    assert registry.summary(metric).endswith(".")
    assert (
        "higher" in registry.summary(metric)
        or "lower" in registry.summary(metric)
        or "leaked" in registry.summary(metric)
    )


# AUC


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=15),
    st.lists(st.integers(-5, 5), min_size=1, max_size=15),
    st.randoms(use_true_random=False),
)
def test_auc_is_mann_whitneys_count_and_sklearns_area(members, nonmembers, random):
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


# TPR at an FPR


def highest_tpr(members, nonmembers, fpr):
    """Over every threshold that the data can tell apart, the highest TPR whose realised FPR is at most `fpr`."""
    thresholds = [-math.inf, *members, *nonmembers, math.inf]
    realised = [(sum(n > c for n in nonmembers) / len(nonmembers), sum(m > c for m in members)) for c in thresholds]
    return max(hits for rate, hits in realised if rate <= fpr + 1e-12) / len(members)


@given(
    st.lists(st.integers(-6, 6), min_size=1, max_size=25),
    st.lists(st.integers(-6, 6), min_size=10, max_size=40),
    st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]),
)
def test_tpr_is_the_highest_whose_realised_fpr_is_allowed(members, nonmembers, fpr):
    scores = np.array(members + nonmembers, dtype=float)
    membership = np.arange(len(scores)) < len(members)
    found = tpr_at_fpr(scores, membership, alone(len(scores)), fpr=fpr)
    assert found.value == pytest.approx(highest_tpr(members, nonmembers, fpr), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1
    rates, shares, _ = roc_curve(membership, scores, drop_intermediate=False)
    assert found.value == pytest.approx(shares[rates <= fpr + 1e-12].max())


def test_tied_texts_are_accused_together_or_not_at_all():
    scores = np.concatenate([np.full(10, 2.0), np.full(20, 2.0), np.zeros(80)])
    membership = np.arange(110) < 10
    assert tpr_at_fpr(scores, membership, alone(110), fpr=0.19).value == 0
    assert tpr_at_fpr(scores, membership, alone(110), fpr=0.2).value == 1


def test_no_false_positive_more_than_asked_for():
    scores = np.concatenate([[8.5, 9.5], np.arange(10.0)])
    membership = np.arange(12) < 2
    assert tpr_at_fpr(scores, membership, alone(12), fpr=0.1).value == 1  # one of ten is above 8.5
    assert tpr_at_fpr(scores - 1e-3 * membership * 600, membership, alone(12), fpr=0.1).value == 0.5


def test_a_rate_below_the_resolution_is_refused():
    scores, membership = np.arange(164.0), np.arange(164) < 100
    with pytest.raises(DataError, match=r"needs 100 non-members; there are 64: write fpr: 0\.016 or more"):
        tpr_at_fpr(scores, membership, alone(164))
    assert tpr_at_fpr(scores, membership, alone(164), fpr=0.016).value == 0
    for wrong in (0, 1, -0.5):
        with pytest.raises(SettingError, match="fpr"):
            registry.choose("metrics", "tpr_at_fpr", {"fpr": wrong})


def test_with_no_more_nonmembers_than_the_resolution_nothing_rules_out_zero():
    membership = np.arange(200) < 100
    found = tpr_at_fpr(membership.astype(float), membership, alone(200), fpr=0.01)
    assert (found.value, found.high) == (1, 1)
    assert found.low == 0  # one non-member in a hundred may well stand above them all, and none was drawn
    more = np.arange(2100) < 100
    assert tpr_at_fpr(more.astype(float), more, alone(2100), fpr=0.01).low > 0.95


@pytest.mark.parametrize(("nonmembers", "vouched"), [(367, False), (368, True)])
def test_a_threshold_above_all_nonmembers_is_ruled_out_where_chance_is_below_its_share(nonmembers, vouched):
    """0.99 ** 367 is 0.02502: with 1 % of the population above them all, 367 non-members show none so often."""
    membership = np.arange(500 + nonmembers) < 500
    found = tpr_at_fpr(membership + np.linspace(0, 0.5, 500 + nonmembers), membership, alone(500 + nonmembers))
    assert found.value == 1
    assert (found.low > 0.5) == vouched


def test_where_texts_tie_the_ends_hold_the_members_at_every_threshold_that_may_be():
    generator = np.random.default_rng(11)
    membership = np.arange(2000) < 1000
    scores = np.round(4 * (generator.normal(size=2000) + 2 * membership)) / 4
    found = tpr_at_fpr(scores, membership, alone(2000), fpr=0.1)
    places = np.arange(1001)
    exact = binom.cdf(places, 1000, 0.1) - binom.pmf(places, 1000, 0.1) / 2
    descending = np.sort(scores[~membership])[::-1]
    strict, lax = places[exact >= 0.025].min(), places[1 - exact >= 0.025].max() + 1
    worst, best = ((scores[membership] > descending[place - 1]).sum() for place in (strict, lax))
    assert worst < found.value * 1000 or best > found.value * 1000
    assert found.low <= mid_p(float(worst), 1000.0)[0] + 1e-12
    assert found.high >= mid_p(float(best), 1000.0)[1] - 1e-12


def test_how_groups_agree_is_seen_near_the_threshold():
    """Scores that go together below it and not above it leave as many texts as there are."""
    generator = np.random.default_rng(2)
    membership = np.arange(4000) < 2000
    own = generator.normal(size=4000) + membership
    level = np.repeat(np.sort(generator.normal(size=1000)) - 9, 4)
    scores = np.where(own > np.where(membership, 1.5, 0.5), own, level)
    groups = tuple(f"g{i // 4}" for i in range(4000))
    together, free = (tpr_at_fpr(scores, membership, g, fpr=0.1) for g in (groups, alone(4000)))
    assert together.high - together.low < 1.15 * (free.high - free.low)


def test_copies_within_a_group_do_not_make_it_surer():
    generator = np.random.default_rng(2)
    membership = np.arange(400) < 200
    scores = generator.normal(size=400) + membership
    once = tpr_at_fpr(scores, membership, alone(400), fpr=0.1)
    twice = np.repeat(scores, 2), np.repeat(membership, 2)
    grouped = tpr_at_fpr(*twice, tuple(np.repeat(alone(400), 2).tolist()), fpr=0.1)
    assert grouped.value == once.value
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high), abs=0.02)
    apart = twice[0] + 1e-9 * (np.arange(800) % 2)  # texts of different groups that tie would widen it by themselves
    ungrouped = tpr_at_fpr(apart, twice[1], alone(800), fpr=0.1)
    assert ungrouped.high - ungrouped.low < 0.8 * (once.high - once.low)


def test_groups_count_on_the_side_that_they_are_on():
    membership = np.arange(400) < 200
    level = np.repeat(np.random.default_rng(5).normal(size=40), 10)
    names = tuple(f"g{i // 10}" for i in range(400))
    free, members, nonmembers = (
        tpr_at_fpr(level + membership, membership, groups, fpr=0.1)
        for groups in (alone(400), names[:200] + alone(200), alone(200) + names[200:])
    )
    assert nonmembers.low < members.low < free.low
    assert free.value == members.value == nonmembers.value


def test_one_group_a_side_rules_nothing_out():
    membership = np.arange(400) < 200
    scores = np.random.default_rng(5).normal(size=400) + membership
    found = tpr_at_fpr(scores, membership, ("a",) * 200 + ("b",) * 200, fpr=0.1)
    assert (found.low, found.high) == (0, 1)


def test_a_thousand_texts_take_no_time():
    generator = np.random.default_rng(0)
    started = time.perf_counter()
    for _ in range(5):
        tpr_at_fpr(generator.normal(size=1000), np.arange(1000) < 500, alone(1000))
    assert (time.perf_counter() - started) / 5 < 0.05


# Perplexity and the gap


def free(metric, *evidence):
    """The metric where each text is a group of its own."""
    return metric(*evidence, *(alone(len(one)) for one in evidence))


def test_perplexity_weighs_tokens_and_not_texts():
    evidence = packed([np.log([0.5, 0.25]), np.log([0.125])])
    assert free(perplexity, evidence).value == pytest.approx(
        4
    )  # (2 * 4 * 8) ** (1 / 3); the mean of the texts' own is 5.4
    assert free(perplexity, evidence).nonmembers == free(train_perplexity, evidence).members == 2
    assert free(perplexity, evidence)[:3] == free(train_perplexity, evidence)[:3]


@pytest.mark.parametrize("name", ["train", "validation"])
def test_perplexity_and_gap_as_plain_loops(name):
    texts = readings({"train": 0, "validation": 1}[name], {"train": MEMBERS, "validation": 90}[name], 2.5)
    expected = math.exp(-math.fsum(map(math.fsum, texts)) / sum(map(len, texts)))
    assert free(perplexity, packed(texts)).value == pytest.approx(expected)
    other = readings(7, 40, 1.0)
    gap = free(generalisation_gap, packed(other), packed(texts))
    assert gap.value == pytest.approx(math.log(expected) - math.log(free(train_perplexity, packed(other)).value))
    assert gap.value > 0
    assert (gap.members, gap.nonmembers) == (40, len(texts))


def test_one_text_has_no_interval_and_equal_texts_a_narrow_one():
    one, same = packed([np.array([-1.0, -2.0])]), packed([np.array([-1.0, -2.0])] * 4)
    assert free(perplexity, one) == Estimate(math.exp(1.5), None, None, None, 1)
    assert free(generalisation_gap, one, same) == Estimate(0.0, None, None, 1, 4)
    assert free(perplexity, same)[:3] == pytest.approx([math.exp(1.5)] * 3)
    assert free(generalisation_gap, same, same) == Estimate(0.0, 0.0, 0.0, 4, 4)


def bent(t, skew, lean):
    """Hall (1992), his monotone cubic, the square's factor being less what the denominator gives the variance."""
    factor = skew / 3 - lean
    return t + factor * t**2 + factor**2 * t**3 / 3 + skew / 6


@pytest.mark.parametrize("seed", range(4))
def test_the_ends_of_the_nlls_interval_are_halls(seed):
    generator = np.random.default_rng(seed)
    lengths = np.ceil(20 * generator.lognormal(0, 0.7, 40)).astype(int)
    levels = 3 * generator.lognormal(0, 0.7, 40) + lengths / 60
    texts, groups = (
        [np.full(n, -v) for n, v in zip(lengths, levels, strict=True)],
        tuple(f"g{i % 30}" for i in range(40)),
    )
    value = sum(lengths * levels) / sum(lengths)
    left = [sum(lengths[i] * (levels[i] - value) for i in range(g, 40, 30)) for g in range(30)]
    sizes = [sum(lengths[i] for i in range(g, 40, 30)) for g in range(30)]
    second, third, fourth = (sum(e**k for e in left) / 30 for k in (2, 3, 4))
    skew = third / second**1.5 / math.sqrt(30)
    lean = (
        sum(e * n for e, n in zip(left, sizes, strict=True))
        / 30
        / math.sqrt(second)
        / (sum(sizes) / 30)
        / math.sqrt(30)
    )
    reach = student.ppf(0.975, min(29, 2 * 30 / (fourth / second**2 - 1)))
    error = math.sqrt(30 * second * 30 / 29) / sum(sizes)
    found = perplexity(packed(texts), groups)
    for end, expected in ((found.low, reach), (found.high, -reach)):
        # The error alone has the factor 30 / 29, and both are over its third power.
        straight = bent((value - math.log(end)) / error, skew * (29 / 30) ** 1.5, lean * (29 / 30) ** 1.5)
        assert straight == pytest.approx(expected, rel=1e-9)


def test_copies_in_a_texts_group_leave_the_nlls_intervals_alone():
    texts, others = readings(0, 30, 2.5), readings(1, 40, 3.0)
    names, twice = alone(30), tuple(np.repeat(alone(30), 2).tolist())
    doubled = packed([t for t in texts for _ in range(2)])
    assert perplexity(doubled, twice)[:3] == pytest.approx(perplexity(packed(texts), names)[:3])
    once = generalisation_gap(packed(texts), packed(others), names, alone(40))
    assert generalisation_gap(doubled, packed(others), twice, alone(40))[:3] == pytest.approx(once[:3])
    assert generalisation_gap(packed(others), doubled, alone(40), twice)[:3] == pytest.approx(
        (-once.value, -once.high, -once.low)
    )
    free_again = free(perplexity, doubled)
    assert free_again.high - free_again.low < 0.8 * (perplexity(doubled, twice).high - perplexity(doubled, twice).low)


def test_a_diverged_model_is_one_failed_cell_and_not_a_nan():
    far = packed([np.array([-2000.0, -1.0]), np.array([-900.0])])
    with pytest.raises(CellError, match="diverged"):
        free(perplexity, far)
    assert math.isfinite(free(generalisation_gap, far, far).value)
    for wrong in (-math.inf, math.nan):
        with pytest.raises(DataError, match="must be finite"):
            packed([np.array([-1.0]), np.array([wrong])])
    wide = free(perplexity, packed([np.array([-1.0]), np.array([-600.0])]))
    assert math.isfinite(wide.high)
    assert wide.low == 1


def test_the_intervals_of_perplexity_and_gap_hold():
    """Texts differ in difficulty and length, hard texts being longer: the ratio of sums is neither mean of means."""
    held, gap_held, repeats = 0, 0, 300
    generator = np.random.default_rng(0)

    def texts(count, shift):
        lengths = generator.integers(5, 60, count)
        level = generator.gamma(8.0, 0.2, count) + lengths / 60 + shift
        return packed([-level[i] * generator.gamma(2.0, 0.5, n) for i, n in enumerate(lengths)])

    # E[length * level] / E[length] by the moments of the uniform integers 5..59
    lengths = np.arange(5, 60)
    truth = 1.6 + (lengths**2).mean() / lengths.mean() / 60
    for _ in range(repeats):
        seen, unseen = texts(60, 0.0), texts(40, 0.3)
        found = free(train_perplexity, seen)
        held += found.low <= math.exp(truth) <= found.high
        gap = free(generalisation_gap, seen, unseen)
        gap_held += gap.low <= 0.3 <= gap.high
    assert 0.91 <= held / repeats <= 0.985
    assert 0.91 <= gap_held / repeats <= 0.985
