"""Warning about rows of models that were trained in different number formats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from byheart.analysis import labels
from byheart.core.types import Row

MAX_NAMED_MODELS = 4
"""Maximum number of models of a precision that are named; of more, one is named and all are counted."""


def precision_warning(rows: Iterable[Row]) -> str:
    """Return one sentence that names the models by their training precision; "" if all have the same.

    Rows of older versions, whose precision is unknown, are left out.
    """
    known = [r for r in rows if r.precision]
    panels, variants = labels.panels(known), labels.variants(known)
    models: dict[str, dict[str, None]] = {}
    for r in known:
        models.setdefault(r.precision, {})[f"{panels(r)}, {variants(r)}, seed {r.seed}"] = None
    if len(models) < 2:  # noqa: PLR2004 - one precision is no mixture
        return ""
    named = "; ".join(f"{precision} ({_names(list(models[precision]))})" for precision in sorted(models))
    return (
        f"Models were trained in different precisions: {named}. Differences between them may come from the precision. "
        "Set machine.precision, and run the study again with another --store."
    )


def _names(models: Sequence[str]) -> str:
    if len(models) <= MAX_NAMED_MODELS:
        return " | ".join(models)
    return f"{len(models)} models, such as {models[0]}"
