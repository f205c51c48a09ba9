"""Audits with planted canaries, from the coins to the bound, the TPR and the verdict, on mechanisms of known epsilon."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float

from byheart.auditing.canaries.measure import measure_canaries
from byheart.auditing.canaries.texts import planted_canaries
from byheart.auditing.verdict import ruling
from byheart.core.registry import choose
from byheart.core.row import build_row
from byheart.core.types import LogProbs
from byheart.data.plant_settings import PlantSettings
from byheart.data.planting import plant_records
from byheart.stats.epsilon_bounds import gaussian_epsilon
from byheart.stats.leakage_tests import RecordLabels
from simulations.pieces import Piece

DELTA, FPR = 1e-5, 0.05
CANARIES = 240
RECORDS = [{"id": i, "text": f"record {i} of the data, with words such as these"} for i in range(40)]
SETTINGS = PlantSettings(count=CANARIES, repetitions=(1, 4), kinds=("digits", "names"), references=1, delta=DELTA)
LABELS = {
    **dict.fromkeys(("dataset_settings", "method_settings", "training_settings", "cell"), ""),
    "base": "base",
    "dataset": "audited texts",
    "method": "full",
    "seed": 0,
}
Coins = Bool[np.ndarray, " canaries"]
Gain = Float[np.ndarray, " canaries"]


class Mechanism(NamedTuple):
    """The gain (nats) of canaries that are trained on once or not at all, by their coins, and its epsilon at `DELTA`."""

    gain: Callable[[Coins, np.random.Generator], Gain]
    epsilon: float


def unmoved(coins: Coins, chance: np.random.Generator) -> Gain:
    """Training moves all canaries alike."""
    return chance.normal(size=len(coins))


def response(epsilon: float, coins: Coins, chance: np.random.Generator) -> Gain:
    """The sign of the gain is that of the coin with probability e^epsilon / (1 + e^epsilon)."""
    right = chance.random(len(coins)) < 1 / (1 + math.exp(-epsilon))
    return np.where(coins == right, 1.0, -1.0) + 0.01 * chance.normal(size=len(coins))


def noised(mu: float, coins: Coins, chance: np.random.Generator) -> Gain:
    """The gain is the coin with Gaussian noise 1 / mu of it."""
    return mu * coins + chance.normal(size=len(coins))


MECHANISMS = {
    "no leakage": Mechanism(unmoved, 0.0),
    "randomized response, epsilon 1": Mechanism(partial(response, 1.0), 1.0),
    "randomized response, epsilon 4": Mechanism(partial(response, 4.0), 4.0),
    "Gaussian noise, epsilon 4.4": Mechanism(partial(noised, 1.0), gaussian_epsilon(1.0, delta=DELTA)),
}


def audited(mechanism: Mechanism, chance: np.random.Generator) -> dict[str, bool]:
    """Plant canaries, let the mechanism train, and audit: the bound, TPR and the verdict on included and held-out canaries."""
    planted = plant_records(RECORDS, SETTINGS, seed=int(chance.integers(2**62))).planted
    canaries = planted_canaries(planted, cast("Any", None))
    included, copies = np.array(canaries.included), np.array(canaries.repetitions)
    kinds = np.array([settings == "names" for settings in canaries.kinds])
    base = 3.0 * chance.normal(size=CANARIES) - 20 * kinds - 40
    moved = mechanism.gain(included, chance) * np.where(mechanism.epsilon, np.where(included, copies, 1), 1)
    target = base + moved + 5 * kinds  # training also moves the formats
    stats = {0: logs(base, chance), 1: logs(target, chance)}
    measured = measure_canaries(LABELS, canaries, stats, epsilon=planted.manifest["epsilon"], fpr=FPR).rows
    bound = next(r.value for r in measured if r.metric == "epsilon_lower_bound")
    rates = [r for r in measured if r.metric == "canary_tpr"]
    word = verdict(base, target, included)
    found = {"bound holds": bound <= mechanism.epsilon, "bound above 0": bound > 0, "verdict: leaks": word == "leaks"}
    return found | {"TPR above the FPR": any((r.low or 0) > FPR for r in rates)}


def logs(loglik: Float[np.ndarray, " canaries"], chance: np.random.Generator) -> Mapping[str, LogProbs]:
    """Return log-likelihoods of canaries, and of one reference of each kind, as evidence."""
    texts = np.arange(CANARIES + 1)
    references = LogProbs(logp=chance.normal(size=2) - 40, starts=np.arange(3))
    return {"canaries": LogProbs(logp=loglik, starts=texts), "canary_references": references}


def verdict(base: Gain, target: Gain, included: Coins) -> str:
    """Return the word of an audit whose members are the included canaries; its split is random, so its check is left out."""
    labels = RecordLabels(included, tuple(map(str, range(len(included)))))
    scores = {"loss": target, "reference": target - base}
    metric = choose("metrics", "auc")
    rows = [build_row(LABELS, 1, metric, metric(s, *labels), choose("attacks", n)) for n, s in scores.items()]
    return ruling(scores, {"loss": base}, rows, labels, None).word


def pieces() -> Iterator[Piece]:
    """Yield every piece of the table of audits with planted canaries."""
    for name, mechanism in MECHANISMS.items():
        yield Piece("planted", name, CANARIES, partial(audited, mechanism))
