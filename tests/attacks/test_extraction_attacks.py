"""Extraction attacks against the papers' formulas as plain loops, on made-up generated and true tokens."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.attacks.approximate import approximate
from byheart.attacks.discoverable import discoverable
from byheart.attacks.probabilistic import probabilistic
from byheart.core import registry
from byheart.core.attack_output import is_extraction_attack, output_arrays
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import GreedyContinuation, SamplingLogProbs, evidence_from_arrays, evidence_to_arrays
from byheart.core.types import Extraction

suffixes = st.lists(st.integers(0, 4), min_size=1, max_size=9)
cases = st.lists(st.tuples(suffixes, st.lists(st.integers(0, 4), max_size=9)), min_size=1, max_size=4)


def read(texts):
    """Texts as pairs of the suffix and the generated tokens."""
    true, written = zip(*texts, strict=True)
    return GreedyContinuation(
        true=np.array([t for text in true for t in text], dtype=np.int64),
        starts=np.cumsum([0, *map(len, true)]),
        written=np.array([t for text in written for t in text], dtype=np.int64),
        written_starts=np.cumsum([0, *map(len, written)]),
    )


@given(cases)
def test_discoverable_requires_every_token_and_scores_the_correct_prefix(texts):
    found = discoverable(read(texts))
    for i, (true, written) in enumerate(texts):
        right = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(true, written, strict=False)))
        assert found.scores[i] == right / len(true)
        assert found.extracted[i] == (written[: len(true)] == true)
        assert found.tokens[i] == len(true)


def levenshtein(one, other):
    """The definition by recursion."""
    if not one or not other:
        return len(one) + len(other)
    changed = levenshtein(one[1:], other[1:]) + (one[0] != other[0])
    return min(changed, levenshtein(one[1:], other) + 1, levenshtein(one, other[1:]) + 1)


def ngrams(text, n):
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def plain_bleu(written, true):
    precision = 1.0
    orders = min(4, len(true))
    for n in range(1, orders + 1):
        mine, left, right = ngrams(written, n), ngrams(true, n), 0
        for gram in mine:
            if gram in left:
                left.remove(gram)
                right += 1
        if not right:
            return 0.0
        precision *= (right / len(mine)) ** (1 / orders)
    return precision * (1.0 if len(written) >= len(true) else math.exp(1 - len(true) / len(written)))


def plain_substring(written, true):
    runs = {tuple(true[i:j]) for i in range(len(true)) for j in range(i + 1, len(true) + 1)}
    own = {tuple(written[i:j]) for i in range(len(written)) for j in range(i + 1, len(written) + 1)}
    return max(map(len, runs & own), default=0) / len(true)


@given(
    st.lists(st.tuples(suffixes.map(lambda s: s[:6]), st.lists(st.integers(0, 2), max_size=6)), min_size=1, max_size=3)
)
def test_similarity_equals_the_definitions(texts):
    for by, plain in (
        ("bleu", plain_bleu),
        ("edit", lambda w, t: 1 - levenshtein(w, t) / max(len(w), len(t))),
        ("substring", plain_substring),
    ):
        found = approximate(read(texts), by=by)
        assert found.scores == pytest.approx([plain(written, true) for true, written in texts], abs=1e-12), by


def test_by_hand():
    """Twenty tokens with one wrong token: approximate by every measure, and not verbatim."""
    true = list(range(20))
    one_off, two_off, three_off = (true.copy() for _ in range(3))
    for text, places in ((one_off, [3]), (two_off, [0, 19]), (three_off, [3, 9, 15])):
        for place in places:
            text[place] = 99
    found = read([(true, one_off), (true, two_off), (true, three_off), (true, true), (true, [])])
    assert discoverable(found).extracted.tolist() == [False, False, False, True, False]
    assert discoverable(found).scores.tolist() == [3 / 20, 0, 3 / 20, 1, 0]
    edit = approximate(found, by="edit")
    assert edit.scores.tolist() == [0.95, 0.9, 0.85, 1, 0]
    assert edit.extracted.tolist() == [True, True, False, True, False]  # 0.9 itself is within 10 %
    bleu = approximate(found)
    assert bleu.scores[0] == pytest.approx((19 / 20 * 17 / 19 * 15 / 18 * 13 / 17) ** 0.25)
    assert bleu.extracted.tolist() == [True, True, False, True, False]
    run = approximate(found, by="substring")
    assert run.scores.tolist() == [16 / 20, 18 / 20, 5 / 20, 1, 0]
    assert approximate(found, by="substring", threshold=0.85).extracted.tolist() == [False, True, False, True, False]


def test_a_copy_of_a_short_suffix_counts_as_a_copy():
    """BLEU of four-grams would be 0 for fewer than four tokens."""
    found = approximate(read([([1, 2], [1, 2]), ([1], [1]), ([1, 2], [1])]))
    assert found.scores.tolist() == [1, 1, 0]


def chances(texts):
    return SamplingLogProbs(
        logp=np.array([v for t in texts for v in t], dtype=np.float64), starts=np.cumsum([0, *map(len, texts)])
    )


@given(
    st.lists(st.lists(st.floats(-4, 0), min_size=1, max_size=6), min_size=1, max_size=5),
    st.integers(1, 5000),
    st.floats(0.01, 0.99),
)
def test_n_samples_extract_with_probability_p(texts, n, p):
    found = probabilistic(chances(texts), n=n, p=p)
    for i, text in enumerate(texts):
        once = math.prod(math.exp(v) for v in text)
        assert found.scores[i] == pytest.approx(once)
        # The paper's form: the number of samples that is needed.
        needed = 1 if once >= 1 else math.log(1 - p) / math.log1p(-once)
        if abs(needed - n) > 1e-6 * n:
            assert found.extracted[i] == (n >= needed)


def test_impossible_suffixes_are_never_and_certain_ones_always_extracted():
    found = probabilistic(chances([[-1.0, -np.inf], [0.0, 0.0], [-30.0, -6.0]]), n=10**9, p=0.01)
    assert found.scores.tolist() == pytest.approx([0.0, 1.0, math.exp(-36)])
    assert found.extracted.tolist() == [False, True, False]
    # One minus such a small number is 1.0: without log1p no number of samples would suffice.
    assert probabilistic(chances([[-34.0, -6.0]]), n=10**18, p=0.5).extracted.tolist() == [True]
    assert probabilistic(chances([[0.0]]), n=1, p=0.99).extracted.tolist() == [True]


def test_settings_out_of_range_raise_an_error():
    for name, wrong in (
        ("probabilistic", {"n": 0}),
        ("probabilistic", {"p": 1.0}),
        ("approximate", {"by": "rouge"}),
        ("approximate", {"threshold": 0.0}),
    ):
        with pytest.raises(SettingError, match=f"attacks {name}"):
            registry.choose("attacks", name, wrong)


def test_extraction_attacks_are_recognized():
    honest, other = registry.choose("attacks", "discoverable"), registry.choose("attacks", "loss")
    assert is_extraction_attack(honest)
    assert not is_extraction_attack(other)
    found = Extraction(np.array([1.0, 0.5]), np.array([True, False]), np.array([3, 4]))
    assert set(output_arrays(honest, found, 2)) == {"scores", "extracted", "tokens"}
    assert set(output_arrays(other, found.scores, 2)) == {"scores"}
    for attack, given_ in ((other, found), (honest, found.scores)):
        with pytest.raises(DataError, match="declared `-> Extraction`"):
            output_arrays(attack, given_, 2)
    with pytest.raises(DataError, match=r"attacks discoverable: .*shape"):
        output_arrays(honest, found, 3)


def test_extractions_are_stored_without_pickle():
    for kind, found in (
        ("GreedyContinuation", read([([1, 2], [1]), ([3], [])])),
        ("SamplingLogProbs", chances([[-1.0, -np.inf]])),
    ):
        again = evidence_from_arrays(kind, evidence_to_arrays(found))
        assert all(np.array_equal(a, evidence_to_arrays(found)[n]) for n, a in evidence_to_arrays(again).items())


def test_scores_that_are_not_numbers_are_refused():
    for wrong in (np.nan, 0.1):
        with pytest.raises(DataError, match="at most 0"):
            chances([[wrong]])
