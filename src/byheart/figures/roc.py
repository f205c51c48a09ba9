"""ROC curves on logarithmic axes, which show attacks that identify few members at a very low false positive rate.

Nicholas Carlini, Steve Chien, Milad Nasr, Shuang Song, Andreas Terzis, Florian Tramer. Membership Inference Attacks
From First Principles. IEEE Symposium on Security and Privacy, 2022. arXiv 2112.03570, Figure 2. Departs from the paper:
starts at one false positive, the lowest rate that the number of non-members can resolve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from annotated_types import Ge

from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import ALL_SEEDS, attack_and_metric_names, chart_names
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet
from byheart.figures._chart_parts import PANEL_FILTER, filter_transform, pick_parameters, small_multiples
from byheart.figures._scores import auc_rows_with_scores, rocs
from byheart.figures._series_style import SeriesStyle, series_encodings, series_style

SEED_FILTER = "pick_seed === '' ? datum.first : datum.seed === pick_seed"


def roc(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    attack: str = "loss",
    epoch: Annotated[int, Ge(0)] | None = None,
) -> Figure:
    """True positive rate against false positive rate of an attack, a line for each method; a higher curve means more leakage.

    With several seeds, the lowest seed is drawn; `epoch` None is the last epoch. Raises `DataError` without AUC rows of
    the attack.
    """
    attack_rows = [r for r in auc_rows_with_scores(rows) if r.attack == attack]
    if not any(epoch in (None, r.epoch) for r in attack_rows):
        raise DataError(
            f"figure roc: no auc with scores of the attack {attack!r}. Choose an attack and epoch of the study, with the metric auc."
        )
    import altair as alt

    names, style = chart_names(rows), series_style(chart_names(auc_rows_with_scores(rows)).series)
    attack_name, _ = attack_and_metric_names(rows, attack)
    curves = rocs(rows, scores)
    last = max(r.epoch or 0 for r in attack_rows)
    chart = small_multiples(
        _layers(style, min(curve["finest"] for curve in curves)),
        list(names.panels.split(attack_rows).keys()),
        [
            filter_transform(
                "datum.attack === pick_attack", SEED_FILTER, PANEL_FILTER, "datum.epoch === min(pick_epoch, datum.last)"
            ),
            alt.FlattenTransform(flatten=["fpr", "tpr"]),
        ],
        pick_parameters(attack=attack_name, seed=ALL_SEEDS, panel="", epoch=last if epoch is None else epoch),
        data="rocs",
    )
    seeds = {r.seed for r in attack_rows}
    seed_note = f" Curves of seed {min(seeds)}." if len(seeds) > 1 else ""
    words = f"Dotted line: chance. A true positive rate below the axis is drawn at its edge.{seed_note}"
    return Figure(f"ROC of the attack {attack_name}", chart, {"rocs": curves}, words, "ROC curves on logarithmic axes")


def _layers(style: SeriesStyle, lowest_rate: float) -> list[Any]:
    """Return the layers of a panel: the chance level, the curves, and invisible points with tooltips."""
    import altair as alt

    base = alt.Chart()
    scale = alt.Scale(type="log", domain=[lowest_rate, 1], nice=False, clamp=True)
    axis = alt.Axis(format="~%", values=[v for v in (0.0001, 0.001, 0.01, 0.1, 1) if v >= lowest_rate])
    x = alt.X("fpr:Q", title="false positive rate (non-members)", scale=scale, axis=axis)
    y = alt.Y("tpr:Q", title="true positive rate (members)", scale=scale, axis=axis)
    tooltips = [
        *(alt.Tooltip(f"{f}:N", title=t) for f, t in (("series", "method"), ("panel", "data"), ("seed", "seed"))),
        alt.Tooltip("epoch:Q", title="epoch"),
        *(
            alt.Tooltip(f"{f}:Q", title=t, format=".4~p")
            for f, t in (("fpr", "false positive rate"), ("tpr", "true positive rate"))
        ),
        *(alt.Tooltip(f"{f}:Q", title=t) for f, t in (("members", "members"), ("nonmembers", "non-members"))),
    ]
    chance = base.transform_window(nth="row_number()", groupby=["panel", "fpr"]).transform_filter("datum.nth === 1")
    curves = base.mark_line(strokeWidth=1.6, interpolate="step-after", aria=False).encode(
        x=x, y=y, **series_encodings(style, named=False, dashed=True)
    )
    points = base.mark_point(filled=True, size=40, opacity=0, aria=False).encode(
        x=x, y=y, tooltip=tooltips, **series_encodings(style, named=False)
    )
    return [
        chance.mark_line(strokeDash=[1, 3], style="level", aria=False).encode(x=x, y=alt.Y("fpr:Q", scale=scale)),
        curves,
        points,
    ]
