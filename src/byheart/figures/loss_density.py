"""Score densities of members and non-members: Figure 2 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: one panel per method with its AUC, and every epoch on
one scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from annotated_types import Ge

from byheart.analysis import labels
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import ALL_SEEDS, attack_and_metric_names, chart_names
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet
from byheart.figures._chart_parts import PANEL_FILTER, filter_transform, pick_parameters, small_multiples
from byheart.figures._scores import auc_rows_with_scores, densities

MEMBER_COLOR, NONMEMBER_COLOR = "#D55E00", "#0072B2"
PANEL_SIZE, PANELS_PER_ROW = (128, 84), 4
SEED_FILTER = f"pick_seed === '' ? datum.first : datum.seed === pick_seed || datum.series === '{labels.BASE_LABEL}'"


def loss_density(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    attack: str = "loss",
    epoch: Annotated[int, Ge(0)] | None = None,
    methods: tuple[str, ...] | None = None,
) -> Figure:
    """Densities of an attack's scores for members and non-members, by method; curves farther apart mean more leakage.

    The first panel is the base model. With several seeds, the lowest seed is drawn. `epoch` None is the last epoch,
    `methods` None all methods. Raises `DataError` without AUC rows of the attack.
    """
    chosen = auc_rows_with_scores([r for r in rows if methods is None or r.method in methods])
    attack_rows = [r for r in chosen if r.attack == attack]
    if not any(epoch in (None, r.epoch) for r in attack_rows):
        at_epoch = "" if epoch is None else f" at epoch {epoch}"
        raise DataError(
            f"figure loss_density: no auc with scores of the attack {attack!r}{at_epoch}. "
            "Choose an attack and epoch of the study, with the metric auc."
        )
    names = chart_names(chosen)
    attack_name, _ = attack_and_metric_names(chosen, attack)
    density_points = densities(chosen, scores)
    has_panels = len(names.panels.names) > 1
    for point in density_points:
        point["multiple"] = f"{point['panel']}: {point['series']}" if has_panels else point["series"]
    series = [labels.BASE_LABEL, *names.series.names.values()]
    multiples = [f"{p}: {s}" if has_panels else s for p in names.panels.names.values() for s in series]
    present = {point["multiple"] for point in density_points}
    last = max(r.epoch or 0 for r in attack_rows)
    chart = small_multiples(
        _layers(),
        [m for m in multiples if m in present],
        _transforms(),
        pick_parameters(attack=attack_name, seed=ALL_SEEDS, panel="", epoch=last if epoch is None else epoch),
        by="multiple",
        data="densities",
        size=PANEL_SIZE,
        columns=PANELS_PER_ROW,
        grows=False,
    ).resolve_scale(x="independent", y="independent")
    seeds = {r.seed for r in attack_rows}
    seed_note = f" Scores of seed {min(seeds)}." if len(seeds) > 1 else ""
    words = f"x axis: score of the attack; higher means more likely a member. y axis: density.{seed_note}"
    return Figure(
        f"Scores of the attack {attack_name}: members and non-members",
        chart,
        {"densities": density_points},
        words,
        "Attack scores of members and non-members",
    )


def _layers() -> list[Any]:
    """Return the layers of a panel: a filled density and its outline for each class, and the AUC in the corner."""
    import altair as alt

    base = alt.Chart()
    score = alt.X("at:Q", title=None, scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=4))
    height = alt.Y("height:Q", title=None, axis=None, stack=None)
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", symbolOpacity=1)
    classes = ["members", "non-members"]
    color = alt.Color("side:N", scale=alt.Scale(domain=classes, range=[MEMBER_COLOR, NONMEMBER_COLOR]), legend=legend)
    dashes = alt.StrokeDash("side:N", scale=alt.Scale(domain=classes, range=[[1, 0], [4, 2]]), legend=legend)
    tooltips = [
        *(
            alt.Tooltip(f"{f}:N", title=t)
            for f, t in (("series", "method"), ("panel", "data"), ("side", "records"), ("seed", "seed"))
        ),
        *(
            alt.Tooltip(f"{f}:Q", title=t, format=".4~r")
            for f, t in (("epoch", "epoch"), ("at", "score"), ("height", "density"))
        ),
        *(alt.Tooltip(f"{f}:Q", title=t) for f, t in (("members", "members"), ("nonmembers", "non-members"))),
    ]
    area = base.mark_area(opacity=0.16, aria=False).encode(x=score, y=height, color=color, tooltip=tooltips)
    line = base.mark_line(strokeWidth=1.5, aria=False).encode(x=score, y=height, color=color, strokeDash=dashes)
    corner = base.transform_window(nth="row_number()", groupby=["multiple"]).transform_filter("datum.nth === 1")
    auc = corner.transform_calculate(auc_text="'AUC ' + format(datum.auc, '.3f')").mark_text(
        align="right", style="ink", fontSize=9
    )
    return [area, line, auc.encode(x=alt.value("width"), y=alt.value(-5), text="auc_text:N")]


def _transforms() -> list[Any]:
    """Return the transforms that select the curves and unfold each into its points."""
    import altair as alt

    return [
        filter_transform(
            "datum.attack === pick_attack",
            SEED_FILTER,
            PANEL_FILTER,
            f"datum.series === '{labels.BASE_LABEL}' || datum.epoch === min(pick_epoch, datum.last)",
        ),
        alt.FlattenTransform(flatten=["at", "height"]),
    ]
