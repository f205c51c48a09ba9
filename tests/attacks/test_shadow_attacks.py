"""Attacks with shadow models: the papers' formulas as loops, edge cases, and gains over other attacks."""

import dataclasses
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import Shadows
from byheart.core.types import LogProbs
from testing.shadow_numbers import ATTACKS, drawn, info_rmia, lira, requested, rmia

FORMS = [
    (lira, {"mode": "online", "variance": "pooled"}),
    (lira, {"mode": "online", "variance": "text"}),
    (lira, {"mode": "offline", "variance": "pooled"}),
    (lira, {"mode": "offline", "variance": "text"}),
    (rmia, {"mode": "online"}),
    (rmia, {"mode": "online", "gamma": 2.0}),
    (rmia, {"mode": "offline", "a": 1.0}),
    (info_rmia, {"mode": "online", "unit": "text"}),
    (info_rmia, {"mode": "online", "unit": "token"}),
    (info_rmia, {"mode": "offline", "a": 1.0}),
]


def logprobs(texts):
    """Texts as lists of log-probabilities."""
    return LogProbs(logp=np.array([x for t in texts for x in t], float), starts=np.cumsum([0, *map(len, texts)]))


def shadowed(models, inside, population=()):
    """Each shadow model's texts and population as lists of log-probabilities, and its training texts."""
    read, others = [logprobs(m) for m in models], [logprobs(p) for p in population]
    return Shadows(
        logp=np.stack([r.logp for r in read]),
        starts=read[0].starts,
        inside=np.array(inside, dtype=bool),
        population_logp=np.stack([o.logp for o in others]) if others else np.empty((len(models), 0)),
        population_starts=others[0].starts if others else np.zeros(1, dtype=np.int64),
    )


@st.composite
def studies(draw):
    """A target and pairs of shadow models, with a few ragged texts and a population."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    pairs = draw(st.integers(2, 4))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))

    def reading(lengths):
        return [(-chance.gamma(2.0, size=n)).tolist() for n in lengths]

    firsts = [chance.random(len(lengths)) < 0.5 for _ in range(pairs)]
    inside = [half for first in firsts for half in (first, ~first)]
    models, others = ([reading(n) for _ in inside] for n in (lengths, sizes))
    return reading(lengths), models, np.array(inside), reading(sizes), others


def mean(values):
    return math.fsum(values) / len(values)


@given(studies())
def test_lira_is_the_ratio_of_two_normal_densities(study):
    ours, models, inside, _, _ = study
    sides = [
        tuple([mean(m[i]) for m, row in zip(models, inside, strict=True) if row[i] == side] for side in (True, False))
        for i in range(len(ours))
    ]
    shared = [statistics.fmean([statistics.variance(s[side]) for s in sides]) ** 0.5 for side in (0, 1)]
    for variance in ("pooled", "text"):
        online, offline = [], []
        for text, (within, out) in zip(ours, sides, strict=True):
            s_in, s_out = shared if variance == "pooled" else map(statistics.stdev, (within, out))
            phi = mean(text)
            online.append(norm.logpdf(phi, mean(within), s_in) - norm.logpdf(phi, mean(out), s_out))
            offline.append((phi - mean(out)) / s_out)
        read = logprobs(ours), shadowed(models, inside)
        assert np.allclose(lira(*read, variance=variance), online, rtol=1e-6, atol=1e-6)
        assert np.allclose(lira(*read, variance=variance, mode="offline"), offline, rtol=1e-6, atol=1e-6)


def test_lira_by_hand():
    """Inside at -1 and -3 (mean -2, variance 2), outside at -5 and -7 (mean -6, variance 2), the target at -3."""
    read = (
        logprobs([[-2.0, -4.0]]),
        shadowed([[[-1.0] * 2], [[-5.0] * 2], [[-3.0] * 2], [[-7.0] * 2]], [[1], [0], [1], [0]]),
    )
    for variance in ("pooled", "text"):
        assert lira(*read, variance=variance) == pytest.approx([(9 - 1) / (2 * 2)])
        assert lira(*read, variance=variance, mode="offline") == pytest.approx([3 / 2**0.5])


def test_lira_shares_the_variance_below_64_shadows():
    for pairs, same in ((31, "pooled"), (32, "text")):
        target, shadows, _ = drawn(pairs, texts=40)
        assert np.array_equal(lira(target, shadows), lira(target, shadows, variance=same))
        other = {"pooled": "text", "text": "pooled"}[same]
        assert not np.allclose(lira(target, shadows), lira(target, shadows, variance=other))


def test_a_text_less_likely_than_under_every_shadow_model_is_no_member():
    """The authors' offline score is minus the density, which is equal for a text three standard deviations below and above."""
    models = [[[-1.0], [-1.0]], [[-2.0], [-2.0]]] * 2
    target, shadows = logprobs([[-0.5], [-2.5]]), shadowed(models, [[1, 1], [0, 0], [0, 0], [1, 1]])
    out = [[m[i][0] for m, row in zip(models, shadows.inside, strict=True) if not row[i]] for i in (0, 1)]
    authors = [-norm.logpdf(x, np.median(o), np.std(o)) for x, o in zip((-0.5, -2.5), out, strict=True)]
    assert authors[0] == pytest.approx(authors[1])
    above, below = lira(target, shadows, mode="offline")
    assert above > 0 > below


