"""Four risks of each method at the same validation perplexity: membership, extraction, private attributes, canaries.

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258 measure only membership. The table of the same name defines each number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Gt

from byheart.analysis import labels, row_values
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import chart_names
from byheart.analysis.risk_profile import estimate_at_perplexity, measured_risks, merged_paths, risk_paths
from byheart.analysis.utility_curves import common_perplexities
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import PANEL_FILTER, filter_transform, pick_parameters, small_multiples
from byheart.figures._series_style import series_style

METHOD_HEIGHT = 20
"""Height of a method's line (pixels)."""


def risks(
    rows: Sequence[Row],
    *,
    attack: str = "loss",
    extraction: str = "discoverable",
    perplexity: Annotated[float, Gt(0)] | None = None,
) -> Figure:
    """Membership, extraction, attribute and canary risk of each method at equal perplexity; a higher value means more leakage.

    `perplexity` None is the lowest that all methods reach which improve on the base model. A method that does not reach
    it, or was not observed closely around it, is not drawn. Raises `DataError` for fewer than two risks, or without such a perplexity.
    """
    selected_risks = measured_risks(rows, attack, extraction)
    risk_points: list[dict[str, Any]] = []
    levels: list[str] = []
    panels = labels.panels(rows)
    for panel, panel_rows in panels.split(rows).items():
        paths = {risk: risk_paths(panel_rows, risk) for risk in selected_risks}
        level = perplexity or next(iter(common_perplexities(merged_paths(paths.values()))), None)
        if level is None:
            continue
        levels.append(row_values.format_number(level))
        for risk, method, seeds in ((k, m, s) for k, by_method in paths.items() for m, s in by_method.items()):
            number = estimate_at_perplexity(seeds, level)
            if not isinstance(number, str):
                risk_points.append(
                    {
                        "panel": panel,
                        "risk": risk.name if len(panels.names) == 1 else f"{panel}: {risk.name}",
                        "measure": risk.measure,
                        "series": method,
                        "value": number.value,
                        "low": number.low,
                        "high": number.high,
                        "nothing": risk.no_leakage_level,
                        "perplexity": level,
                    }
                )
    if not risk_points:
        raise DataError(
            "figure risks: fewer than two risks with perplexity by epoch. Add metrics, and perplexity, to the study."
        )
    words = "; ".join(f"{r.name}: {r.measure}" for r in selected_risks)
    return Figure(
        f"Four risks at equal validation perplexity ({', '.join(dict.fromkeys(levels))})",
        _chart(rows, risk_points),
        {"risks": risk_points},
        f"{words[0].upper()}{words[1:]}. Bars: 95 % interval; dotted line: no leakage.",
        "Four risks at equal utility (validation perplexity)",
    )


def _chart(rows: Sequence[Row], points: Sequence[dict[str, Any]]) -> Any:
    import altair as alt

    methods = [n for n in labels.variants(rows).names.values() if n in {point["series"] for point in points}]
    base = alt.Chart()
    # The y axis has the names, so that no legend is needed.
    color = alt.Color("series:N", scale=series_style(chart_names(rows).series).color, legend=None)
    y = alt.Y("series:N", sort=methods, title=None)
    tooltips = [
        *(alt.Tooltip(f"{f}:N", title=t) for f, t in (("series", "method"), ("panel", "data"), ("measure", "measure"))),
        *(
            alt.Tooltip(f"{f}:Q", title=t, format=".5~r")
            for f, t in (
                ("value", "value"),
                ("low", "interval low"),
                ("high", "interval high"),
                ("perplexity", "perplexity"),
            )
        ),
    ]
    no_leakage = base.mark_rule(strokeDash=[1, 3], style="level", strokeWidth=1.2, aria=False).encode(
        x=alt.X("mean(nothing):Q")
    )
    bars = base.mark_rule(strokeWidth=1.6, opacity=0.6, aria=False).encode(
        x=alt.X("low:Q", title=None, scale=alt.Scale(zero=False)), x2="high:Q", y=y, color=color
    )
    dots = base.mark_point(filled=True, opacity=1, size=46).encode(x="value:Q", y=y, tooltip=tooltips, color=color)
    return small_multiples(
        [no_leakage, bars, dots],
        list(dict.fromkeys(point["risk"] for point in points)),
        [filter_transform(PANEL_FILTER)],
        pick_parameters(panel=""),
        by="risk",
        data="risks",
        size=(190, METHOD_HEIGHT * len(methods)),
        grows=False,
    ).resolve_scale(x="independent")
