"""Made-up evidence of shadow models."""

import numpy as np

from byheart.core import registry
from byheart.core.evidence import Shadows
from byheart.core.types import LogProbs

ATTACKS = {name: registry.load_function("attacks", name) for name in ("lira", "rmia", "info_rmia")}
lira, rmia, info_rmia = ATTACKS.values()


def requested(attack, target, shadows, population):
    return (target, shadows, population) if attack is rmia else (target, shadows)


MEANS, SPREAD, GAIN = (-3.0, 0.7), (0.1, 0.2), 0.3


def drawn(pairs, *, texts=3000, population=200, tokens=1, seed=0, spreads=None):
    """A target and shadow models with normal mean log-probabilities; models with the text are higher by `GAIN`.

    The first half of the texts are members. `spreads` is a factor for each text.
    """
    chance = np.random.default_rng(seed)
    level = chance.normal(*MEANS, texts)
    factor = np.ones(texts) if spreads is None else spreads
    firsts = [chance.permutation(np.arange(texts) % 2 == 0) for _ in range(pairs)]
    inside = np.array([half for first in firsts for half in (first, ~first)])
    members = np.arange(texts) < texts // 2
    was = np.vstack([members[None], inside])
    phi = chance.normal(level + GAIN * was, np.where(was, *SPREAD) * factor)
    common = chance.normal(chance.normal(*MEANS, population), SPREAD[1], (len(was), population))

    def spread(values):
        # Unequal tokens with the mean that was drawn.
        return np.repeat(values, tokens, axis=-1) + np.tile(
            np.linspace(-0.5, 0.5, tokens) if tokens > 1 else 0.0, values.shape[-1]
        )

    starts = np.arange(0, texts * tokens + 1, tokens)
    others = np.arange(0, population * tokens + 1, tokens)
    shadows = Shadows(
        logp=spread(phi[1:]), starts=starts, inside=inside, population_logp=spread(common[1:]), population_starts=others
    )
    return LogProbs(logp=spread(phi[0]), starts=starts), shadows, LogProbs(logp=spread(common[0]), starts=others)
