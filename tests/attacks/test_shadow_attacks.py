"""Attacks by shadow models: the papers' formulas as loops, their edges, what is gained by them, and a tiny study with all."""

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
from testing.shadow_numbers import ATTACKS, asked, drawn, info_rmia, lira, rmia

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
    """Each shadow's texts and population as lists of log-probabilities, and which texts it was tuned on."""
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
    """A target and an even number of shadows in pairs, over a few ragged texts and a population."""
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


def test_lira_does_not_take_what_is_less_likely_than_under_any_shadow_for_a_member():
    """The authors' code scores offline by minus the density: to it, a text three spreads below is as good as one above."""
    models = [[[-1.0], [-1.0]], [[-2.0], [-2.0]]] * 2
    target, shadows = logprobs([[-0.5], [-2.5]]), shadowed(models, [[1, 1], [0, 0], [0, 0], [1, 1]])
    out = [[m[i][0] for m, row in zip(models, shadows.inside, strict=True) if not row[i]] for i in (0, 1)]
    authors = [-norm.logpdf(x, np.median(o), np.std(o)) for x, o in zip((-0.5, -2.5), out, strict=True)]
    assert authors[0] == pytest.approx(authors[1])
    above, below = lira(target, shadows, mode="offline")
    assert above > 0 > below


def test_lira_shares_what_varies_within_texts_where_the_authors_code_takes_what_differs_between_them():
    """Texts that lie 10 nats apart, and shadows that differ by .1 inside and .4 outside: the target is at .3 below inside."""
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
    """Of likelihoods: the mean of both sides' means; offline the authors' line from those outside."""
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
def test_info_rmia_is_what_the_target_gained_over_the_shadows(study, mode, a):
    ours, models, inside, _, _ = study
    whole, tokens = [], []
    for i, text in enumerate(ours):
        within = inside[:, i]
        whole.append(mean(text) - math.log(prior([math.exp(mean(m[i])) for m in models], within, mode, a)))
        tokens.append(
            mean(
                [x - math.log(prior([math.exp(m[i][t]) for m in models], within, mode, a)) for t, x in enumerate(text)]
            )
        )
    read = logprobs(ours), shadowed(models, inside)
    assert np.allclose(info_rmia(*read, unit="text", mode=mode, a=a), whole, atol=1e-9)
    assert np.allclose(info_rmia(*read, unit="token", mode=mode, a=a), tokens, atol=1e-9)


def test_rmia_by_hand():
    """A likelihood of .5 where shadows say .3 and .1 gains 2.5; of the population one text gains 2, one 3."""
    x, z = math.log, math.log
    shadows = shadowed([[[x(0.3)]], [[x(0.1)]]], [[1], [0]], [[[z(0.1)], [z(0.2)]], [[z(0.3)], [z(0.2)]]])
    target, population = logprobs([[x(0.5)]]), logprobs([[z(0.4)], [z(0.6)]])
    assert rmia(target, shadows, population).tolist() == [0.5]
    assert rmia(target, shadows, population, gamma=1.2).tolist() == [0.5]
    assert rmia(target, shadows, population, gamma=1.3).tolist() == [0.0]
    # Offline, a = .5: .5 / (.75 * .1 + .25) = 1.54 against .4 / .4 = 1 and .6 / .4 = 1.5.
    assert rmia(target, shadows, population, mode="offline", a=0.5).tolist() == [1.0]
    assert info_rmia(target, shadows, unit="text") == pytest.approx([math.log(2.5)])


def test_rmia_ranks_as_its_own_ratio_and_gamma_only_moves_the_steps():
    target, shadows, population = drawn(4, texts=200, population=150)
    ratio = info_rmia(target, shadows, unit="text")
    for gamma in (1.0, 1.2, 1.5):
        steps = rmia(target, shadows, population, gamma=gamma)[np.argsort(ratio)]
        assert (np.diff(steps) >= 0).all()
        assert len(set(steps)) > 10


@pytest.mark.parametrize(("attack", "settings"), FORMS)
@pytest.mark.parametrize("pairs", [2, 3, 5])
def test_where_target_and_shadows_are_one_model_all_texts_tie(attack, settings, pairs):
    chance = np.random.default_rng(5)
    ours, others = ([(-chance.gamma(2.0, size=n)).tolist() for n in lengths] for lengths in ([1, 7, 30, 3], [2, 9, 1]))
    firsts = [[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0]][:pairs]
    inside = [half for first in firsts for half in (first, [1 - x for x in first])]
    shadows = shadowed([ours] * len(inside), inside, [others] * len(inside))
    found = attack(*asked(attack, logprobs(ours), shadows, logprobs(others)), **settings)
    assert len(set(found.tolist())) == 1
    assert found[0] == {rmia: float(settings.get("gamma", 1.0) == 1.0)}.get(attack, 0.0)


