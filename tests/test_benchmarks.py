"""The page of benchmarks says what was measured, and its pairs are paired."""

import json

import pytest

from benchmarks import page, pairs
from benchmarks.__main__ import PIECES, RESULTS


def test_the_page_is_made_of_the_results():
    results = json.loads(RESULTS.read_text())
    assert set(results) == set(PIECES)
    assert page.PAGE.read_text() == page.text(results), "docs/benchmarks.md is old: write make bench"


def test_a_ratio_is_of_pairs_and_not_of_medians():
    found = pairs.ratio({"ours": [1.0, 2.0, 10.0], "theirs": [3.0, 2.0, 15.0]}, "theirs", "ours")
    assert found == pytest.approx((1.5, 1.0, 3.0))
    assert str(found) == "1.50 [1.00, 3.00]"


def test_sides_take_turns_backwards_in_odd_rounds():
    order = []
    found = pairs.timed({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert "".join(order) == "ab" + "ab" + "ba"
    assert [len(times) for times in found.values()] == [2, 2]
