"""Most exposed records of a study: for each model, the members that its attacks rank highest, with all their scores.

Contains ids and numbers only, unless texts are requested.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from byheart.analysis import labels
from byheart.core.row import without_initialized
from byheart.core.types import Row, Scores, ScoreSet

MAX_RECORDS, MAX_NUMBERS = 100, 150_000
"""Maximum number of records per model, and of numbers over all models; many attacks and epochs reduce the records."""
MIN_RECORDS = 10
MAX_ID_CHARACTERS = 200
"""Maximum characters of an id that are shown."""


class TokenView(NamedTuple):
    """A text as token pieces: which pieces are masked, and log p (nats) of each piece under the fine-tuned model.

    `base` is log p under the base model. Both are None if no model scored the text. `note` states what is left out.
    """

    pieces: list[str]
    masked: list[int]
    tuned: list[float] | None
    base: list[float] | None
    note: str = ""


TokenViewReader = Callable[[Row, Sequence[int]], Sequence[TokenView]]
"""Returns token views of audited texts under a row's model, by their positions among the audited texts."""


def exposed_records(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    leaking_methods: Collection[tuple[str, str]],
    texts: TokenViewReader | None = None,
    *,
    reversed_methods: Collection[tuple[str, str]] = (),
) -> list[dict[str, Any]]:
    """Return each model's most exposed members, by id, with their scores by attack and epoch.

    A record's share is the number of non-members per thousand that score below it; it is comparable between attacks. Each
    attack in turn contributes its highest-ranked members at the last epoch. `leaking_methods` are the (panel, method) pairs
    that are shown to leak; for other models the order is random. For `reversed_methods`, which leak in reverse, the members
    with the lowest scores are the most exposed, and a share counts the non-members that score above. `first` marks the model
    with the lowest seed.
    """
    scored_rows = [
        r for r in without_initialized(rows) if r.attack and r.metric == "auc" and r.scores and r.epoch is not None
    ]
    panels, series = labels.panels(rows), labels.variants(rows)
    attacks = labels.attacks([dataclasses.replace(r, metric_settings="") for r in scored_rows])
    cells: defaultdict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for r in scored_rows:
        cells[panels(r), series(r), r.seed].append(dataclasses.replace(r, metric_settings=""))
    max_records = max(MIN_RECORDS, min(MAX_RECORDS, MAX_NUMBERS // max(1, len({r.scores for r in scored_rows}))))
    models: list[dict[str, Any]] = []
    panel_order, series_order = list(panels.names.values()), list(series.names.values())
    for (panel, method, seed), cell_rows in sorted(
        cells.items(), key=lambda item: (panel_order.index(item[0][0]), series_order.index(item[0][1]), item[0][2])
    ):
        by_attack = {name: {r.epoch: r for r in of_attack} for name, of_attack in attacks.split(cell_rows).items()}
        epochs = sorted({r.epoch for r in cell_rows if r.epoch is not None})
        score_sets = {r.scores: scores(r.scores) for r in cell_rows}
        is_reversed = (panel, method) in reversed_methods
        records = _record_scores(by_attack, epochs, score_sets, max_records, sign=-1 if is_reversed else 1)
        last = next(r for r in cell_rows if r.epoch == epochs[-1])
        positions = records.pop("positions")
        views = texts(last, positions) if texts else []
        models.append(
            {
                "panel": panel,
                "series": method,
                "seed": str(seed),
                "first": seed == min(s for p, m, s in cells if (p, m) == (panel, method)),
                "epochs": epochs,
                "leaks": is_reversed or (panel, method) in leaking_methods,
                "reversed": is_reversed,
                **records,
                "texts": [view._asdict() for view in views],
            }
        )
    return models


def _record_scores(
    by_attack: Mapping[str, Mapping[float | None, Row]],
    epochs: Sequence[float],
    score_sets: Mapping[str, ScoreSet],
    max_records: int,
    *,
    sign: int,
) -> dict[str, Any]:
    """Return ids, and score and share by attack, record and epoch; None where an attack was not measured.

    Members are ranked by `sign` times the score, highest first.
    """
    first_set = next(iter(score_sets.values()))
    members = np.flatnonzero(first_set.members)
    rankings = [
        np.argsort(
            -sign * score_sets[by_epoch[max(by_epoch, key=lambda e: e or 0)].scores].scores[members], kind="stable"
        )
        for by_epoch in by_attack.values()
    ]
    # Takes the highest-ranked members of all attacks in turn, each member once.
    top = list(dict.fromkeys(int(i) for same_rank in zip(*rankings, strict=True) for i in same_rank))[:max_records]
    exposed = members[top]
    records: dict[str, Any] = {
        "members": len(members),
        "ids": [escape_invisible(first_set.ids[i].removeprefix("member/"), MAX_ID_CHARACTERS) for i in exposed],
        "positions": exposed.tolist(),
        "scores": {},
        "shares": {},
    }
    for name, by_epoch in by_attack.items():
        sets = [score_sets[by_epoch[e].scores] if e in by_epoch else None for e in epochs]
        records["scores"][name] = [[None if s is None else float(f"{s.scores[i]:.4g}") for s in sets] for i in exposed]
        below = [
            None if s is None else _per_mille_below(sign * s.scores[exposed], sign * s.scores[~s.members]) for s in sets
        ]
        records["shares"][name] = [[None if b is None else int(b[i]) for b in below] for i in range(len(exposed))]
    return records


def nonmembers_below(scores: Scores, nonmember_scores: Scores) -> Int[np.ndarray, " texts"]:
    """Number of non-members that score below each score."""
    return np.searchsorted(np.sort(nonmember_scores), scores, "left")


def _per_mille_below(scores: Scores, nonmember_scores: Scores) -> Float[np.ndarray, " texts"]:
    return np.floor(1000 * nonmembers_below(scores, nonmember_scores) / max(1, len(nonmember_scores)))


def escape_invisible(text: str, max_characters: int | None = None) -> str:
    """Return text with invisible and control characters escaped as ⟨U+XXXX⟩, truncated to `max_characters`."""
    truncated = text if max_characters is None or len(text) <= max_characters else f"{text[:max_characters]}…"
    return "".join(c if c.isprintable() else "⏎" if c == "\n" else f"⟨U+{ord(c):04X}⟩" for c in truncated)
