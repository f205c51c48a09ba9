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
from byheart.analysis.chart_points import named
from byheart.analysis.risk_profile import merged, paths, read
from byheart.analysis.risk_profile import risks as known
from byheart.analysis.utility_curves import levels
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import PANEL, faceted, looks, picks, where

LINE = 20
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
        found = {risk: paths(there, risk) for risk in asked}
        level = perplexity or next(iter(levels(merged(found.values()))), None)
        if level is None:
            continue
        reached.append(row_values.number(level))
        for risk, method, seeds in ((k, m, s) for k, by_method in found.items() for m, s in by_method.items()):
            number = read(seeds, level)
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
                        "nothing": risk.nothing,
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


def _chart(rows: Sequence[Row], held: Sequence[dict[str, Any]]) -> Any:
    import altair as alt

    methods = [n for n in labels.variants(rows).names.values() if n in {h["series"] for h in held}]
    base = alt.Chart()
    colour = alt.Color("series:N", scale=looks(named(rows).series).colour, legend=None)  # names stand at the side
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
    return faceted(
        [nothing, bars, dots],
        list(dict.fromkeys(h["risk"] for h in held)),
        [where(PANEL)],
        picks(panel=""),
        by="risk",
        data="risks",
        size=(190, LINE * len(methods)),
        grows=False,
    ).resolve_scale(x="independent")
