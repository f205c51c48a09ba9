"""Attribute inference on models that prefer trained values, or that associate values with persons.

Every study draws records with one private value each, chooses the candidates as the observation does, and measures the advantage
as the metric does. Only the log-probabilities are simulated: of each value, of each value that was trained on, and of each
true value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from byheart.core.evidence import Candidates, Variants
from byheart.core.types import Texts
from byheart.data.private_attributes import other_values
from byheart.metrics.attribute_inference import attribute_inference
from simulations.pieces import Piece

TEXTS = (48, 200)
LIMIT = 9
ADVANTAGES = {
    "unseen, over non-members": "pool=unseen, measure=advantage, over=nonmembers",
    "trained, over non-members": "pool=trained, measure=advantage, over=nonmembers",
    "trained, over base model": "pool=trained, measure=advantage, over=untuned",
    "trained, over majority": "pool=trained, measure=advantage, over=majority",
}
ALL = "trained, over all three"
"""What is counted: how often the lower end of this advantage is above 0, and of all three with trained values."""

NOMINAL = 0.025
"""How often the lower end of a 95 % interval is above 0 at most, where the advantage is 0."""


class Model(NamedTuple):
    """The numbers that a model adds to log-probabilities (nats), by cause.

    `trained` is added to trained values, `doubling` for each doubling of their number of training texts, `bound` to a member's
    true value. `skill` is what the model and its base model add to every true value, because the rest of the text suggests it.
    `distinct` is the number of values in all texts; 0 means that each text has its own.
    """

    trained: float = 0.0
    doubling: float = 0.0
    bound: float = 0.0
    skill: float = 0.0
    distinct: int = 0


MODELS = {
    "learned nothing": Model(),
    "prefers trained values": Model(trained=6),
    "prefers trained values, text suggests the value": Model(trained=6, skill=2),
    "prefers trained values, 24 values": Model(trained=6, distinct=24),
    "prefers frequent values, 24 values": Model(trained=6, doubling=2, distinct=24),
    "knows whose the values are": Model(trained=6, bound=3),
    "knows whose the values are, 24 values": Model(trained=6, bound=3, distinct=24),
}


def promised(model: str) -> tuple[str, ...]:
    """Return the advantages whose true value is 0 under a model."""
    if MODELS[model].bound:
        return ()
    if MODELS[model].doubling:
        return "trained, over majority", ALL
    without_majority = ("trained, over non-members", "trained, over base model", ALL)
    names = without_majority if MODELS[model].skill else (*without_majority, "trained, over majority")
    return names if MODELS[model].trained and not MODELS[model].distinct else ("unseen, over non-members", *names)


def measured(model: Model, texts: int, chance: np.random.Generator) -> dict[str, float]:
    """Return the lower ends of the advantages of one study, with as many members as non-members and half as many validation texts.

    The same number of training texts is not audited.
    """
    count = 3 * texts + texts // 2
    numbers = chance.permutation(10**6)[:count] if not model.distinct else chance.integers(model.distinct, size=count)
    values = [f"v{n:06d}" for n in numbers]
    audited, validation, unaudited = values[: 2 * texts], values[2 * texts : -texts], values[-texts:]
    membership = np.zeros(2 * texts, dtype=bool)
    membership[chance.permutation(2 * texts)[:texts]] = True
    members = [v for v, inside in zip(audited, membership, strict=True) if inside]
    made = read_candidates(audited, validation)
    loglik, base = scored(model, made, Counter((*members, *unaudited)), membership, chance)
    training = Texts(tuple(map(str, range(2 * texts))), (*members, *unaudited))
    groups = tuple(map(str, range(2 * texts)))
    found = attribute_inference(made, loglik, base, membership, groups, training)
    lows = {name: found.get(f"kind=code, {label}") for name, label in ADVANTAGES.items()}
    return {name: -1.0 if e is None or e.low is None else e.low for name, e in lows.items()}


def read_candidates(audited: list[str], validation: list[str]) -> Candidates:
    """Return the candidates of every audited text, as the observation makes them, with one token per text."""
    pools, counts = (sorted(set(validation)), sorted(set(audited))), Counter((*audited, *validation))
    chosen = [
        [v, *other_values(*pools, kind="code", truth=v, text=f"{i} {v}", limit=LIMIT)] for i, v in enumerate(audited)
    ]
    flat = tuple(v for own in chosen for v in own)
    return Candidates(
        kinds=("code",),
        kind=np.zeros(len(audited), dtype=np.int64),
        text=np.arange(len(audited)),
        starts=np.cumsum([0, *map(len, chosen)]),
        ids=np.zeros(2 * len(flat), dtype=np.int64),
        offsets=2 * np.arange(len(flat) + 1),
        first=np.ones(len(flat), dtype=np.int64),
        values=flat,
        common=np.array([counts[v] for v in flat]),
        limit=np.array(LIMIT),
        left_out=np.zeros(1, dtype=np.int64),
    )


def scored(
    model: Model, made: Candidates, trained: Counter[str], membership: np.ndarray, chance: np.random.Generator
) -> tuple[Variants, Variants]:
    """Return the log-probabilities of every reading under the model and under its base model."""
    own = {v: chance.normal() for v in dict.fromkeys(made.values)}  # some values are more likely than others
    is_true = np.zeros(len(made.values), dtype=bool)
    is_true[made.starts[:-1]] = True
    base = np.array([own[v] for v in made.values]) + chance.normal(size=len(made.values)) + model.skill * is_true
    times = np.array([trained[v] for v in made.values])
    learned = model.trained * (times > 0) + model.doubling * np.log2(np.maximum(times, 1))
    bound = model.bound * is_true * np.repeat(membership, np.diff(made.starts))
    tuned = base + learned + bound + 0.5 * chance.normal(size=len(base))
    return Variants(loglik=tuned, starts=made.starts), Variants(loglik=base, starts=made.starts)


def by_pool(model: Model, texts: int, chance: np.random.Generator) -> dict[str, bool]:
    """Whether each advantage is significantly above 0."""
    above = {name: low > 0 for name, low in measured(model, texts, chance).items()}
    return {**above, ALL: all(found for name, found in above.items() if name.startswith("trained"))}


def pieces() -> Iterator[Piece]:
    """Yield every piece of the table of attribute inference."""
    for name, model in MODELS.items():
        for texts in TEXTS:
            yield Piece("attributes", name, texts, partial(by_pool, model, texts), cost=12.5 * texts / TEXTS[0])
