"""Envelope over learning rates: the lowest leakage that any rate of a method reaches at each validation perplexity.

A method's leakage at one rate is as much a property of the rate as of the method. The envelope of a method is the Pareto front
of its observed states (all rates, epochs and initialized states): E(p) = min{leakage of a state with perplexity at most p}, a
step function. A step lies at an observed state; no model between two states is assumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byheart.figures._chart_parts import (
    chance_level_layers,
    end_label_layers,
    point_tooltips,
)
from byheart.figures._series_style import SeriesStyle, series_encodings

if TYPE_CHECKING:
    import altair as alt

LABEL_RISE = 8
"""Pixels from a step up to the middle of its label."""


def family_transforms() -> list[Any]:
    """Return transforms that name each point's series by its method without the rate; `state` is the name with the rate."""
    import altair as alt

    family = "isValid(datum.family) ? datum.family : datum.series"
    return [
        alt.CalculateTransform(calculate="datum.series", **{"as": "state"}),
        alt.CalculateTransform(calculate=family, **{"as": "series"}),
    ]


def envelope_transforms(counted: str) -> list[Any]:
    """Return transforms that mark the points of each method's envelope among the points that fulfill `counted`.

    A point is on the envelope if no state of the method has as low a perplexity and as low a leakage. `is_first` marks the
    point with the lowest perplexity.
    """
    import altair as alt

    def window(op: str, field: str, name: str) -> Any:
        definition: Any = {"op": op, "field": field, "as": name}
        return alt.WindowTransform(
            window=[alt.WindowFieldDef(**definition)],
            frame=[None, 0],
            ignorePeers=True,
            sort=[alt.SortField("perplexity", order="ascending"), alt.SortField("value", order="ascending")],
            groupby=["panel", "series", "is_left_out"],
        )

    return [
        alt.CalculateTransform(calculate=f"!({counted})", **{"as": "is_left_out"}),
        window("min", "value", "least_so_far"),
        window("lag", "least_so_far", "least_before"),
        alt.CalculateTransform(calculate="!isValid(datum.least_before)", **{"as": "is_first"}),
        alt.CalculateTransform(calculate="datum.is_first || datum.value < datum.least_before", **{"as": "on_envelope"}),
    ]


def envelope_layers(base: Any, style: SeriesStyle, x: alt.X, y: alt.Y) -> list[Any]:
    """Return the layers of a panel: chance level, all states (pale), the intervals, steps and states of each envelope."""
    import altair as alt

    on_envelope = base.transform_filter("datum.on_envelope")
    pale = base.transform_filter("!datum.on_envelope").mark_point(filled=True, opacity=0.3, size=22, aria=False)
    bars = on_envelope.mark_rule(opacity=0.4, strokeWidth=1.1, aria=False).encode(
        x=x, y="low:Q", y2="high:Q", **series_encodings(style)
    )
    # Between two states, a model with the perplexity of the better one leaks as much as that one.
    steps = on_envelope.mark_line(strokeWidth=1.5, interpolate="step-after", aria=False).encode(
        x=x, y=y, order="perplexity:Q", **series_encodings(style, dashed=True, marked=True)
    )
    tooltips = [alt.Tooltip("state:N", title="model"), *point_tooltips(perplexity=True)]
    dots = on_envelope.mark_point(filled=True, opacity=1, size=44).encode(
        x=x, y=y, tooltip=tooltips, **series_encodings(style, shaped=True)
    )
    return [
        *chance_level_layers(base),
        pale.encode(x=x, y=y, tooltip=tooltips, **series_encodings(style, shaped=True)),
        bars,
        steps,
        *end_label_layers(
            base, style, "perplexity:Q", aside=False, at="datum.is_first && !datum.is_left_out", rise=LABEL_RISE
        ),
        dots,
    ]
