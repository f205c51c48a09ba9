"""Methods against each other on the same texts. Two intervals that overlap say little; the difference has its own.

E. DeLong, D. DeLong, D. Clarke-Pearson, Biometrics 44 (1988) 837-845, clustered as N. Obuchowski, Biometrics 53 (1997)
567-578; corrected after S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70. Peers compare methods by point
estimates, or by intervals that leave out that the texts are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from byheart.analysis.comparisons import LeadColumns, auc_comparisons, auc_rows, comparison_grid, comparison_note
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet, Table


def comparisons(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> Table:
    """Methods in pairs under each attack: AUC of the first minus AUC of the second on the same texts.

    Above 0: the first leaks more. Raises `DataError` for fewer than two methods with scores of the same texts.
    """
    found = auc_comparisons(rows, scores)
    attacks, lines = comparison_grid(found, "method")
    if not lines:
        raise DataError("the table of comparisons needs two methods that were audited on the same texts; add another")
    return Table(
        "Methods in pairs",
        (*LeadColumns(auc_rows(rows)).header, "methods", *attacks),
        tuple(lines),
        comparison_note(found, rows),
    )
