"""The records most exposed in a study: for each model those members that its attacks find first, with all their scores.

Ids, numbers and nothing else, unless texts are asked for.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from byheart.analysis import labels
from byheart.core.types import Row, Scores, ScoreSet

MAX_RECORDS, MAX_NUMBERS = 100, 150_000
"""Records of a model that are told, and numbers of all models together: with many attacks and epochs, fewer records."""
MIN_RECORDS = 10
MAX_ID_CHARACTERS = 200
"""Letters of an id that are shown."""


class TokenView(NamedTuple):
    """A text as a model read it: its pieces, which of them are masked, and log p (nats) of each under the tuned model.

    `base` is the same under the model before tuning; both are None where no model was asked. `note` says what is missing.
    """

    pieces: list[str]
    masked: list[int]
    tuned: list[float] | None
    base: list[float] | None
    note: str = ""


TokenViewReader = Callable[[Row, Sequence[int]], Sequence[TokenView]]
"""Gives audited texts, by a row of scores and their positions among the audited, as the row's model read them."""


def exposed_records(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    leaking_methods: Collection[tuple[str, str]],
    texts: TokenViewReader | None = None,
) -> list[dict[str, Any]]:
    """Return for each model its most exposed members, by id, with their scores by attack and epoch.

    A record's share is how many of a thousand non-members score below it, which is comparable between attacks. Every
    attack names its own first ones at the last epoch, in turn. `leaking` are the (panel, method) that are shown to leak:
    of others, the order is no more than chance. `first` marks the lowest seed's model.
    """
    held = [r for r in rows if r.attack and r.metric == "auc" and r.scores and r.epoch is not None]
    panels, series = labels.panels(rows), labels.variants(rows)
    attacks = labels.attacks([dataclasses.replace(r, metric_settings="") for r in held])
    cells: defaultdict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for r in held:
        cells[panels(r), series(r), r.seed].append(dataclasses.replace(r, metric_settings=""))
    most = max(MIN_RECORDS, min(MAX_RECORDS, MAX_NUMBERS // max(1, len({r.scores for r in held}))))
    found: list[dict[str, Any]] = []
    order = [list(panels.names.values()), list(series.names.values())]
    for (panel, method, seed), those in sorted(
        cells.items(), key=lambda place: (order[0].index(place[0][0]), order[1].index(place[0][1]), place[0][2])
    ):
        by_attack = {name: {r.epoch: r for r in own} for name, own in attacks.split(those).items()}
        epochs = sorted({r.epoch for r in those if r.epoch is not None})
        known = {r.scores: scores(r.scores) for r in those}
        records = _record_scores(by_attack, epochs, known, most)
        last = next(r for r in those if r.epoch == epochs[-1])
        places = records.pop("places")
        told = texts(last, places) if texts else []
        found.append(
            {
                "panel": panel,
                "series": method,
                "seed": str(seed),
                "first": seed == min(s for p, m, s in cells if (p, m) == (panel, method)),
                "epochs": epochs,
                "leaks": (panel, method) in leaking_methods,
                **records,
                "texts": [t._asdict() for t in told],
            }
        )
    return found


def _record_scores(
    by_attack: Mapping[str, Mapping[int | None, Row]],
    epochs: Sequence[int],
    score_sets: Mapping[str, ScoreSet],
    max_records: int,
) -> dict[str, Any]:
    """Return ids, and by attack, record and epoch the score and the share; None where an attack was not measured."""
    one = next(iter(score_sets.values()))
    on = np.flatnonzero(one.members)
    ranks = [
        np.argsort(-score_sets[own[max(own, key=lambda e: e or 0)].scores].scores[on], kind="stable")
        for own in by_attack.values()
    ]
    first = list(dict.fromkeys(int(i) for turn in zip(*ranks, strict=True) for i in turn))[:max_records]
    chosen = on[first]
    told: dict[str, Any] = {
        "members": len(on),
        "ids": [escape_invisible(one.ids[i].removeprefix("member/"), MAX_ID_CHARACTERS) for i in chosen],
        "places": chosen.tolist(),
        "scores": {},
        "shares": {},
    }
    for name, own in by_attack.items():
        sets = [score_sets[own[e].scores] if e in own else None for e in epochs]
        told["scores"][name] = [[None if s is None else float(f"{s.scores[i]:.4g}") for s in sets] for i in chosen]
        below = [None if s is None else _per_mille_below(s.scores[chosen], s.scores[~s.members]) for s in sets]
        told["shares"][name] = [[None if b is None else int(b[i]) for b in below] for i in range(len(chosen))]
    return told


def nonmembers_below(scores: Scores, nonmember_scores: Scores) -> Int[np.ndarray, " texts"]:
    """Number of non-members whose score is below each score."""
    return np.searchsorted(np.sort(nonmember_scores), scores, "left")


def _per_mille_below(scores: Scores, nonmember_scores: Scores) -> Float[np.ndarray, " texts"]:
    return np.floor(1000 * nonmembers_below(scores, nonmember_scores) / max(1, len(nonmember_scores)))


def escape_invisible(text: str, max_characters: int | None = None) -> str:
    """Return text in which every character that would not be seen, or would steer the line, is spelled out; cut to `most`."""
    cut = text if max_characters is None or len(text) <= max_characters else f"{text[:max_characters]}…"
    return "".join(c if c.isprintable() else "⏎" if c == "\n" else f"⟨U+{ord(c):04X}⟩" for c in cut)
