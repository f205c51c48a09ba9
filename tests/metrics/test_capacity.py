"""Capacity against its definition as a plain loop, and its interval by simulation."""

import math

import numpy as np
import pytest

from byheart.core.types import LogProbs
from byheart.metrics.capacity import capacity
from testing.evidence import alone, packed, readings
from testing.measured import base_of


def test_capacity_is_the_plain_loop():
    train, nonmember = packed(readings(0, 30, 2.0)), packed(readings(1, 20, 3.0))
    base = base_of(train, nonmember)
    found = capacity(train, nonmember, base, 500, alone(30), alone(20))
    saved = {"members": 0.0, "nonmembers": 0.0}
    tokens = {"members": 0, "nonmembers": 0}
    for i in range(50):
        of, text = ("members", i) if i < 30 else ("nonmembers", i - 30)
        tuned = train if of == "members" else nonmember
        for t in range(tuned.starts[text], tuned.starts[text + 1]):
            there = base.starts[i] + t - tuned.starts[text]
            saved[of] += float(tuned.logp[t]) - float(base.logp[there])
            tokens[of] += 1
    total = saved["members"] / math.log(2) / 500
    beyond = total - saved["nonmembers"] / tokens["nonmembers"] * tokens["members"] / math.log(2) / 500
    assert found["saving=total"].value == pytest.approx(total, rel=1e-9)
    assert found["saving=beyond"].value == pytest.approx(beyond, rel=1e-6, abs=1e-9)
    assert (found["saving=total"].members, found["saving=total"].nonmembers) == (30, None)
    assert (found["saving=beyond"].members, found["saving=beyond"].nonmembers) == (30, 20)


def test_twice_the_parameters_are_half_the_bits_and_the_base_model_has_none():
    train, nonmember = packed(readings(0, 30, 2.0)), packed(readings(1, 20, 3.0))
    base = base_of(train, nonmember)
    one, two = (capacity(train, nonmember, base, n, alone(30), alone(20))["saving=total"] for n in (500, 1000))
    assert one[:3] == pytest.approx([2 * x for x in two[:3]])
    same = base_of(train, nonmember, nats=0.0)
    nothing = capacity(
        LogProbs(logp=same.logp[: len(train.logp)], starts=train.starts),
        LogProbs(logp=same.logp[len(train.logp) :], starts=nonmember.starts),
        same,
        500,
        alone(30),
        alone(20),
    )
    assert all(e[:3] == (0.0, 0.0, 0.0) for e in nothing.values())


def drawn(seed, *, gain):
    """Texts whose saving per token is `gain` plus generalization of 0.3 nats, with noise of the text and of the token."""
    chance = np.random.default_rng(seed)
    lengths = chance.integers(5, 40, 80)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    saving = 0.3 + gain + np.repeat(chance.normal(0, 0.3, 80), lengths) + chance.normal(0, 0.5, starts[-1])
    base = -chance.gamma(2, 2, starts[-1]) - 20
    return LogProbs(logp=base + saving, starts=starts), LogProbs(logp=base, starts=starts)


@pytest.mark.usefixtures("many_calls")
def test_the_interval_beyond_generalization_covers_the_memorized_bits():
    covered = 0
    for seed in range(300):
        (train, train_base), (nonmember, nonmember_base) = drawn((seed, 0), gain=0.5), drawn((seed, 1), gain=0.0)
        base = LogProbs(
            logp=np.concatenate([train_base.logp, nonmember_base.logp]),
            starts=np.concatenate([train_base.starts, train_base.starts[-1] + nonmember_base.starts[1:]]),
        )
        found = capacity(train, nonmember, base, 1000, alone(80), alone(80))["saving=beyond"]
        truth = 0.5 * len(train.logp) / math.log(2) / 1000
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 300 <= 0.98
