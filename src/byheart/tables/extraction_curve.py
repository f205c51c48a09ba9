"""How much can be extracted by whoever tries often: the share of texts that n tries find with a probability of p.

Jamie Hayes et al., Measuring memorization in language models via probabilistic extraction, NAACL 2025, arXiv 2410.19482.

    share(n, p) = #{x: 1 - (1 - p_x)^n >= p} / texts

with p_x the score of the attack `probabilistic`: the probability that one try writes the suffix. The same of non-members and
of the untuned model stands below, since with enough tries anything is written that sampling does not rule out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval, MinLen

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet, Table
from byheart.stats.proportions import pooled_share, share_with_interval
from byheart.stats.simultaneous import groups_or_ids

ATTACK = "probabilistic"


def extraction_curve(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    n: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 10, 100, 1000, 10_000, 1_000_000),
    p: Annotated[tuple[Annotated[float, Interval(gt=0, lt=1)], ...], MinLen(1)] = (0.1, 0.5, 0.9),
) -> Table:
    """Share of texts that `n` tries extract with a probability of `p` at least: members, non-members, untuned model.

    After the last epoch. Raises `DataError` where the attack `probabilistic` was not run.
    """
    measured = [r for r in rows if r.attack == ATTACK and r.metric == "extraction_rate" and r.scores]
    if not any(r.epoch for r in measured):
        raise DataError(f"the curve of n against p needs the attack {ATTACK}, measured by extraction_rate")
    # Settings of the attack choose a point of the curve; the scores are those of the whole.
    settings = min(r.attack_settings for r in measured)
    measured = [r for r in measured if r.attack_settings == settings]
    variants = labels.variants(rows)
    lines: list[tuple[str, ...]] = []
    for lead, there in LeadColumns(measured).split(measured).items():
        for variant, those in variants.split(there).items():
            for probability in p:
                for side, held in _probabilities_by_class(those, scores).items():
                    cells = (_format_extracted_share(held, probability, tries) for tries in n)
                    lines.append((*lead, variant, f"{probability:g}", side, *cells))
    header = (*LeadColumns(measured).header, "method", "p", "of", *(f"n = {tries:,}" for tries in n))
    note = (
        "A text counts where n samples hold its suffix at least once with a probability of p or more; after the last epoch. "
        "In brackets the 95 % interval of each share by itself, of several seeds the outermost ends around their mean."
    )
    return Table("What can be extracted in n tries", header, tuple(lines), note)


TextProbabilities = tuple[np.ndarray, tuple[str, ...]]
"""Probabilities of one try, and the texts' groups."""


def _probabilities_by_class(
    rows: Sequence[Row], scores: Callable[[str], ScoreSet]
) -> Mapping[str, list[TextProbabilities]]:
    """Return, for each seed, both sides after the last epoch, and the members of the untuned model."""
    now = [scores(r.scores) for r in row_values.rows_at_epoch(rows, None)]
    first = list({r.scores: scores(r.scores) for r in rows if r.epoch == 0}.values())
    found = {
        "members": [_class_probabilities(held, members=True) for held in now],
        "non-members": [_class_probabilities(held, members=False) for held in now],
        "members, untuned model": [_class_probabilities(held, members=True) for held in first],
    }
    return {name: held for name, held in found.items() if held}


def _class_probabilities(held: ScoreSet, *, members: bool) -> TextProbabilities:
    on = held.members == members
    return held.scores[on], tuple(g for g, chosen in zip(groups_or_ids(held), on, strict=True) if chosen)


def _format_extracted_share(held: Sequence[TextProbabilities], p: float, n: int) -> str:
    """Return the share of the texts whose suffix n tries hold with a probability of p at least."""
    with np.errstate(divide="ignore"):  # what is certain has minus infinity of being missed
        value, low, high = pooled_share(
            [share_with_interval(-np.expm1(n * np.log1p(-once)) >= p, groups) for once, groups in held]
        )
    return f"{row_values.format_number(value)} [{row_values.format_number(low)}, {row_values.format_number(high)}]"
