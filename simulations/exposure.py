"""Coverage of the interval of extrapolated exposure, by the distribution of the references' log-likelihoods."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import gumbel_r, laplace, logistic, norm, skewnorm, t

from byheart.core.split import PlantedCanaries
from byheart.core.types import Estimate, LogProbs, Texts
from byheart.metrics._nll import mean_nll
from byheart.metrics.exposure import exposure
from simulations.pieces import Piece

REFERENCES = 200
CANARIES = 8
SPACE = 103.0  # bits
SPREAD = 0.2  # of the canaries' exposures around their mean, in relation to it
BITS = (5, 10, 20)
LAWS: Mapping[str, Any] = {
    "normal": norm,
    "logistic": logistic,
    "Gumbel, long tail of likely references": gumbel_r,
    "Laplace": laplace,
    "Student's t, 5 degrees of freedom": t(5),
}


def named(name: str, count: int) -> Texts:
    """Return this number of different texts."""
    return Texts(tuple(f"{name}{i}" for i in range(count)), tuple(f"{name} {i}" for i in range(count)))


PLANTED = PlantedCanaries(
    texts=named("canary", CANARIES),
    included=(True,) * CANARIES,
    repetitions=(1,) * CANARIES,
    kinds=("random_tokens",) * CANARIES,
    coin=0.5,
    references=named("reference", REFERENCES),
    reference_kinds=("random_tokens",) * REFERENCES,
    bits={"random_tokens": SPACE},
)


def packed(loglik: np.ndarray) -> LogProbs:
    """Return evidence of texts of one token."""
    return LogProbs(logp=loglik - 1000.0, starts=np.arange(len(loglik) + 1))


def study(law: Any, bits: int, chance: np.random.Generator) -> dict[str, bool]:
    """Measure canaries of known exposure: does the interval contain their mean exposure?"""
    truths = bits * chance.uniform(1 - SPREAD, 1 + SPREAD, CANARIES)
    canaries, references = law.isf(2.0**-truths), law.rvs(size=REFERENCES, random_state=chance)
    found = exposure(packed(canaries), packed(references), PLANTED, estimate="extrapolation")
    former = without_test(canaries, references)
    return {
        "interval": holds(found, bits),
        "without a test of fit": holds(former, bits),
        "value within a quarter": abs(found.value / bits - 1) <= 0.25,
        "value without a test within a quarter": abs(former.value / bits - 1) <= 0.25,
        "no high end": found.high is None,
    }


def holds(estimate: Estimate, truth: float) -> bool:
    """Whether an interval contains the true value; a missing end is infinite."""
    return (estimate.low or 0.0) <= truth <= (math.inf if estimate.high is None else estimate.high)


def without_test(canaries: np.ndarray, references: np.ndarray) -> Estimate:
    """Return the mean exposure of the paper's fit without a test of fit, with the interval of the mean alone."""
    shape, location, scale = skewnorm.fit(-references)
    with np.errstate(divide="ignore"):
        nats = -skewnorm.logcdf((-canaries - location) / scale, shape)
    bits = np.nan_to_num(np.minimum(nats / math.log(2), SPACE), nan=SPACE)
    if bits.std() == 0:
        return Estimate(float(bits[0]), float(bits[0]), float(bits[0]))
    interval = mean_nll(
        LogProbs(logp=-bits, starts=np.arange(len(bits) + 1)), tuple(map(str, range(len(bits))))
    ).interval
    return Estimate(float(bits.mean()), *(interval or (None, None)))


def pieces() -> Iterator[Piece]:
    """Yield every piece of the table of extrapolated exposure; the size of a piece is the true exposure in bits."""
    for name, law in LAWS.items():
        for bits in BITS:
            yield Piece("exposure", name, bits, partial(study, law, bits), cost=40)
