"""Leakage against utility: AUC and validation perplexity of each method, by epoch.

After the trade-off curves of differential privacy's accuracy against attack success (Bargav Jayaraman, David Evans,
Evaluating Differentially Private Machine Learning in Practice, USENIX Security 2019, arXiv 1902.08874), here for
fine-tuning methods. Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258 show leakage and perplexity in two figures, which hides
that a method may leak less only because it learned less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from byheart.analysis import labels, row_values
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import (
    ALL_SEEDS,
    attack_and_metric_names,
    chart_names,
    leakage_rows,
    points,
    rate_families,
    without_rate,
)
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import (
    PANEL_FILTER,
    PICKED_LEAKAGE_FILTER,
    SEED_FILTER,
    chance_level_layers,
    end_label_layers,
    filter_transform,
    height_transforms,
    pick_parameters,
    point_tooltips,
    small_multiples,
)
from byheart.figures._envelope import envelope_layers, envelope_transforms, family_transforms
from byheart.figures._series_style import SeriesStyle, series_encodings, series_style

if TYPE_CHECKING:
    import altair as alt

STAR = (
    "M0,-1L0.235,-0.324L0.951,-0.309L0.38,0.124L0.588,0.809L0,0.4L-0.588,0.809L-0.38,0.124L-0.951,-0.309L-0.235,-0.324Z"
)


STARTS_AT_BASE = "!datum.has_start || datum.initialized || datum.epoch > 0"
"""Condition that leaves out the base model of methods with an initialized state of their own."""


def frontier(rows: Sequence[Row], *, attack: str = "loss", metric: str = "auc", envelope: bool = False) -> Figure:
    """Leakage of each method against its validation perplexity; low and left is best.

    A path runs through the epochs. The star is the base model, where a path starts if the method does. Paths of prompt
    methods start where the initialized prompt is. Dots grow with the epoch. Bars are the intervals of the leakage; the
    figure `perplexity` has those of the perplexity. With `envelope`, cells that differ only in the learning rate are one
    method, and its steps show the lowest leakage of its observed states with at most a given perplexity. Raises
    `DataError` without perplexity at the attack's epochs.
    """
    attack_name, measure = attack_and_metric_names(rows, attack, metric)
    all_points = points(rows)
    shown = [
        p for p in all_points if (p["attack"], p["metric"]) == (attack_name, measure) and p["perplexity"] is not None
    ]
    if not shown:
        attacks = ", ".join(sorted({r.attack for r in rows if r.attack}))
        raise DataError(
            f"figure frontier: no perplexity at the epochs of the attack {attack!r}. "
            f"Add the metric perplexity, or choose another attack: {attacks}."
        )
    names = chart_names(rows)
    drawn = leakage_rows(rows)
    style = series_style(rate_families(drawn) if envelope else chart_names(drawn).series)
    chart = small_multiples(
        _envelope(style) if envelope else _paths(style),
        [n for n in names.panels.names.values() if n in {p["panel"] for p in shown}],
        _transforms(envelope=envelope),
        pick_parameters(attack=attack_name, metric=measure, seed=ALL_SEEDS, panel=""),
        marked=True,
    ).resolve_scale(x="independent")
    bars = row_values.interval_description(drawn)
    title = f"{measure} of the attack {attack_name} against validation perplexity"
    if envelope:
        return Figure(
            f"{title}, lowest over learning rates",
            chart,
            {"points": all_points},
            f"y axis: leakage. Star: {labels.BASE_LABEL}. Steps: lowest leakage of a method's observed states with at most "
            f"this perplexity ({_count_rates(rows)}); pale points: its other states. The lowest of several numbers is partly "
            f"low by chance. Bars: {bars}, not corrected for this; dotted line: chance.",
            "Leakage against utility (validation perplexity), lowest over learning rates",
        )
    initialized = ", and the smallest the initialized prompt" if any(r.initialized for r in rows) else ""
    words = (
        f"y axis: leakage. Each path runs through the epochs. Star: {labels.BASE_LABEL}; dots: epochs, the last is "
        f"the largest{initialized}; "
        f"bars: {bars}; dotted line: chance."
    )
    return Figure(title, chart, {"points": all_points}, words, "Leakage against utility (validation perplexity)")


def _count_rates(rows: Sequence[Row]) -> str:
    """Return how many learning rates each method has, such as "learning rates: 3 of full, 1 of LoRA"."""
    families, series = rate_families(rows), chart_names(rows).series
    rates: dict[str, set[str]] = {}
    for row in leakage_rows(rows):
        rates.setdefault(families(without_rate(row)), set()).add(series(row))
    return "learning rates: " + ", ".join(f"{len(rates[n])} of {n}" for n in families.names.values() if n in rates)


def _transforms(*, envelope: bool) -> list[Any]:
    import altair as alt

    return [
        filter_transform(PICKED_LEAKAGE_FILTER, SEED_FILTER, PANEL_FILTER, "isValid(datum.perplexity)"),
        *(family_transforms() if envelope else []),
        alt.CalculateTransform(calculate="datum.last ? datum.epoch / datum.last : 1", **{"as": "share"}),
        alt.CalculateTransform(calculate="datum.initialized ? 1 : 0", **{"as": "start"}),
        alt.JoinAggregateTransform(
            joinaggregate=[alt.JoinAggregateFieldDef(op="max", field="start", **{"as": "has_start"})],
            groupby=["panel", "series"],
        ),
        *(envelope_transforms(STARTS_AT_BASE) if envelope else []),
        *height_transforms(),
    ]


def _axes() -> tuple[alt.X, alt.Y]:
    import altair as alt

    x = alt.X(
        "perplexity:Q",
        title="validation perplexity (lower is better)",
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=alt.Axis(tickCount=5, format="~r"),
    )
    return x, alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, nice=False))


def _envelope(style: SeriesStyle) -> list[Any]:
    import altair as alt

    base: Any = alt.Chart().transform_filter(STARTS_AT_BASE)
    return [*envelope_layers(base, style, *_axes()), _star()]


def _paths(style: SeriesStyle) -> list[Any]:
    """Return the layers of a panel: chance level, intervals, paths with labels, epochs, and the base model's star."""
    import altair as alt

    base: Any = alt.Chart().transform_filter(STARTS_AT_BASE)
    x, y = _axes()
    bars = base.mark_rule(opacity=0.4, strokeWidth=1.1, aria=False).encode(
        x=x, y="low:Q", y2="high:Q", **series_encodings(style)
    )
    paths = base.mark_line(strokeWidth=1.5, aria=False).encode(
        x=x,
        y=y,
        order="epoch:Q",
        **series_encodings(style, dashed=True, marked=True),
    )
    dots = base.mark_point(filled=True, opacity=1).encode(
        x=x,
        y=y,
        size=alt.Size("share:Q", scale=alt.Scale(domain=[0, 1], range=[14, 62]), legend=None),
        tooltip=point_tooltips(perplexity=True),
        **series_encodings(style, shaped=True),
    )
    return [
        *chance_level_layers(base),
        bars,
        paths,
        *end_label_layers(base, style, "perplexity:Q", aside=False),
        dots,
        _star(),
    ]


def _star() -> Any:
    """Return the layer with the base model of each panel."""
    import altair as alt

    x, y = _axes()
    star: Any = (
        alt.Chart()
        .transform_filter("datum.epoch === 0 && !datum.initialized")
        .transform_window(nth="row_number()", groupby=["panel"])
    )
    star = star.transform_filter("datum.nth === 1").mark_point(
        shape=STAR, size=180, filled=True, opacity=1, style="ink"
    )
    return star.encode(x=x, y=y)
