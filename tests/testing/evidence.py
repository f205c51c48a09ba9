"""Evidence and scores made up for metrics."""

import numpy as np

from byheart.core.types import LogProbs

MEMBERS, NONMEMBERS = 110, 130


def alone(count):
    return tuple(f"g{i}" for i in range(count))


def packed(texts):
    return LogProbs(logp=np.concatenate(texts), starts=np.cumsum([0, *map(len, texts)]))


def readings(seed, count, mean):
    generator = np.random.default_rng(seed)
    return [-generator.gamma(2.0, mean / 2, size=n) for n in generator.integers(1, 40, count)]


def free(metric, *evidence):
    """The metric with each text as its own group."""
    return metric(*evidence, *(alone(len(one)) for one in evidence))
