"""The ROC on logarithmic axes, where an attack that finds few members without false alarms is seen.

Nicholas Carlini, Steve Chien, Milad Nasr, Shuang Song, Andreas Terzis, Florian Tramer. Membership Inference Attacks
From First Principles. IEEE Symposium on Security and Privacy, 2022. arXiv 2112.03570, Figure 2. Departs from the paper:
begins at one false alarm, below which so many non-members can tell nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import ALL_SEEDS, attack_and_metric_names, chart_names
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet
from byheart.figures._chart_parts import (
    PANEL_FILTER,
    filter_transform,
    pick_parameters,
    series_encodings,
    series_style,
    small_multiples,
)
from byheart.figures._scores import auc_rows_with_scores, rocs

SEED_FILTER = "pick_seed === '' ? datum.first : datum.seed === pick_seed"


def roc(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    attack: str = "loss",
    epoch: Annotated[int, Ge(0)] | None = None,
) -> Figure:
    """Share of members found against share of non-members wrongly accused, a line for each method; up and left leaks more.

    Of several seeds the lowest is drawn; `epoch` None is the last. Raises `DataError` where the attack was not measured.
    """
    own = [r for r in auc_rows_with_scores(rows) if r.attack == attack]
    if not any(epoch in (None, r.epoch) for r in own):
        raise DataError(f"the ROC needs the auc of the attack {attack!r} with its scores; no row holds both")
    import altair as alt

    names, drawn = chart_names(rows), series_style(chart_names(auc_rows_with_scores(rows)).series)
    called, _ = attack_and_metric_names(rows, attack)
    held = rocs(rows, scores)
    base = alt.Chart()
    least = min(p["finest"] for p in held)
    share = alt.Scale(type="log", domain=[least, 1], nice=False, clamp=True)
    axis = alt.Axis(format="~%", values=[v for v in (0.0001, 0.001, 0.01, 0.1, 1) if v >= least])
    across = alt.X("fpr:Q", title="non-members wrongly accused", scale=share, axis=axis)
    up = alt.Y("tpr:Q", title="members found", scale=share, axis=axis)
    told = [
        *(alt.Tooltip(f"{f}:N", title=t) for f, t in (("series", "method"), ("panel", "data"), ("seed", "seed"))),
        alt.Tooltip("epoch:Q", title="epoch"),
        *(alt.Tooltip(f"{f}:Q", title=t, format=".4~p") for f, t in (("fpr", "wrongly accused"), ("tpr", "found"))),
        *(alt.Tooltip(f"{f}:Q", title=t) for f, t in (("members", "members"), ("nonmembers", "non-members"))),
    ]
    guessing = base.transform_window(nth="row_number()", groupby=["panel", "fpr"]).transform_filter("datum.nth === 1")
    line = base.mark_line(strokeWidth=1.6, interpolate="step-after", aria=False).encode(
        x=across, y=up, **series_encodings(drawn, named=False, dashed=True)
    )
    dots = base.mark_point(filled=True, size=40, opacity=0, aria=False).encode(
        x=across, y=up, tooltip=told, **series_encodings(drawn, named=False)
    )
    last = max(r.epoch or 0 for r in own)
    chart = small_multiples(
        [
            guessing.mark_line(strokeDash=[1, 3], style="level", aria=False).encode(
                x=across, y=alt.Y("fpr:Q", scale=share)
            ),
            line,
            dots,
        ],
        list(names.panels.split(own).keys()),
        [
            filter_transform(
                "datum.attack === pick_attack", SEED_FILTER, PANEL_FILTER, "datum.epoch === min(pick_epoch, datum.last)"
            ),
            alt.FlattenTransform(flatten=["fpr", "tpr"]),
        ],
        pick_parameters(attack=called, seed=ALL_SEEDS, panel="", epoch=last if epoch is None else epoch),
        data="rocs",
    )
    seeds = {r.seed for r in own}
    of_seed = f" Of seed {min(seeds)}." if len(seeds) > 1 else ""
    words = f"Dotted: guessing. A share of members too small for the scale is drawn at its edge.{of_seed}"
    return Figure(f"ROC of the attack {called}", chart, {"rocs": held}, words, "ROC on logarithmic axes")
