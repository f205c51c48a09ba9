"""WEL-MIA against its formula as a loop, and against its authors' code."""

import bisect
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.core.types import LogProbs

wel = registry.load_function("attacks", "wel")

steps = st.integers(-40, 0).map(lambda k: k / 4)  # quarters of a nat, so that equal difficulties and gains are common
pairs = st.lists(st.lists(st.tuples(steps, steps), min_size=1, max_size=12), min_size=1, max_size=6)


def read(texts):
    starts = np.cumsum([0, *map(len, texts)])
    return tuple(
        LogProbs(logp=np.array([t[i] for text in texts for t in text], dtype=np.float32), starts=starts)
        for i in range(2)
    )


def plain(texts, known, bins, temperature, judge):
    """The formula, token by token; `judge` is the place of the model (0: target, 1: base) that difficulty is taken of."""
    pool = [t for text in known for t in text]
    edges = [sorted(-t[judge] for t in pool)[i * len(pool) // bins] for i in range(1, bins)]

    def bin_of(token):
        return sum(-token[judge] >= edge for edge in edges)

    scores = []
    for text in texts:
        total = 0.0
        for token in text:
            alike = [(-t[judge], t[0] - t[1]) for t in pool if bin_of(t) == bin_of(token)]
            if not alike:
                continue
            gain = token[0] - token[1]
            rank = sum((r < gain) + (r == gain) / 2 for _, r in alike)
            z = NormalDist().inv_cdf((rank + 0.5) / (len(alike) + 1))
            difficulty = sum(d for d, _ in alike) / len(alike)
            total += z * difficulty * (1 - NormalDist(0, temperature).cdf(z))
        scores.append(total / len(text))
    return scores


@settings(deadline=None)
@given(pairs, pairs, st.integers(1, 10), st.floats(0.2, 5), st.sampled_from(["target", "base"]))
def test_the_formula(texts, known, bins, temperature, judge):
    found = wel(*read(texts), *read(known), bins=bins, temperature=temperature, difficulty=judge)
    expected = plain(texts, known, bins, temperature, ("target", "base").index(judge))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_hand_made_numbers():
    known = [[(-1.0, -1.5), (-1.0, -1.0), (-1.0, -0.5)]]  # one difficulty; gains 0.5, 0, -0.5
    z = NormalDist().inv_cdf(3.5 / 4)  # above all three
    found = wel(*read([[(-1.0, -3.0)], [(-1.0, -1.0)], [(-1.0, -3.0), (-1.0, -1.0)]]), *read(known), bins=1)
    high = z * (1 - NormalDist(0, 2).cdf(z))
    np.testing.assert_allclose(found, [high, 0.0, high / 2], atol=1e-12)


def test_the_base_model_has_equal_scores():
    generator = np.random.default_rng(0)
    logp = -generator.gamma(2.0, size=60).astype(np.float32)
    same = LogProbs(logp=logp, starts=np.array([0, 20, 60]))
    assert wel(same, same, same, same).tolist() == [0.0, 0.0]
    with np.errstate(all="ignore"):
        assert np.isnan(authors([logp[:20], logp[20:40]], [logp[:20], logp[20:40]])).all()


def test_other_tokens_and_missing_known_texts_are_refused():
    one, two = read([[(-1.0, -1.0)] * 3])[0], read([[(-1.0, -1.0)] * 2])[0]
    with pytest.raises(DataError, match="wel: the target model scored"):
        wel(one, two, one, one)
    with pytest.raises(DataError, match="wel: the target model scored"):
        wel(one, one, one, two)
    none = LogProbs(logp=np.zeros(0), starts=np.array([0]))
    with pytest.raises(DataError, match=r"attacks wel: .*data\.known"):
        wel(one, one, none, none)
    with pytest.raises(SettingError, match="attacks wel: bins"):
        registry.choose("attacks", "wel", {"bins": 0})


def synthetic(generator, count, tokens, gain):
    """Texts whose tokens fine-tuning changed a little, and by `gain` nats more for members."""
    base = -generator.gamma(1.0, 3.0, size=(count, tokens))
    target = np.minimum(
        base + generator.normal(0.1, 0.4, (count, tokens)) + gain, -generator.uniform(0, 1e-4, (count, tokens))
    )
    return target, base


def packed(*rows):
    starts = np.arange(len(rows[0]) + 1) * rows[0].shape[1]
    return tuple(LogProbs(logp=r.ravel(), starts=starts) for r in rows)


def test_members_score_higher_also_if_the_base_memorized_them():
    generator = np.random.default_rng(1)
    known = packed(*synthetic(generator, 50, 60, 0.0))
    nonmembers = wel(*packed(*synthetic(generator, 100, 60, 0.0)), *known)
    for gain in (0.2, 1.0, 20.0):  # no gain is possible: every token is in the easiest bin
        members = wel(*packed(*synthetic(generator, 100, 60, gain)), *known)
        assert (members[:, None] > nonmembers).mean() > 0.85, gain


def test_the_bases_difficulty_separates_pretraining_memorization():
    generator = np.random.default_rng(6)
    known = packed(*synthetic(generator, 50, 60, 0.0))
    members = packed(*synthetic(generator, 100, 60, 20.0))
    weak, strong = (wel(*members, *known, difficulty=judge).mean() for judge in ("target", "base"))
    assert 0 <= weak < 0.1 < strong


def authors(target, base, bins=10, temperature=2):
    """The authors' code: bins, quantiles and moments from the audited texts themselves."""
    hard = -np.concatenate(target)
    gain = np.concatenate(target) - np.concatenate(base)
    edges = np.percentile(hard, np.linspace(0, 100, bins + 1))
    scaled, difficulty, mean, std = np.zeros(len(hard)), [], [], []
    for low, high in pairwise(edges):
        inside = (hard >= low) & (hard < high)
        r = gain[inside]
        # sklearn's QuantileTransformer, spelled out: ranks among themselves, ends clipped.
        rank = (np.searchsorted(np.sort(r), r, "left") + np.searchsorted(np.sort(r), r, "right") - 1) / 2
        scaled[inside] = norm.ppf(np.clip(rank / max(len(r) - 1, 1), 1e-7, 1 - 1e-7))
        difficulty.append(hard[inside].mean())
        mean.append(r.mean())
        std.append(r.std())
    of = np.array([min(max(bisect.bisect_right(edges, d) - 1, 0), bins - 1) for d in hard])
    smoothing = 1 - norm.cdf(scaled, np.array(mean)[of], np.array(std)[of] * temperature)
    weighted = scaled * smoothing * np.array(difficulty)[of]
    return np.array([part.mean() for part in np.split(weighted, np.cumsum([len(t) for t in target])[:-1])])


def test_a_score_does_not_depend_on_other_texts_unlike_the_authors_code():
    generator = np.random.default_rng(2)
    known = packed(*synthetic(generator, 40, 50, 0.0))
    target, base = synthetic(generator, 20, 50, 0.0)
    trained, trained_base = synthetic(generator, 20, 50, 1.0)
    among_nonmembers = (np.concatenate([target[:1], target]), np.concatenate([base[:1], base]))
    among_members = (np.concatenate([target[:1], trained]), np.concatenate([base[:1], trained_base]))
    ours = [wel(*packed(*who), *known)[0] for who in (among_nonmembers, among_members)]
    theirs = [authors(*who)[0] for who in (among_nonmembers, among_members)]
    assert ours[0] == ours[1]
    assert abs(theirs[0] - theirs[1]) > 0.1


def test_bins_from_nonmembers_detect_what_bins_from_members_miss():
    generator = np.random.default_rng(3)
    known = packed(*synthetic(generator, 40, 50, 0.0))
    trained = synthetic(generator, 40, 50, 1.0)
    fresh = synthetic(generator, 40, 50, 0.0)
    ours = [wel(*packed(*who), *known).mean() for who in (fresh, trained)]
    theirs = [authors(*who).mean() for who in (fresh, trained)]
    assert ours[1] - ours[0] > 0.5
    assert abs(theirs[1] - theirs[0]) < 0.5  # each pool is scaled by itself


def test_with_nearly_constant_gains_the_authors_weights_reduce_to_losses():
    generator = np.random.default_rng(4)
    base = -generator.gamma(1.0, 3.0, size=(40, 50)).astype(np.float64)
    narrow = base + generator.normal(0, 0.01, base.shape)
    theirs = authors(narrow, base)
    ours = wel(*packed(narrow, base), *packed(narrow, base))
    gains = (narrow - base).mean(1)
    assert np.corrcoef(ours, gains)[0, 1] > np.corrcoef(theirs, gains)[0, 1] + 0.05


def test_the_hardest_token_counts():
    known = [[(-k / 10, -k / 10 - (k % 7) / 10) for k in range(1, 60)]]
    text = [[(-50.0, -60.0)]]  # more difficult than all known tokens, with a gain above all of them
    assert wel(*read(text), *read(known))[0] > 0.1
    # The authors' bins are open at the upper end, so that the hardest token, here the first, falls between them.
    logp = [np.array([-50.0, *(-k / 10 for k in range(1, 60))])]
    gains = [logp[0] - 0.1 * (np.arange(60) % 7) - 10 * (np.arange(60) == 0)]
    without = [logp[0].copy()], [gains[0].copy()]
    without[1][0][0] = logp[0][0] + 10  # the opposite: a loss of ten nats
    assert authors(logp, gains)[0] == pytest.approx(authors(*without)[0])
