"""Packed arrays against plain loops over texts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.core import ragged

logprobs = st.floats(-50, 0, allow_subnormal=False)
lists = st.lists(st.lists(logprobs, min_size=1, max_size=30), min_size=1, max_size=12)
shares = st.floats(0.01, 1)


def pack(texts):
    return np.array([v for text in texts for v in text]), np.cumsum([0, *map(len, texts)])


@given(lists)
def test_sums_and_means_equal_a_plain_loop(texts):
    values, starts = pack(texts)
    assert ragged.lengths(starts).tolist() == [len(text) for text in texts]
    assert np.allclose(ragged.sums(values, starts), [math.fsum(text) for text in texts], rtol=1e-12)
    assert np.allclose(ragged.means(values, starts), [math.fsum(text) / len(text) for text in texts], rtol=1e-12)


@given(lists, shares)
def test_smallest_means_equal_a_plain_loop(texts, share):
    expected = [np.mean(sorted(text)[: max(1, math.floor(share * len(text)))]) for text in texts]
    assert np.allclose(ragged.smallest_means(*pack(texts), share=share), expected, rtol=1e-12)


@given(lists, shares, st.randoms(use_true_random=False))
def test_numbers_of_a_text_are_bit_equal_at_every_position(texts, share, random):
    order = list(range(len(texts)))
    random.shuffle(order)
    here, there = pack(texts), pack([texts[i] for i in order])
    assert np.array_equal(ragged.sums(*here)[order], ragged.sums(*there))
    assert np.array_equal(ragged.smallest_means(*here, share=share)[order], ragged.smallest_means(*there, share=share))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sums_are_in_float64_for_every_input_type(dtype):
    values = np.full(100_000, 0.1, dtype=dtype)
    summed = ragged.sums(values, np.array([0, 100_000]))
    assert summed.dtype == np.float64
    assert summed[0] == pytest.approx(100_000 * float(dtype(0.1)), rel=1e-12)


def test_the_order_of_long_float32_texts_does_not_change_the_last_bit():
    generator = np.random.default_rng(0)
    texts = [generator.gamma(2.0, size=n).astype(np.float32) for n in (20_000, 7, 9_001, 1)]
    starts = np.cumsum([0, *map(len, texts)])
    complete = ragged.sums(np.concatenate(texts), starts)
    assert complete.tolist() == [float(ragged.sums(text, np.array([0, len(text)]))[0]) for text in texts]


def test_at_least_one_token_counts_and_a_share_of_one_counts_all():
    values, starts = pack([[-3.0, -1.0, -2.0], [-7.0]])
    assert ragged.smallest_means(values, starts, share=0.01).tolist() == [-3.0, -7.0]
    assert ragged.smallest_means(values, starts, share=2 / 3).tolist() == [-2.5, -7.0]
    assert ragged.smallest_means(values, starts, share=1.0).tolist() == [-2.0, -7.0]


@given(lists, shares)
def test_smallest_values_equal_a_plain_loop(texts, share):
    expected = [
        at in sorted(range(len(text)), key=lambda t: (text[t], t))[: max(1, math.floor(share * len(text)))]
        for text in texts
        for at in range(len(text))
    ]
    assert ragged.smallest_mask(*pack(texts), share=share).tolist() == expected


@given(lists, st.integers(1, 40))
def test_window_sums_equal_a_plain_loop(texts, width):
    sums, starts = ragged.window_sums(*pack(texts), width=width)
    expected = [[math.fsum(t[i : i + width]) for i in range(max(len(t) - width, 0) + 1)] for t in texts]
    assert starts.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert np.allclose(sums, [s for text in expected for s in text], rtol=1e-12)


@given(lists, st.integers(1, 40))
def test_preceding_texts_do_not_change_the_last_bit_of_a_window(texts, width):
    together = ragged.window_sums(*pack(texts), width=width)
    alone = [ragged.window_sums(*pack([text]), width=width)[0] for text in texts]
    assert np.array_equal(together[0], np.concatenate(alone))


def test_zero_texts_give_zero_numbers():
    nothing = np.zeros(0), np.array([0])
    assert len(ragged.means(*nothing)) == len(ragged.smallest_means(*nothing, share=0.2)) == 0
    assert len(ragged.window_sums(*nothing, width=3)[0]) == 0
