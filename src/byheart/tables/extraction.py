"""What each method lets be extracted, beside both controls: texts that were never trained on, and the untuned model.

Jamie Hayes et al., arXiv 2410.19482, ask for non-members beside every extraction rate: a suffix may be what anybody
would write. What the model could write before it was tuned is a control of its own. The excess over both is a difference
of differences on the same texts: members' rise over the untuned model less that of the non-members. Its interval adds the
ends of all four shares, each text paired with itself and texts of a group taken together (`byheart.stats.shares`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet, Table
from byheart.stats.proportions import (
    Share,
    paired_share_difference,
    pooled_share,
    share_difference,
    share_with_interval,
)
from byheart.stats.simultaneous import groups_or_ids, has_same_texts
from byheart.tables._columns import table_note

RATE_METRIC = "extraction_rate"


def extraction(
    rows: Sequence[Row], scores: Callable[[str], ScoreSet], *, epoch: int | None = None, each: bool = False
) -> Table:
    """Share of members that each attack extracts, of non-members, of members from the untuned model, and what is more.

    After an epoch (null: the last); `each` gives a line for every epoch. Raises `DataError` where no attack extracts.
    """
    measured = [r for r in rows if r.metric == RATE_METRIC and r.scores]
    if not any(r.epoch for r in measured):
        raise DataError(
            f"the table of extraction needs the metric {RATE_METRIC} of an attack that extracts, discoverable say"
        )
    variants, attacks = labels.variants(rows), labels.attacks(measured)
    lines: list[tuple[str, ...]] = []
    shown: list[Row] = []
    for lead, there in LeadColumns(measured).split(measured).items():
        for variant, of_method in variants.split(there).items():
            for attack, of_attack in attacks.split(of_method).items():
                before = {r.cell: r for r in of_attack if r.epoch == 0}
                for at in sorted({r.epoch for r in of_attack if r.epoch}) if each else [epoch]:
                    now = [r for r in row_values.rows_at_epoch(of_attack, at) if r.epoch]
                    if now:
                        shown += now
                        told = (str(at),) if each else ()
                        lines.append((*lead, variant, attack, *told, *_cells(now, before, scores)))
    if not lines:
        raise DataError(f"nothing was extracted at epoch {epoch}; the last is {max(r.epoch or 0 for r in measured)}")
    numbers = ("members", "non-members", "members, untuned model", "over non-members", "over both")
    header = (*LeadColumns(measured).header, "method", "attack", *(("epoch",) if each else ()), *numbers)
    said = table_note(shown, RATE_METRIC, epoch)
    return Table("What can be extracted", header, tuple(lines), f"{said[0].upper()}{said[1:]} {_note(shown, scores)}")


def _cells(now: Sequence[Row], before: dict[str, Row], scores: Callable[[str], ScoreSet]) -> tuple[str, ...]:
    """Return the five numbers of one line; a row for each seed."""
    found = [_member_and_nonmember_shares(scores(r.scores)) for r in now]
    pairs = [(scores(r.scores), scores(before[r.cell].scores)) for r in now if r.cell in before]
    same = [(a, b) for a, b in pairs if has_same_texts(a, b)]
    untuned = [_member_and_nonmember_shares(b)[0] for _, b in same]
    columns = (
        [members for members, _ in found],
        [others for _, others in found],
        untuned,
        [share_difference(*both) for both in found],
        [share_difference(_rise_over_base(a, b, members=True), _rise_over_base(a, b, members=False)) for a, b in same],
    )
    return tuple(_format_share(column) for column in columns)


def _member_and_nonmember_shares(held: ScoreSet) -> tuple[Share, Share]:
    return _share(held, members=True), _share(held, members=False)


def _share(held: ScoreSet, *, members: bool) -> Share:
    return share_with_interval(*_class_outcomes(held, members=members))


def _rise_over_base(now: ScoreSet, before: ScoreSet, *, members: bool) -> Share:
    """Return how much more of one side is extracted than from the untuned model."""
    (after, groups), (first, _) = (_class_outcomes(held, members=members) for held in (now, before))
    return paired_share_difference(after, first, groups)


def _class_outcomes(held: ScoreSet, *, members: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    if held.extracted is None:
        raise DataError("these scores are of an attack that extracts nothing; run the study again")
    on = held.members == members
    return held.extracted[on], tuple(g for g, chosen in zip(groups_or_ids(held), on, strict=True) if chosen)


def _format_share(found: Sequence[Share]) -> str:
    if not found:
        return row_values.MISSING
    value, low, high = pooled_share(found)
    return f"{row_values.format_number(value)} [{row_values.format_number(low)}, {row_values.format_number(high)}]"


def _note(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> str:
    tokens = np.concatenate([held for r in rows if (held := scores(r.scores).tokens) is not None])
    sizes = f"{tokens.min()} to {tokens.max()} (median {np.median(tokens):.0f})" if np.ptp(tokens) else f"{tokens[0]}"
    return (
        f"To be had were {sizes} tokens of each text. Over non-members: members' share less theirs. Over both: how much more "
        f"that is than on the untuned model, on the same texts. Intervals of 95 % by themselves{_seeds_phrase(rows)}; above 0 in full "
        "is leaked."
    )


def _seeds_phrase(rows: Sequence[Row]) -> str:
    return ", of several seeds the outermost ends around their mean" if len({r.seed for r in rows}) > 1 else ""
