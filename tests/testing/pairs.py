"""Cases of large products: a part in every run, all of them in the slow tests."""

import itertools

import pytest


def some_of(cases, kept):
    """Return all cases; cases that are not among `kept` are marked slow."""
    return [pytest.param(case, marks=() if case in kept else pytest.mark.slow) for case in cases]


def some_pairs(first, second):
    """Return all pairs; pairs without a new value of the longer parameter are marked slow."""
    shorter = min(len(first), len(second))
    return [
        pytest.param(a, b, marks=() if i % shorter == j % shorter else pytest.mark.slow)
        for (i, a), (j, b) in itertools.product(enumerate(first), enumerate(second))
    ]
