"""Attacks against each other on the same texts: which finds more, and which only seems to.

E. DeLong, D. DeLong, D. Clarke-Pearson, Biometrics 44 (1988) 837-845, clustered as N. Obuchowski, Biometrics 53 (1997)
567-578; corrected after S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70, together with the table of methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from byheart.analysis.comparisons import LeadColumns, auc_comparisons, auc_rows, comparison_grid, comparison_note
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet, Table


def attack_comparisons(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> Table:
    """Attacks in pairs on each method: AUC of the first minus AUC of the second on the same texts.

    Above 0: the first finds more. Raises `DataError` for fewer than two attacks with scores of the same texts.
    """
    found = auc_comparisons(rows, scores)
    methods, lines = comparison_grid(found, "attack")
    if not lines:
        raise DataError("the table of attack comparisons needs two attacks on the same texts; add another")
    return Table(
        "Attacks in pairs",
        (*LeadColumns(auc_rows(rows)).header, "attacks", *methods),
        tuple(lines),
        comparison_note(found, rows),
    )