def test_lira_pools_the_variance_within_texts_unlike_the_authors_code():
    """Texts that differ by 10 nats, and shadow models with deviations .1 inside and .4 outside: the target is .3 below inside."""
    inside = [[1] * 4, [0] * 4, [1] * 4, [0] * 4]
    level, shift = np.array([-1.0, -11.0, -21.0, -31.0]), [0.1, -0.4, -0.1, 0.4]
    target = logprobs([[x - 0.3] for x in level])
    models = [[[x + s] for x in level] for s in shift]
    authors = np.std([m[i][0] for m in models[::2] for i in range(4)])  # of all values inside, for both sides
    assert authors > 10
    s_in, s_out = (2 * 0.1**2) ** 0.5, (2 * 0.4**2) ** 0.5
    expected = norm.logpdf(-0.3, 0, s_in) - norm.logpdf(-0.3, 0, s_out)
    assert lira(target, shadowed(models, inside)) == pytest.approx([expected] * 4)


def prior(values, within, mode, a):
    """The mean likelihood of both sides; offline, the authors' linear approximation from models without the text."""
    out = [v for v, w in zip(values, within, strict=True) if not w]
    if mode == "offline":
        return ((1 + a) * mean(out) + (1 - a)) / 2
    inside = [v for v, w in zip(values, within, strict=True) if w]
    return (mean(inside) + mean(out)) / 2 if inside else mean(out)


@given(studies(), st.sampled_from(["online", "offline"]), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([1.0, 1.5]))
def test_rmia_is_the_share_of_the_population_that_gains_less(study, mode, a, gamma):
    ours, models, inside, commons, others = study
    nowhere = [False] * len(models)
    expected, near = [], False
    for i, text in enumerate(ours):
        gain = math.exp(mean(text)) / prior([math.exp(mean(m[i])) for m in models], inside[:, i], mode, a)
        ratios = [
            gain / (math.exp(mean(z)) / prior([math.exp(mean(o[j])) for o in others], nowhere, mode, a))
            for j, z in enumerate(commons)
        ]
        near = near or any(abs(r - gamma) < 1e-9 for r in ratios)
        expected.append(sum(r >= gamma for r in ratios) / len(ratios))
    found = rmia(logprobs(ours), shadowed(models, inside, others), logprobs(commons), gamma=gamma, mode=mode, a=a)
    assert near or np.allclose(found, expected)


@given(studies(), st.sampled_from(["online", "offline"]), st.sampled_from([0.0, 0.3, 1.0]))
def test_info_rmia_is_the_gain_of_the_target_over_the_shadow_models(study, mode, a):
    ours, models, inside, _, _ = study
    complete, tokens = [], []
    for i, text in enumerate(ours):
        within = inside[:, i]
        complete.append(mean(text) - math.log(prior([math.exp(mean(m[i])) for m in models], within, mode, a)))
        tokens.append(
            mean(
                [x - math.log(prior([math.exp(m[i][t]) for m in models], within, mode, a)) for t, x in enumerate(text)]
            )
        )
    read = logprobs(ours), shadowed(models, inside)
    assert np.allclose(info_rmia(*read, unit="text", mode=mode, a=a), complete, atol=1e-9)
    assert np.allclose(info_rmia(*read, unit="token", mode=mode, a=a), tokens, atol=1e-9)


def test_rmia_by_hand():
    """A likelihood of .5 against .3 and .1 under shadow models is a ratio of 2.5; the population has ratios 2 and 3."""
    x, z = math.log, math.log
    shadows = shadowed([[[x(0.3)]], [[x(0.1)]]], [[1], [0]], [[[z(0.1)], [z(0.2)]], [[z(0.3)], [z(0.2)]]])
    target, population = logprobs([[x(0.5)]]), logprobs([[z(0.4)], [z(0.6)]])
    assert rmia(target, shadows, population).tolist() == [0.5]
    assert rmia(target, shadows, population, gamma=1.2).tolist() == [0.5]
    assert rmia(target, shadows, population, gamma=1.3).tolist() == [0.0]
    # Offline, a = .5: .5 / (.75 * .1 + .25) = 1.54 against .4 / .4 = 1 and .6 / .4 = 1.5.
    assert rmia(target, shadows, population, mode="offline", a=0.5).tolist() == [1.0]
    assert info_rmia(target, shadows, unit="text") == pytest.approx([math.log(2.5)])


def test_rmia_ranks_by_its_ratio_and_gamma_only_changes_ties():
    target, shadows, population = drawn(4, texts=200, population=150)
    ratio = info_rmia(target, shadows, unit="text")
    for gamma in (1.0, 1.2, 1.5):
        steps = rmia(target, shadows, population, gamma=gamma)[np.argsort(ratio)]
        assert (np.diff(steps) >= 0).all()
        assert len(set(steps)) > 10


