"""AUC differences between methods on the same texts, with intervals and corrected tests.

E. DeLong, D. DeLong, D. Clarke-Pearson, Biometrics 44 (1988) 837-845, clustered as N. Obuchowski, Biometrics 53 (1997)
567-578; corrected by S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70. Other tools compare methods by
point estimates, or by intervals that ignore that the texts are the same. Two intervals that overlap decide little; the
difference has its own interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from byheart.analysis.comparisons import LeadColumns, auc_comparisons, auc_rows, comparison_grid, comparison_note
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet, Table


def comparisons(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> Table:
    """AUC difference of each pair of methods on the same texts; above 0, the first method leaks more.

    Raises `DataError` for fewer than two methods with scores of the same texts.
    """
    pairs = auc_comparisons(rows, scores)
    attacks, lines = comparison_grid(pairs, "method")
    if not lines:
        raise DataError("table comparisons: fewer than two methods with scores of the same texts. Add another method.")
    return Table(
        "AUC differences between methods",
        (*LeadColumns(auc_rows(rows)).header, "methods compared", *attacks),
        tuple(lines),
        comparison_note(pairs, rows),
    )
