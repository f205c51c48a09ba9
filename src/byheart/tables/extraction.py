"""Share of texts that each attack extracts, beside two controls: non-members and the base model.

Jamie Hayes et al., arXiv 2410.19482, require non-members beside every extraction rate, because a suffix may be
predictable without training on it. The base model is a second control: it generates some suffixes before fine-tuning.
The excess over both is a difference of differences on the same texts: the members' increase over the base model minus
the non-members' increase. Its interval combines the intervals of all four shares, with each text paired with itself and
texts clustered by group (`byheart.stats.proportions`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.row import is_base_row
from byheart.core.types import Row, ScoreSet, Table
from byheart.stats.proportions import (
    Share,
    paired_share_difference,
    pooled_share,
    share_difference,
    share_with_interval,
)
from byheart.stats.simultaneous import groups_or_ids, has_same_texts
from byheart.tables._columns import AdversaryColumn, table_note

RATE_METRIC = "extraction_rate"


def extraction(
    rows: Sequence[Row], scores: Callable[[str], ScoreSet], *, epoch: int | None = None, each: bool = False
) -> Table:
    """Share of members that each attack extracts, beside non-members and the base model, and the excess over both.

    `epoch` None is the last epoch; `each` gives a line for every epoch. Raises `DataError` without an extraction attack.
    """
    measured = [r for r in rows if r.metric == RATE_METRIC and r.scores]
    if not any(r.epoch for r in measured):
        raise DataError(
            f"table extraction: no rows of the metric {RATE_METRIC}. Add it and an extraction attack, such as discoverable."
        )
    variants, attacks = labels.variants(rows), labels.attacks(measured)
    adversaries = AdversaryColumn(measured)
    lines: list[tuple[str, ...]] = []
    shown: list[Row] = []
    for lead, lead_rows in LeadColumns(measured).split(measured).items():
        for variant, variant_rows in variants.split(lead_rows).items():
            for attack, attack_rows in attacks.split(variant_rows).items():
                base_rows = {r.cell: r for r in attack_rows if is_base_row(r)}
                for line_epoch in sorted({r.epoch for r in attack_rows if r.epoch}) if each else [epoch]:
                    epoch_rows = [r for r in row_values.rows_at_epoch(attack_rows, line_epoch) if r.epoch]
                    if epoch_rows:
                        shown += epoch_rows
                        epoch_cell = (str(line_epoch),) if each else ()
                        lines.append(
                            (
                                *lead,
                                variant,
                                *adversaries.cell(attack_rows),
                                attack,
                                *epoch_cell,
                                *_cells(epoch_rows, base_rows, scores),
                            )
                        )
    if not lines:
        last = max(r.epoch or 0 for r in measured)
        raise DataError(f"table extraction: no extraction rate at epoch {epoch}. Choose an epoch up to {last}.")
    numbers = ("members", "non-members", "members, base model", "excess over non-members", "excess over both")
    header = (
        *LeadColumns(measured).header,
        "method",
        *adversaries.header,
        "attack",
        *(("epoch",) if each else ()),
        *numbers,
    )
    note = table_note(shown, RATE_METRIC, epoch)
    return Table(
        "Share of texts that attacks extract",
        header,
        tuple(lines),
        f"{note[0].upper()}{note[1:]} {_note(shown, scores)}{adversaries.note}",
    )


def _cells(tuned_rows: Sequence[Row], base_rows: dict[str, Row], scores: Callable[[str], ScoreSet]) -> tuple[str, ...]:
    """Return the five numbers of one line; `tuned_rows` are one row per seed."""
    shares = [_member_and_nonmember_shares(scores(r.scores)) for r in tuned_rows]
    pairs = [(scores(r.scores), scores(base_rows[r.cell].scores)) for r in tuned_rows if r.cell in base_rows]
    same = [(tuned, base) for tuned, base in pairs if has_same_texts(tuned, base)]
    columns = (
        [members for members, _ in shares],
        [nonmembers for _, nonmembers in shares],
        [_member_and_nonmember_shares(base)[0] for _, base in same],
        [share_difference(members, nonmembers) for members, nonmembers in shares],
        [
            share_difference(_rise_over_base(tuned, base, members=True), _rise_over_base(tuned, base, members=False))
            for tuned, base in same
        ],
    )
    return tuple(_format_share(column) for column in columns)


def _member_and_nonmember_shares(score_set: ScoreSet) -> tuple[Share, Share]:
    return _share(score_set, members=True), _share(score_set, members=False)


def _share(score_set: ScoreSet, *, members: bool) -> Share:
    return share_with_interval(*_class_outcomes(score_set, members=members))


def _rise_over_base(tuned: ScoreSet, base: ScoreSet, *, members: bool) -> Share:
    """Return the share extracted from the fine-tuned model minus the share extracted from the base model."""
    (after, groups), (before, _) = (_class_outcomes(score_set, members=members) for score_set in (tuned, base))
    return paired_share_difference(after, before, groups)


def _class_outcomes(score_set: ScoreSet, *, members: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    if score_set.extracted is None:
        raise DataError("table extraction: the stored scores have no extraction outcome. Run the study again.")
    in_class = score_set.members == members
    groups = tuple(g for g, chosen in zip(groups_or_ids(score_set), in_class, strict=True) if chosen)
    return score_set.extracted[in_class], groups


def _format_share(shares: Sequence[Share]) -> str:
    if not shares:
        return row_values.MISSING
    value, low, high = pooled_share(shares)
    return f"{row_values.format_number(value)} [{row_values.format_number(low)}, {row_values.format_number(high)}]"


def _note(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> str:
    tokens = np.concatenate([counts for r in rows if (counts := scores(r.scores).tokens) is not None])
    sizes = f"{tokens.min()} to {tokens.max()} (median {np.median(tokens):.0f})" if np.ptp(tokens) else f"{tokens[0]}"
    return (
        f"Tokens to extract per text: {sizes}. Excess over non-members: the members' share minus the non-members' share. "
        "Excess over both: this excess minus the same excess on the base model, on the same texts. Each 95 % interval "
        f"holds for its own number{_seeds_phrase(rows)}. An excess over both whose interval lies above 0 is leakage."
    )


def _seeds_phrase(rows: Sequence[Row]) -> str:
    return (
        "; with several seeds: their mean, and the lowest and highest ends" if len({r.seed for r in rows}) > 1 else ""
    )
