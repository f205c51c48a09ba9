"""Evidence and scores made up for metrics."""

import numpy as np

from byheart.core.types import LogProbs, TokenStats

MEMBERS, NONMEMBERS = 110, 130


def alone(count):
    return tuple(f"g{i}" for i in range(count))


def packed(texts):
    return LogProbs(logp=np.concatenate(texts), starts=np.cumsum([0, *map(len, texts)]))


def ranked(logprobs):
    """The same with ranks: the likelier half of the tokens are the most likely ones."""
    ranks = (logprobs.logp < np.median(logprobs.logp)).astype(np.int64)
    others = dict.fromkeys(("mean", "std", "entropy"), np.ones(len(ranks)))
    return TokenStats(logp=logprobs.logp, starts=logprobs.starts, rank=ranks, **others)


def readings(seed, count, mean):
    generator = np.random.default_rng(seed)
    return [-generator.gamma(2.0, mean / 2, size=n) for n in generator.integers(1, 40, count)]


def free(metric, *evidence):
    """The metric with each text as its own group."""
    return metric(*evidence, *(alone(len(one)) for one in evidence))
