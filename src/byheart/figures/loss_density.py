"""Members beside non-members: Figure 2 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: every method has its panel, with its AUC, and every
epoch is there, on one scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

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
SEED_FILTER = "pick_seed === '' ? datum.first : datum.seed === pick_seed || datum.series === 'untuned'"


def loss_density(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    attack: str = "loss",
    epoch: Annotated[int, Ge(0)] | None = None,
    methods: tuple[str, ...] | None = None,
) -> Figure:
    """Densities of an attack's scores for members and non-members, for the untuned model and after each method.

    The further apart the two curves, the more leaks. Of several seeds the lowest is drawn. `epoch` None is the last;
    `methods` None is all. Raises `DataError` where the attack was not measured.
    """
    chosen = auc_rows_with_scores([r for r in rows if methods is None or r.method in methods])
    own = [r for r in chosen if r.attack == attack]
    if not any(epoch in (None, r.epoch) for r in own):
        at = "" if epoch is None else f" at epoch {epoch}"
        raise DataError(f"the densities need the auc of the attack {attack!r}{at} with its scores; no row holds both")
    import altair as alt

    names = chart_names(chosen)
    called, _ = attack_and_metric_names(chosen, attack)
    held = densities(chosen, scores)
    several = len(names.panels.names) > 1
    for one in held:
        one["multiple"] = f"{one['panel']}: {one['series']}" if several else one["series"]
    series = [labels.BASE_LABEL, *names.series.names.values()]
    panels = [f"{p}: {s}" if several else s for p in names.panels.names.values() for s in series]
    present = {p["multiple"] for p in held}
    base = alt.Chart()
    score = alt.X("at:Q", title=None, scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=4))
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", symbolOpacity=1)
    side = alt.Color(
        "side:N",
        scale=alt.Scale(domain=["members", "non-members"], range=[MEMBER_COLOR, NONMEMBER_COLOR]),
        legend=legend,
    )
    dashes = alt.StrokeDash(
        "side:N", scale=alt.Scale(domain=["members", "non-members"], range=[[1, 0], [4, 2]]), legend=legend
    )
    height = alt.Y("height:Q", title=None, axis=None, stack=None)
    told = [
        *(
            alt.Tooltip(f"{f}:N", title=t)
            for f, t in (("series", "method"), ("panel", "data"), ("side", "side"), ("seed", "seed"))
        ),
        *(
            alt.Tooltip(f"{f}:Q", title=t, format=".4~r")
            for f, t in (("epoch", "epoch"), ("at", "score"), ("height", "density"))
        ),
        *(alt.Tooltip(f"{f}:Q", title=t) for f, t in (("members", "members"), ("nonmembers", "non-members"))),
    ]
    area = base.mark_area(opacity=0.16, aria=False).encode(x=score, y=height, color=side, tooltip=told)
    line = base.mark_line(strokeWidth=1.5, aria=False).encode(x=score, y=height, color=side, strokeDash=dashes)
    corner = base.transform_window(nth="row_number()", groupby=["multiple"]).transform_filter("datum.nth === 1")
    auc = corner.transform_calculate(told="'AUC ' + format(datum.auc, '.3f')").mark_text(
        align="right", style="ink", fontSize=9
    )
    last = max(r.epoch or 0 for r in own)
    chart = small_multiples(
        [area, line, auc.encode(x=alt.value("width"), y=alt.value(-5), text="told:N")],
        [p for p in panels if p in present],
        [
            filter_transform(
                "datum.attack === pick_attack",
                SEED_FILTER,
                PANEL_FILTER,
                "datum.series === 'untuned' || datum.epoch === min(pick_epoch, datum.last)",
            ),
            alt.FlattenTransform(flatten=["at", "height"]),
        ],
        pick_parameters(attack=called, seed=ALL_SEEDS, panel="", epoch=last if epoch is None else epoch),
        by="multiple",
        data="densities",
        size=PANEL_SIZE,
        columns=PANELS_PER_ROW,
        grows=False,
    ).resolve_scale(x="independent", y="independent")
    seeds = {r.seed for r in own}
    of_seed = f" Of seed {min(seeds)}." if len(seeds) > 1 else ""
    words = f"Scores of the attack; higher: more likely a member.{of_seed}"
    return Figure(
        f"Scores of the attack {called}: members beside non-members",
        chart,
        {"densities": held},
        words,
        "Scores of members beside non-members",
    )
