"""The four risks of each method side by side, read where all methods reach one validation perplexity.

What Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258 leave to others (extraction, private attributes) beside what they measure; the
table of the same name says what each number is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Gt

from byheart.analysis import labels, row_values
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import chart_names
from byheart.analysis.risk_profile import estimate_at_perplexity, merged_paths, risk_paths
from byheart.analysis.risk_profile import measured_risks as known
from byheart.analysis.utility_curves import common_perplexities
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import PANEL_FILTER, filter_transform, pick_parameters, series_style, small_multiples

METHOD_HEIGHT = 20
"""Pixels that a method is given."""


def risks(
    rows: Sequence[Row],
    *,
    attack: str = "loss",
    extraction: str = "discoverable",
    perplexity: Annotated[float, Gt(0)] | None = None,
) -> Figure:
    """Membership, extraction, attributes and canaries by method, where all reach the same perplexity; right leaks more.

    `perplexity` None stands for the lowest that all methods reach which improve on the untuned model. A method that does
    not reach it is not drawn. Raises `DataError` for fewer than two risks, or no such perplexity.
    """
    asked = known(rows, attack, extraction)
    held: list[dict[str, Any]] = []
    reached: list[str] = []
    panels = labels.panels(rows)
    for panel, there in panels.split(rows).items():
        found = {risk: risk_paths(there, risk) for risk in asked}
        level = perplexity or next(iter(common_perplexities(merged_paths(found.values()))), None)
        if level is None:
            continue
        reached.append(row_values.format_number(level))
        for risk, method, seeds in ((k, m, s) for k, by_method in found.items() for m, s in by_method.items()):
            number = estimate_at_perplexity(seeds, level)
            if number is not None:
                called = risk.name if len(panels.names) == 1 else f"{panel}: {risk.name}"
                held.append(
                    {
                        "panel": panel,
                        "risk": called,
                        "measure": risk.measure,
                        "series": method,
                        "value": number.value,
                        "low": number.low,
                        "high": number.high,
                        "nothing": risk.no_leakage_level,
                        "perplexity": level,
                    }
                )
    if not held:
        raise DataError("risks at equal utility need two risks and perplexity, both by epoch")
    words = "; ".join(f"{r.name}: {r.measure}" for r in asked)
    return Figure(
        f"Four risks at equal validation perplexity ({', '.join(dict.fromkeys(reached))})",
        _chart(rows, held),
        {"risks": held},
        f"{words}. Bars: 95 % interval; dotted: nothing leaked.",
        "Four risks at equal utility",
    )


def _chart(rows: Sequence[Row], points: Sequence[dict[str, Any]]) -> Any:
    import altair as alt

    methods = [n for n in labels.variants(rows).names.values() if n in {h["series"] for h in points}]
    base = alt.Chart()
    colour = alt.Color(
        "series:N", scale=series_style(chart_names(rows).series).color, legend=None
    )  # names stand at the side
    down = alt.Y("series:N", sort=methods, title=None)
    told = [
        *(
            alt.Tooltip(f"{f}:N", title=t)
            for f, t in (("series", "method"), ("panel", "data"), ("measure", "measured"))
        ),
        *(
            alt.Tooltip(f"{f}:Q", title=t, format=".5~r")
            for f, t in (("value", "value"), ("low", "from"), ("high", "to"), ("perplexity", "perplexity"))
        ),
    ]
    nothing = base.mark_rule(strokeDash=[1, 3], style="level", strokeWidth=1.2, aria=False).encode(
        x=alt.X("mean(nothing):Q")
    )
    bars = base.mark_rule(strokeWidth=1.6, opacity=0.6, aria=False).encode(
        x=alt.X("low:Q", title=None, scale=alt.Scale(zero=False)), x2="high:Q", y=down, color=colour
    )
    dots = base.mark_point(filled=True, opacity=1, size=46).encode(x="value:Q", y=down, tooltip=told, color=colour)
    return small_multiples(
        [nothing, bars, dots],
        list(dict.fromkeys(h["risk"] for h in points)),
        [filter_transform(PANEL_FILTER)],
        pick_parameters(panel=""),
        by="risk",
        data="risks",
        size=(190, METHOD_HEIGHT * len(methods)),
        grows=False,
    ).resolve_scale(x="independent")
