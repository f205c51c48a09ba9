"""CAMIA: each signal against its definition as a loop, the p-values, and differences from the authors' code."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byheart.attacks import camia as module
from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.core.types import LogProbs

camia = registry.load_function("attacks", "camia")

NAMES = (
    "loss",
    "above mean",
    "above previous",
    "unlikely 1",
    "unlikely 2",
    "unlikely 3",
    "change of unlikely 1",
    "change of unlikely 2",
    "change of unlikely 3",
    "change of loss",
    "fall",
    "words 3",
    "words 4",
    "words 5",
    "entropy",
)

# Sixteenths of a nat: sums are exact, so comparisons with a mean equal those of a loop.
losses = st.lists(st.lists(st.integers(0, 100).map(lambda k: k / 16), min_size=1, max_size=20), min_size=1, max_size=5)


def read(texts):
    logp = -np.array([x for text in texts for x in text], dtype=np.float32)
    return LogProbs(logp=logp, starts=np.cumsum([0, *map(len, texts)]))


def lempel_ziv(series, steps):
    """The authors' parsing, over steps of equal size between the lowest and the highest value."""
    low, high = min(series), max(series)
    symbols = [min(int((x - low) / (high - low) * steps), steps - 1) if high > low else 0 for x in series]
    known, at, length = set(), 0, 1
    while at + length <= len(symbols):
        word = tuple(symbols[at : at + length])
        if word in known:
            length += 1
        else:
            known.add(word)
            at, length = at + length, 1
    return len(known) / len(symbols)


def pincus(series, m=2, r=0.8):
    """Approximate entropy as Pincus defines it, window by window."""
    if len(series) <= m + 1:
        return math.inf
    tolerance = r * np.std(series)

    def phi(width):
        windows = [series[i : i + width] for i in range(len(series) - width + 1)]
        alike = [
            sum(max(abs(a - b) for a, b in zip(one, other, strict=True)) <= tolerance for other in windows)
            for one in windows
        ]
        return sum(math.log(count / len(windows)) for count in alike) / len(windows)

    return abs(phi(m) - phi(m + 1))


def plain(first, second):
    """Every signal of one text, in the order of NAMES."""
    n = len(first)
    mean = sum(first) / n
    before = [first[t] > sum(first[:t]) / t for t in range(1, n)]
    share = [[sum(x > nats for x in one) / n for nats in (1, 2, 3)] for one in (first, second)]
    return [
        mean,
        sum(x > mean for x in first) / n,
        sum(before) / len(before) if before else math.inf,
        *share[0],
        *(a - b for a, b in zip(*share, strict=True)),
        mean - sum(second) / n,
        -np.polyfit(range(2 * n), [*first, *second], 1)[0],
        *(lempel_ziv(first, steps) for steps in (3, 4, 5)),
        pincus(first),
    ]


@settings(deadline=None, max_examples=60)
@given(losses, st.integers(1, 8))
def test_every_signal_equals_its_definition(texts, divisor):
    second = [[x / divisor for x in text] for text in texts]
    found = module._signals(read(texts), read(second), ())
    rounded = [[float(np.float32(x)) for x in text] for text in second]
    expected = np.array([plain(a, b) for a, b in zip(texts, rounded, strict=True)]).T
    for name, ours, theirs in zip(NAMES, found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9, err_msg=name)


@given(losses, st.integers(1, 12))
def test_a_cut_selects_the_beginning(texts, cut):
    given_ = read(texts)
    with_cut = module._signals(given_, given_, (cut,))
    shortened = read([text[:cut] for text in texts])
    assert np.array_equal(with_cut[3:6], module._signals(shortened, shortened, ())[:3])
    assert np.array_equal(np.delete(with_cut, [3, 4, 5], axis=0), module._signals(given_, given_, ()))


def test_word_signals_by_hand():
    # 1 | 0 | 01 | 11, the usual example of the parsing; a known remainder is not a word
    assert module._lempel_ziv_complexity(np.array([1.0, 0, 0, 1, 1, 1]), 2) == 4 / 6
    assert module._lempel_ziv_complexity(np.array([1.0, 0, 0, 1, 1, 1, 0]), 2) == 4 / 7
    assert module._lempel_ziv_complexity(np.zeros(10), 3) == 4 / 10  # 0 | 00 | 000 | 0000
    assert module._lempel_ziv_complexity(np.array([2.5]), 3) == 1.0


def test_entropy_by_hand():
    assert module._approximate_entropy(np.full(40, 0.25)) == 0.0
    regular = module._approximate_entropy(np.tile([0.0, 1.0], 40))
    irregular = module._approximate_entropy(np.random.default_rng(0).integers(0, 2, 80).astype(float))
    assert regular < 0.02 < irregular


def texts_of(generator, count, gain):
    """Losses of texts that are read twice. Losses of members are lower in the first reading and hardly lower in the second."""
    first = [generator.gamma(1.0, 3.0, n) * math.exp(-gain) for n in generator.integers(15, 60, count)]
    return read(first), read([x * generator.uniform(0.1, 0.3, len(x)) * math.exp(gain) for x in first])


