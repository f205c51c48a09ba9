"""Share of texts that n samples extract with probability p or more: the (n, p)-discoverable extraction curve.

Jamie Hayes et al., Measuring memorization in language models via probabilistic extraction, NAACL 2025, arXiv 2410.19482.

    share(n, p) = #{x: 1 - (1 - p_x)^n >= p} / texts

where p_x is the score of the attack `probabilistic`: the probability that one sample is the suffix. Non-members and the
base model are controls: with enough samples, any suffix is generated that sampling does not exclude.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval, MinLen

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.row import is_base_row
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
    """Share of texts that `n` samples extract with probability `p` or more: members, non-members, and base model.

    Uses the last epoch. Raises `DataError` without the attack `probabilistic`.
    """
    measured = [r for r in rows if r.attack == ATTACK and r.metric == "extraction_rate" and r.scores]
    if not any(r.epoch for r in measured):
        raise DataError(
            f"table extraction_curve: no extraction_rate of the attack {ATTACK} after training. Add the attack and the metric."
        )
    # Settings of the attack select a point of the curve; the scores are the same for the whole curve.
    settings = min(r.attack_settings for r in measured)
    measured = [r for r in measured if r.attack_settings == settings]
    variants = labels.variants(rows)
    lines: list[tuple[str, ...]] = []
    for lead, lead_rows in LeadColumns(measured).split(measured).items():
        for variant, variant_rows in variants.split(lead_rows).items():
            for probability in p:
                for class_name, probabilities in _probabilities_by_class(variant_rows, scores).items():
                    cells = (_format_extracted_share(probabilities, probability, samples) for samples in n)
                    lines.append((*lead, variant, f"{probability:g}", class_name, *cells))
    header = (*LeadColumns(measured).header, "method", "p", "texts", *(f"n = {samples:,}" for samples in n))
    note = (
        "A text counts if n samples contain its suffix at least once with probability p or more; after the last epoch. "
        "In brackets: 95 % interval of each share; with several seeds: their mean, and the lowest and highest ends."
    )
    return Table("Share of texts that n samples extract", header, tuple(lines), note)


TextProbabilities = tuple[np.ndarray, tuple[str, ...]]
"""Per text: probability that one sample is the suffix, and the group."""


def _probabilities_by_class(
    rows: Sequence[Row], scores: Callable[[str], ScoreSet]
) -> Mapping[str, list[TextProbabilities]]:
    """Return, for each seed, members and non-members after the last epoch, and members under the base model."""
    tuned = [scores(r.scores) for r in row_values.rows_at_epoch(rows, None)]
    base = list({r.scores: scores(r.scores) for r in rows if is_base_row(r)}.values())
    by_class = {
        "members": [_class_probabilities(score_set, members=True) for score_set in tuned],
        "non-members": [_class_probabilities(score_set, members=False) for score_set in tuned],
        "members, base model": [_class_probabilities(score_set, members=True) for score_set in base],
    }
    return {name: probabilities for name, probabilities in by_class.items() if probabilities}


def _class_probabilities(score_set: ScoreSet, *, members: bool) -> TextProbabilities:
    in_class = score_set.members == members
    groups = tuple(g for g, chosen in zip(groups_or_ids(score_set), in_class, strict=True) if chosen)
    return score_set.scores[in_class], groups


def _format_extracted_share(probabilities: Sequence[TextProbabilities], p: float, n: int) -> str:
    """Format the share of texts whose suffix occurs in n samples with probability p or more."""
    with np.errstate(divide="ignore"):  # log(1 - p_x) is minus infinity for p_x = 1
        value, low, high = pooled_share(
            [share_with_interval(-np.expm1(n * np.log1p(-p_x)) >= p, groups) for p_x, groups in probabilities]
        )
    return f"{row_values.format_number(value)} [{row_values.format_number(low)}, {row_values.format_number(high)}]"