@pytest.mark.parametrize(
    ("attack", "settings"), [*FORMS, (rmia, {"mode": "offline"}), (info_rmia, {"mode": "offline"})]
)
def test_scores_are_finite_at_the_ends(attack, settings):
    """Shadows that agree to the bit, certainty, and likelihoods that no float holds."""
    ours = [[0.0], [-2000.0] * 3, [-1e-9, -500.0], [-3.0]]
    inside = [[1, 0, 1, 0], [0, 1, 0, 1]] * 2
    for models in ([[[-1.0], [-1.0] * 3, [0.0, 0.0], [-9.0]]] * 4, [ours, [[-700.0 * k for k in t] for t in ours]] * 2):
        read = [[[-min(abs(x), 3000.0) for x in t] for t in m] for m in models]
        shadows = shadowed(read, inside, [[[-2000.0], [-1.0]]] * 4)
        found = attack(*asked(attack, logprobs(ours), shadows, logprobs([[-1.0], [-2000.0]])), **settings)
        assert np.isfinite(found).all()


@pytest.mark.parametrize(("attack", "settings"), FORMS)
def test_the_order_of_texts_changes_nothing_and_their_company_only_what_is_pooled(attack, settings):
    target, shadows, population = drawn(8, texts=30, population=20, tokens=3)
    scores = attack(*asked(attack, target, shadows, population), **settings)
    for order in (np.random.default_rng(3).permutation(30), np.array([4, 2, 9]), np.array([4])):
        places = (target.starts[:-1][order][:, None] + np.arange(3)).ravel()
        starts = np.arange(0, 3 * len(order) + 1, 3)
        some = dataclasses.replace(
            shadows, logp=shadows.logp[:, places], starts=starts, inside=shadows.inside[:, order]
        )
        again = attack(*asked(attack, LogProbs(logp=target.logp[places], starts=starts), some, population), **settings)
        if len(order) == 30 or settings.get("variance") != "pooled":
            assert np.array_equal(again, scores[order])


@pytest.mark.parametrize("attack", ATTACKS.values())
def test_shadows_of_other_texts_and_texts_inside_all_or_none_are_refused(attack):
    name = attack.__name__
    ours, models = [[-1.0], [-2.0]], [[[-1.0], [-2.0]]] * 4
    population, others = logprobs([[-1.0]]), [[[-1.0]]] * 4
    paired = [[1, 0], [0, 1]] * 2
    attack(*asked(attack, logprobs(ours), shadowed(models, paired, others), population))
    with pytest.raises(DataError, match=f"attacks {name}: .* 3 tokens of 2 texts, .* 2 tokens of 2"):
        attack(*asked(attack, logprobs([[-1.0, -1.0], [-2.0]]), shadowed(models, paired, others), population))
    for wrong, many in (([[1, 0]] * 4, 4), ([[0, 1]] * 4, 0)):
        with pytest.raises(DataError, match=rf"text number 0 .* {many} of 4 shadow models"):
            attack(*asked(attack, logprobs(ours), shadowed(models, wrong, others), population))


def test_lira_needs_two_shadows_on_either_side():
    with pytest.raises(
        DataError,
        match=r"^attacks lira: text number 0 is in the training half of 1 of 2 shadow models; at least 2 must",
    ):
        lira(logprobs([[-1.0]]), shadowed([[[-1.0]], [[-2.0]]], [[1], [0]]))


def test_rmia_needs_a_population_and_the_same_under_all_models():
    ours, models, paired = logprobs([[-1.0]]), [[[-1.0]]] * 2, [[1], [0]]
    with pytest.raises(DataError, match=r"attacks rmia: .*population.*data\.known"):
        rmia(ours, shadowed(models, paired), logprobs([]))
    with pytest.raises(DataError, match=r"attacks rmia: .* \(1 population texts\) .* \(0\)"):
        rmia(ours, shadowed(models, paired), logprobs([[-1.0]]))


def test_settings_out_of_range_are_refused():
    for name, wrong in (
        ("lira", {"mode": "both"}), ("lira", {"variance": "fixed"}), ("rmia", {"gamma": 0.5}), ("rmia", {"a": 1.1}),
        ("info_rmia", {"unit": "byte"}),
    ):  # fmt: skip
        (setting,) = wrong
        with pytest.raises(SettingError, match=f"attacks {name}: {setting}"):
            registry.choose("attacks", name, wrong)