@pytest.mark.parametrize(("attack", "settings"), FORMS)
@pytest.mark.parametrize("pairs", [2, 3, 5])
def test_equal_target_and_shadow_models_give_equal_scores(attack, settings, pairs):
    chance = np.random.default_rng(5)
    ours, others = ([(-chance.gamma(2.0, size=n)).tolist() for n in lengths] for lengths in ([1, 7, 30, 3], [2, 9, 1]))
    firsts = [[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0]][:pairs]
    inside = [half for first in firsts for half in (first, [1 - x for x in first])]
    shadows = shadowed([ours] * len(inside), inside, [others] * len(inside))
    found = attack(*requested(attack, logprobs(ours), shadows, logprobs(others)), **settings)
    assert len(set(found.tolist())) == 1
    assert found[0] == {rmia: float(settings.get("gamma", 1.0) == 1.0)}.get(attack, 0.0)


@pytest.mark.parametrize(
    ("attack", "settings"), [*FORMS, (rmia, {"mode": "offline"}), (info_rmia, {"mode": "offline"})]
)
def test_scores_are_finite_at_extreme_probabilities(attack, settings):
    """Bit-equal shadow models, certain predictions, and likelihoods that underflow."""
    ours = [[0.0], [-2000.0] * 3, [-1e-9, -500.0], [-3.0]]
    inside = [[1, 0, 1, 0], [0, 1, 0, 1]] * 2
    for models in ([[[-1.0], [-1.0] * 3, [0.0, 0.0], [-9.0]]] * 4, [ours, [[-700.0 * k for k in t] for t in ours]] * 2):
        read = [[[-min(abs(x), 3000.0) for x in t] for t in m] for m in models]
        shadows = shadowed(read, inside, [[[-2000.0], [-1.0]]] * 4)
        found = attack(*requested(attack, logprobs(ours), shadows, logprobs([[-1.0], [-2000.0]])), **settings)
        assert np.isfinite(found).all()


@pytest.mark.parametrize(("attack", "settings"), FORMS)
def test_order_does_not_change_scores_and_other_texts_only_pooled_variances(attack, settings):
    target, shadows, population = drawn(8, texts=30, population=20, tokens=3)
    scores = attack(*requested(attack, target, shadows, population), **settings)
    for order in (np.random.default_rng(3).permutation(30), np.array([4, 2, 9]), np.array([4])):
        places = (target.starts[:-1][order][:, None] + np.arange(3)).ravel()
        starts = np.arange(0, 3 * len(order) + 1, 3)
        some = dataclasses.replace(
            shadows, logp=shadows.logp[:, places], starts=starts, inside=shadows.inside[:, order]
        )
        again = attack(
            *requested(attack, LogProbs(logp=target.logp[places], starts=starts), some, population), **settings
        )
        if len(order) == 30 or settings.get("variance") != "pooled":
            assert np.array_equal(again, scores[order])


@pytest.mark.parametrize("attack", ATTACKS.values())
def test_shadow_models_of_other_texts_or_without_both_sides_are_refused(attack):
    name = attack.__name__
    ours, models = [[-1.0], [-2.0]], [[[-1.0], [-2.0]]] * 4
    population, others = logprobs([[-1.0]]), [[[-1.0]]] * 4
    paired = [[1, 0], [0, 1]] * 2
    attack(*requested(attack, logprobs(ours), shadowed(models, paired, others), population))
    with pytest.raises(DataError, match=f"attacks {name}: .* 3 tokens of 2 texts, .* 2 tokens of 2"):
        attack(*requested(attack, logprobs([[-1.0, -1.0], [-2.0]]), shadowed(models, paired, others), population))
    for wrong, many in (([[1, 0]] * 4, 4), ([[0, 1]] * 4, 0)):
        with pytest.raises(DataError, match=rf"text number 0 .* {many} of 4 shadow models"):
            attack(*requested(attack, logprobs(ours), shadowed(models, wrong, others), population))


def test_lira_requires_two_shadow_models_per_side():
    with pytest.raises(
        DataError,
        match=r"^attacks lira: text number 0 is in the training half of 1 of 2 shadow models; at least 2 must",
    ):
        lira(logprobs([[-1.0]]), shadowed([[[-1.0]], [[-2.0]]], [[1], [0]]))


def test_rmia_requires_one_population_for_all_models():
    ours, models, paired = logprobs([[-1.0]]), [[[-1.0]]] * 2, [[1], [0]]
    with pytest.raises(DataError, match=r"attacks rmia: .*population.*data\.known"):
        rmia(ours, shadowed(models, paired), logprobs([]))
    with pytest.raises(DataError, match=r"attacks rmia: .* \(1 population texts\) .* \(0\)"):
        rmia(ours, shadowed(models, paired), logprobs([[-1.0]]))


def test_settings_out_of_range_raise_an_error():
    for name, wrong in (
        ("lira", {"mode": "both"}), ("lira", {"variance": "fixed"}), ("rmia", {"gamma": 0.5}), ("rmia", {"a": 1.1}),
        ("info_rmia", {"unit": "byte"}),
    ):  # fmt: skip
        (setting,) = wrong
        with pytest.raises(SettingError, match=f"attacks {name}: {setting}"):
            registry.choose("attacks", name, wrong)
