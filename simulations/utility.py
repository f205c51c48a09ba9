"""Leakage at equal perplexity, from rows, scores and losses: paths with a known AUC at each perplexity, few or many observed epochs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from scipy.special import ndtri

from byheart.analysis.comparisons import LEAST_MARK
from byheart.analysis.matched_utility import BootstrapDraws, auc_draws_at_level, paths_by_attack_and_method
from byheart.analysis.utility_curves import NOT_OBSERVED_CLOSELY, common_perplexities, first_crossing, path_values
from byheart.core.row import build_row
from byheart.core.types import Estimate, Row, ScoreSet, TextLosses
from byheart.metrics.auc import auc
from byheart.stats.intervals import TAIL
from byheart.tables.matched_utility import matched_utility
from simulations.pieces import Piece

TEXTS, VALIDATION, LENGTH = 200, 100, 40  # audited texts of a class; validation texts, and tokens of each
ALIKE = 0.8  # correlation of a text's scores at two states
BASE, LAST = math.log(20), math.log(10)  # logarithm of perplexity: of the base model, of the fast method at its end
HALFWAY = 0.5  # where the slow method ends, on the fast one's way
LEAKS = 0.35  # AUC beyond chance at the end of the way
OBSERVED: dict[str, tuple[float, ...]] = {
    "3 states": (1, 2, 3),
    "6 states": (0.1, 0.25, 0.5, 1, 2, 3),
    "11 states": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 1, 2, 3),
}
BENDS = {"evenly": 0.0, "late": 3.0, "early": -3.0}
MORE = 0.12  # AUC that the slow method leaks beyond the fast one where it ends, for the power of their comparison


def leaked(way: float, bend: float) -> float:
    """Return the AUC at a position on the path, from 0 (the base model) to 1."""
    return 0.5 + LEAKS * (math.expm1(bend * way) / math.expm1(bend) if bend else way)


def way_at(epoch: float) -> float:
    """Return a method's position after an epoch; the first epoch covers most of the path."""
    return math.expm1(-2 * epoch) / math.expm1(-6)


class Study:
    """Rows, scores and losses of a slow and of a fast method. At equal perplexity, the slow one's AUC is higher by at most `more`."""

    def __init__(self, epochs: Sequence[float], bend: float, more: float, chance: np.random.Generator) -> None:
        self.scores: dict[str, ScoreSet] = {}
        self.losses: dict[str, TextLosses] = {}
        self.rows: list[Row] = []
        self._chance, self._members = chance, np.arange(2 * TEXTS) < TEXTS
        self._texts, self._hardness = chance.normal(size=2 * TEXTS), chance.normal(size=VALIDATION)
        self._observe("base", 0.0, 0.5)
        for method, share, extra in (("head", HALFWAY, more), ("full", 1.0, 0.0)):
            self._report(method, 0, "base")
            for epoch in epochs:
                way = way_at(epoch)
                self._observe(f"{method} {epoch}", share * way, leaked(share * way, bend) + extra * way)
                self._report(method, epoch, f"{method} {epoch}")

    def _observe(self, state: str, way: float, true_auc: float) -> None:
        own, noise = self._chance.normal(size=2 * TEXTS), self._chance.normal(size=VALIDATION)
        apart = math.sqrt(2) * float(ndtri(true_auc))
        scores = math.sqrt(ALIKE) * self._texts + math.sqrt(1 - ALIKE) * own + apart * self._members
        self.scores[state] = ScoreSet(tuple(map(str, range(2 * TEXTS))), scores, self._members)
        nats = BASE + way * (LAST - BASE) + 0.3 * self._hardness + 0.02 * noise
        self.losses[state] = TextLosses(LENGTH * nats, np.full(VALIDATION, LENGTH))

    def _report(self, method: str, epoch: float, state: str) -> None:
        settings = dict.fromkeys(("dataset_settings", "method_settings", "training_settings"), "")
        labels = {"base": "b", "dataset": "d", "method": method, "cell": method, "seed": 0, **settings}
        losses, scored = self.losses[state], self.scores[state]
        perplexity = Estimate(math.exp(losses.nats.sum() / losses.tokens.sum()))
        self.rows.append(build_row(labels, epoch, "perplexity", perplexity, scores=state))
        leak = build_row(labels, epoch, "auc", auc(scored.scores, scored.members, scored.ids), scores=state)
        self.rows.append(dataclasses.replace(leak, attack="loss"))


def at_equal_perplexity(observed: str, bend: float, more: float, chance: np.random.Generator) -> dict[str, bool]:
    """One study: the table's value of the fast method at the slow one's final perplexity, and that of straight lines."""
    study = Study(OBSERVED[observed], bend, more, chance)
    truth = leaked(HALFWAY, bend)
    table = matched_utility(study.rows, study.scores.__getitem__, lambda row: study.losses[row.scores])
    line = dict(zip(table.header, table.rows[0], strict=True))
    cells = [line["full"], line["head"]]
    value = cells[0] != NOT_OBSERVED_CLOSELY
    low, high = map(float, cells[0].split("[")[1].strip("]").split(", ")) if value else (1.0, 0.0)
    marked = value and not all(LEAST_MARK in cell for cell in cells)
    straight = straight_interval(study)
    return {
        "value": value,
        "covered": low - 5e-4 <= truth <= high + 5e-4,
        "differs": marked,
        "straight": straight[0] <= truth <= straight[1],
    }


def straight_interval(study: Study) -> tuple[float, float]:
    """Return the interval of the fast method as if AUC were linear between states."""
    paths = paths_by_attack_and_method(study.rows)["Loss"]
    (path,) = paths["full"]
    level = common_perplexities(paths)[0]
    place = first_crossing(path_values(p.perplexity.value for p in path)[None], np.array([level]))
    ends = ([p.leakage.low or 0.0 for p in path], [p.leakage.high or 0.0 for p in path])
    low, high = (float(place.read(path_values(end)[None])[0]) for end in ends)
    draws = BootstrapDraws(study.scores.__getitem__, lambda row: study.losses[row.scores])
    drawn = auc_draws_at_level(path, level, draws)
    if drawn is None:
        return low, high
    return min(low, float(np.quantile(drawn[1:], TAIL))), max(high, float(np.quantile(drawn[1:], 1 - TAIL)))


def pieces() -> Iterator[Piece]:
    """Yield every piece of the table of leakage at equal perplexity."""
    for leaks, bend in BENDS.items():
        for observed in OBSERVED:
            yield Piece(
                "utility",
                f"leaks {leaks}, {observed}",
                TEXTS,
                partial(at_equal_perplexity, observed, bend, 0.0),
                cost=60,
            )
    more = partial(at_equal_perplexity, "11 states", 0.0, MORE)
    yield Piece("utility more", f"leaks evenly, 11 states, slow method + {MORE:g}", TEXTS, more, cost=60)
