"""Coverage of lower bounds on epsilon on mechanisms of known epsilon, and how often a bound is informative."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from byheart.stats.epsilon_bounds import correct_guesses, gaussian_epsilon, many_runs, one_run, one_run_gaussian
from simulations.pieces import Piece

DELTA = 1e-5
CANARIES = (100, 300, 1000)
RUNS = 1000

Told = Float[np.ndarray, " canaries"]
Coins = Bool[np.ndarray, " canaries"]


class Mechanism(NamedTuple):
    """The released information about each canary's coin, epsilon at `DELTA`, and the share of guessed canaries."""

    told: Callable[[Coins, np.random.Generator], Told]
    epsilon: float
    share: float


def response(epsilon: float, coins: Coins, chance: np.random.Generator) -> Told:
    """Release each coin correctly with probability e^epsilon / (1 + e^epsilon)."""
    right = chance.random(len(coins)) < 1 / (1 + math.exp(-epsilon))
    return (coins == right) + 0.01 * chance.random(len(coins))


def noised(mu: float, coins: Coins, chance: np.random.Generator) -> Told:
    """Release each coin with Gaussian noise of standard deviation 1 / mu."""
    return mu * coins + chance.normal(size=len(coins))


def leaking(delta: float, coins: Coins, chance: np.random.Generator) -> Told:
    """Release one coin in 1 / delta without noise, and nothing about the others."""
    return np.where(chance.random(len(coins)) < delta, 2.0 * coins - 1, 0.01 * chance.normal(size=len(coins)))


MECHANISMS = {
    "randomised response, epsilon 1": Mechanism(partial(response, 1.0), 1.0, 1.0),
    "randomised response, epsilon 4": Mechanism(partial(response, 4.0), 4.0, 1.0),
    "Gaussian noise, epsilon 4.4": Mechanism(partial(noised, 1.0), gaussian_epsilon(1.0, delta=DELTA), 0.3),
    "Gaussian noise, epsilon 10": Mechanism(partial(noised, 2.0), gaussian_epsilon(2.0, delta=DELTA), 0.3),
}
OUTRIGHT = 0.02
"""The share of coins that are told outright by what has epsilon 0 at this delta."""


@cache
def bound(kind: Callable[..., float], canaries: int, guesses: int, right: int, delta: float) -> float:
    """Return a bound, computed once for all studies."""
    return kind(canaries, guesses, right, delta=delta)


def by_guesses(mechanism: Mechanism, canaries: int, chance: np.random.Generator) -> dict[str, bool]:
    """One run on this number of canaries, each with a coin."""
    coins = chance.random(canaries) < 0.5
    guesses = round(mechanism.share * canaries)
    right = correct_guesses(mechanism.told(coins, chance), coins, guesses)
    plain, gaussian = (bound(kind, canaries, guesses, right, DELTA) for kind in (one_run, one_run_gaussian))
    found = {"one run": plain <= mechanism.epsilon, "one run, above a fifth": plain > mechanism.epsilon / 5}
    if mechanism.share < 1:
        found |= {"one run, Gaussian": gaussian <= mechanism.epsilon}
        found |= {"one run, Gaussian, above a fifth": gaussian > mechanism.epsilon / 5}
    return found


def by_outright(canaries: int, chance: np.random.Generator) -> dict[str, bool]:
    """One run of a mechanism with an epsilon only at its own delta, and the same bound at a much smaller delta."""
    coins = chance.random(canaries) < 0.5
    guesses = max(8, round(OUTRIGHT * canaries))
    right = correct_guesses(leaking(OUTRIGHT, coins, chance), coins, guesses)
    return {
        "one run": bound(one_run, canaries, guesses, right, OUTRIGHT) == 0,
        "one run, delta's term left out": bound(one_run, canaries, guesses, right, 1e-12) == 0,
    }


def by_runs(mechanism: Mechanism, runs: int, chance: np.random.Generator) -> dict[str, bool]:
    """This number of runs, each with one coin and one guess; values in the upper half of the range are guessed to be trained on."""
    coins = chance.random(runs) < 0.5
    guessed = mechanism.told(coins, chance) > 0.5 + mechanism.share
    counts = (guessed[coins].sum(), coins.sum(), guessed[~coins].sum(), (~coins).sum())
    found = many_runs(*map(int, counts), delta=DELTA)
    return {"many runs": found <= mechanism.epsilon, "many runs, above a fifth": found > mechanism.epsilon / 5}


def pieces() -> Iterator[Piece]:
    """Yield every piece of the table of bounds."""
    for canaries in CANARIES:
        for name, mechanism in MECHANISMS.items():
            yield Piece("guesses", name, canaries, partial(by_guesses, mechanism, canaries))
        yield Piece("outright", f"1 coin in {round(1 / OUTRIGHT)} outright", canaries, partial(by_outright, canaries))
    for name in ("randomised response, epsilon 1", "Gaussian noise, epsilon 4.4"):
        mechanism = MECHANISMS[name]._replace(share=0.0 if "response" in name else 1.5)
        yield Piece("runs", name, RUNS, partial(by_runs, mechanism, RUNS))