@pytest.mark.parametrize("combine", ["edgington", "fisher"])
def test_p_values_are_combined(combine):
    generator = np.random.default_rng(0)
    (known, known_again), (judged, judged_again) = texts_of(generator, 9, 0.0), texts_of(generator, 5, 0.3)
    of_known, of_judged = (module._signals(*two, ()) for two in ((known, known_again), (judged, judged_again)))
    p = [[(1 + sum(k <= x for k in row)) / 10 for row, x in zip(of_known, text, strict=True)] for text in of_judged.T]
    assert 0.1 <= np.min(p) < np.max(p) <= 1
    expected = [-sum(one) / 15 if combine == "edgington" else -2 * sum(map(math.log, one)) for one in p]
    np.testing.assert_allclose(camia(judged, judged_again, known, known_again, combine=combine), expected, rtol=1e-12)


def test_signs_of_all_signals_follow_from_theory():
    generator = np.random.default_rng(1)
    nonmembers, members = (module._signals(*texts_of(generator, 300, gain), ()) for gain in (0.0, 1.0))
    for name, fresh, trained in zip(NAMES, nonmembers, members, strict=True):
        lower = (trained[:, None] < fresh).mean() + (trained[:, None] == fresh).mean() / 2
        # A common factor does not change the shape of losses, and some signals depend only on the shape.
        shape = name.startswith(("words", "above", "entropy"))
        assert 0.4 < lower < 0.6 if shape else lower > 0.45, (name, lower)


def by_heart(generator, count):
    """Losses of memorized texts: low and even, with a few peaks, and hardly lower in the second reading."""
    peaks = [np.where(generator.random(n) < 0.05, 2.0, 1e-3) for n in generator.integers(15, 60, count)]
    return read(peaks), read([x * 0.9 for x in peaks])


def test_a_memorized_text_has_lower_signals():
    generator = np.random.default_rng(5)
    nonmembers = module._signals(*texts_of(generator, 200, 0.0), ())
    for name, fresh, heart in zip(NAMES, nonmembers, module._signals(*by_heart(generator, 200), ()), strict=True):
        assert (heart[:, None] < fresh).mean() > 0.85, name


def test_entropy_of_long_runs_would_be_reversed_in_a_short_text():
    """With the authors' m = 8, the least regular text has no repeated pattern and gets the lowest entropy."""
    generator = np.random.default_rng(6)
    fresh, heart = [generator.gamma(1.0, 3.0, 75) for _ in range(20)], [np.zeros(75) for _ in range(20)]
    for series in heart:
        series[generator.choice(75, 5, replace=False)] = 2.0
    long_runs, short_runs = ([np.mean([pincus(s, m=m) for s in some]) for some in (fresh, heart)] for m in (8, 2))
    assert long_runs[0] < long_runs[1]
    assert short_runs[0] > short_runs[1]


def test_a_memorized_text_scores_highest_in_every_combination():
    generator = np.random.default_rng(2)
    known, fresh = texts_of(generator, 40, 0.0), texts_of(generator, 100, 0.0)
    heart = by_heart(generator, 100)
    for combine in ("edgington", "fisher"):
        nonmembers, members = (camia(*texts, *known, combine=combine) for texts in (fresh, heart))
        assert (members[:, None] > nonmembers).mean() > 0.97


def test_one_token_texts_are_neutral_in_missing_signals():
    known = read([[1.0, 2.0, 0.5] * 8, [0.2]]), read([[0.5, 1.0, 0.1] * 8, [0.1]])
    judged = read([[0.7]]), read([[0.2]])
    signals = dict(zip(NAMES, module._signals(*judged, ())[:, 0], strict=True))
    assert signals["above previous"] == signals["entropy"] == math.inf
    assert np.isfinite(camia(*judged, *known)).all()
    # The authors' entropy of such a text is 0, the minimum.
    longer = module._signals(*known, ())[NAMES.index("entropy"), 0]
    assert 0 < longer < math.inf


def test_a_cut_that_no_known_text_reaches_is_left_out():
    generator = np.random.default_rng(3)
    known, judged = texts_of(generator, 20, 0.0), texts_of(generator, 6, 0.3)
    longest = int(np.diff(known[0].starts).max())
    assert np.array_equal(camia(*judged, *known, cuts=(longest, 300)), camia(*judged, *known, cuts=()))
    assert not np.array_equal(camia(*judged, *known, cuts=(10,)), camia(*judged, *known, cuts=()))


def test_labels_of_audited_texts_do_not_flip_signs_unlike_the_authors_code():
    """If members happen to be less likely texts, the authors' code flips the sign of the loss."""
    generator = np.random.default_rng(4)
    known = texts_of(generator, 50, 0.0)
    easy, hard = texts_of(generator, 50, 0.7), texts_of(generator, 50, -0.7)  # no text is a member
    loss = np.concatenate([module._signals(*x, ())[0] for x in (easy, hard)])
    members = np.arange(100) >= 50  # the difficult texts
    theirs = -loss if loss[members].mean() > loss[~members].mean() else loss
    assert (theirs[members][:, None] < theirs[~members]).mean() > 0.9  # "less" means member
    ours = np.concatenate([camia(*x, *known) for x in (easy, hard)])
    assert (ours[members][:, None] > ours[~members]).mean() < 0.2


def test_known_texts_are_required_and_settings_checked():
    one = read([[1.0, 2.0]])
    none = LogProbs(logp=np.zeros(0), starts=np.array([0]))
    with pytest.raises(DataError, match=r"attacks camia: .*data\.known"):
        camia(one, one, none, none)
    for wrong in ({"combine": "stouffer"}, {"cuts": [0]}):
        with pytest.raises(SettingError, match="attacks camia"):
            registry.choose("attacks", "camia", wrong)
