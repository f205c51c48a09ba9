"""Leakage by method: Table 2 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: every number has its interval, and the untuned base
model has a column of its own, because an attack that tells members from non-members before any fine-tuning has found a
difference between the two sets of texts and not memorisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels
from byheart.analysis.comparisons import AMONG_LEAST, Lead, Place, among_least, pairs, scored_rows
from byheart.core.types import Row, ScoreSet, Table
from byheart.tables._columns import across, note, of_attack, untuned, value_at

LEAST = "leaks least of its line, or is not told from that on the same texts at 5 %, corrected over all {} comparisons (Holm)"


def methods(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    *,
    epoch: Annotated[int, Ge(0)] | None = None,
    metric: str = "auc",
) -> Table:
    """Leakage of every method under every attack, beside its validation perplexity; higher leaks more.

    `epoch` None stands for the last one. Of AUCs, each attack's lowest is marked, with those not told from it on the
    same texts. Raises `DataError` where no attack was measured by this metric.
    """
    measured = of_attack(rows, None, metric, epoch)
    utility = [r for r in rows if r.metric == "perplexity" and not r.attack]
    lead, variants, attacks = Lead(measured), labels.variants([*measured, *utility]), labels.attacks(measured)
    perplexities = lead.split(utility)
    found = pairs(rows, scores, epoch) if metric == "auc" else []
    least = among_least(found, scored_rows(rows, epoch)) if found else set[Place]()
    lines: list[tuple[str, ...]] = []
    for head, there in lead.split(measured).items():
        named = {**attacks.split(there), labels.metric_name("perplexity"): perplexities.get(head, [])}
        lines += [
            (
                *head,
                name,
                untuned(those),
                *_marked(
                    across(variants, those, value_at(epoch)),
                    [Place(head, name, v) in least for v in variants.names.values()],
                ),
            )
            for name, those in named.items()
            if those
        ]
    header = (*lead.header, "attack", labels.UNTUNED, *variants.names.values())
    title = f"{labels.metric_name(metric)} by attack and fine-tuning method"
    told = f" {AMONG_LEAST}: {LEAST.format(len(found))}." if least else ""
    return Table(title, header, tuple(lines), note(measured, metric, epoch) + told)


def _marked(cells: Sequence[str], marks: Sequence[bool]) -> tuple[str, ...]:
    """Set the mark behind the number, before its interval."""
    parted = [c.partition(" ") for c in cells]
    return tuple(f"{n}{AMONG_LEAST if m else ''} {rest}".strip() for (n, _, rest), m in zip(parted, marks, strict=True))
