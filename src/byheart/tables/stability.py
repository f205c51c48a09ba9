"""Per-record stability: which members an attack finds again on models with other training seeds or splits.

Jamie Hayes et al. Exploring the limits of strong membership inference attacks on large language models. 2025. arXiv 2505.18773.
They train many models on one training set and report how often two of them decide differently about a record, with a fixed false
positive rate. Departure: thresholds come from each model's own audited non-members, and models may also differ in their split.
Non-members are a control: non-members that are found again are easy texts, not memorized ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from annotated_types import Ge, Interval

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.analysis.stability import Decision, Stability, decide, mean_rank_correlation
from byheart.analysis.stability import stability as agreement
from byheart.core.errors import DataError
from byheart.core.types import Estimate, Row, ScoreSet, Table
from byheart.stats.jackknife import Jackknife
from byheart.tables._columns import attack_rows, with_splits_merged


def stability(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    fpr: Annotated[float, Interval(gt=0, lt=1)] = 0.05,
    epoch: Annotated[int, Ge(0)] | None = None,
    records: Annotated[int, Ge(0)] = 3,
) -> Table:
    """Share of found members that models with other seeds or splits find again, and the first `records` that all find.

    Each model's threshold has the false positive rate `fpr`; `epoch` None is the last epoch. Raises `DataError` if no method was
    trained with several seeds or splits.
    """
    measured = [r for r in attack_rows(with_splits_merged(rows), None, "auc", epoch) if r.scores and not r.initialized]
    lead, variants, attacks = LeadColumns(measured), labels.variants(measured), labels.attacks(measured)
    lines: list[tuple[str, ...]] = []
    for head, lead_rows in lead.split(measured).items():
        for attack, of_attack in attacks.split(lead_rows).items():
            for variant, chosen in variants.split(of_attack).items():
                at_epoch = row_values.rows_at_epoch(chosen, epoch)
                decisions = [decide(scores(r.scores), fpr) for r in {r.cell: r for r in at_epoch}.values()]
                if len(decisions) > 1:
                    lines.append((*head, attack, variant, *_cells(decisions, records)))
    if not lines:
        raise DataError(
            "table stability: one seed and one split. List several `seeds`, or data sets with several `data.seed`."
        )
    header = (
        *lead.header,
        *("attack", "method", "models", "members of several models", "found by a model", "found again"),
        *("by chance", "decisions that differ", "found by 1, 2, ... models", "rank correlation"),
        "non-members found again",
        *(("found by all",) if records else ()),
    )
    note = (
        f"A model finds the records with a score above its threshold, at a false positive rate of at most {fpr:g}. Found again: share "
        "of a model's found members that another model finds too; by chance: the expectation if models found them independently. "
        "Decisions that differ: probability that two models decide differently about a member. Rank correlation: Spearman, of "
        f"two models' scores of members. In brackets: {row_values.INTERVAL} over records, given the models."
    )
    return Table("Members that other seeds and splits find again", header, tuple(lines), note)


def _cells(decisions: Sequence[Decision], records: int) -> tuple[str, ...]:
    members, nonmembers = (agreement(decisions, members=of_members) for of_members in (True, False))
    correlation = mean_rank_correlation(decisions, members=True)
    cells = (
        str(len(decisions)),
        f"{members.records:,}",
        row_values.format_number(members.found),
        _format(members.found_again),
        row_values.MISSING if members.by_chance is None else row_values.format_number(members.by_chance),
        _format(members.flips),
        " / ".join(f"{n:,}" for n in members.by_count[1:]) or row_values.MISSING,
        row_values.MISSING if correlation is None else row_values.format_number(correlation),
        _format(nonmembers.found_again),
    )
    return (*cells, _always(members, records)) if records else cells


def _always(members: Stability, records: int) -> str:
    more = len(members.always) - records
    listed = ", ".join(members.always[:records])
    return (f"{listed} and {more} more" if more > 0 else listed) or row_values.MISSING


def _format(estimate: Jackknife | None) -> str:
    return row_values.format_estimate(None if estimate is None else Estimate(*estimate))
