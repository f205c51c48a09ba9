"""Made-up evidence of metrics beyond membership: drift, completions, shadow models, and the base model's log-probabilities.

Each function takes the order of the texts, so that a test can turn them around.
"""

import numpy as np

from byheart.core.activations import Drift
from byheart.core.completions import Completions
from byheart.core.evidence import Shadows
from byheart.core.types import LogProbs

LAYERS = 3
WORDS = ("red", "green", "blue", "old", "young", "house", "river", "sings")


def drifted(order, *, observed=2):
    """Drift of every `observed`-th text, from numbers of its own."""
    positions = [i for i, text in enumerate(order) if text % observed == 0]
    drawn = [np.random.default_rng([11, order[i]]) for i in positions]
    columns = {"hidden": LAYERS + 1, "cosine": LAYERS + 1, "attention": LAYERS, "virtual": LAYERS, "next_token": 1}
    numbers = {name: np.stack([d.random(width) for d in drawn]) for name, width in columns.items()}
    return Drift(text=np.array(positions), **{**numbers, "next_token": numbers["next_token"][:, 0]})


def shadowed(order, *, models=6, gain=1.0):
    """Shadow models that were each trained on half of the texts, which makes those likelier by `gain`."""
    lengths = [3 + text % 4 for text in order]
    inside = np.array([[(text + model) % 2 == 0 for text in order] for model in range(models)])
    logp = [
        [
            -np.random.default_rng([12, model, text]).gamma(2, 1, 3 + text % 4) + gain * inside[model, i]
            for i, text in enumerate(order)
        ]
        for model in range(models)
    ]
    return Shadows(
        logp=np.stack([np.concatenate(texts) for texts in logp]),
        starts=np.cumsum([0, *lengths]),
        inside=inside,
        population_logp=np.empty((models, 0)),
        population_starts=np.zeros(1, dtype=np.int64),
    )


def sentence(seed):
    chance = np.random.default_rng([13, seed])
    return " ".join(chance.choice(WORDS, 5 + int(chance.integers(4)))) + "."


def completed(order):
    """One generated completion for each text, with one or two true ones that share words with it."""
    written, references = [], []
    for text in order:
        true = [sentence(10 * text + k) for k in range(1 + text % 2)]
        written.append(" ".join(true[0].split()[:3]) + " " + sentence(10 * text + 9))
        references.append(true)
    return Completions(
        text=np.arange(len(order)),
        written=tuple(written),
        references=tuple(r for true in references for r in true),
        starts=np.cumsum([0, *map(len, references)]),
    )


def base_of(*tuned, nats=1.0):
    """Log-probabilities of the same texts under a base model that is worse by `nats` per token, and noise of each token."""
    logp = np.concatenate([t.logp for t in tuned])
    starts = np.cumsum([0, *(int(n) for t in tuned for n in np.diff(t.starts))])
    return LogProbs(logp=logp - nats + 0.1 * np.sin(100 * logp), starts=starts)
