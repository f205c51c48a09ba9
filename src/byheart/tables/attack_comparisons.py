"""AUC differences between attacks on the same texts, with intervals and corrected tests.

E. DeLong, D. DeLong, D. Clarke-Pearson, Biometrics 44 (1988) 837-845, clustered as N. Obuchowski, Biometrics 53 (1997)
567-578; corrected by S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70, together with the table `comparisons`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from byheart.analysis.comparisons import LeadColumns, auc_comparisons, auc_rows, comparison_grid, comparison_note
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet, Table


def attack_comparisons(rows: Sequence[Row], scores: Callable[[str], ScoreSet]) -> Table:
    """AUC difference of each pair of attacks on the same texts; above 0, the first attack is stronger.

    Raises `DataError` for fewer than two attacks with scores of the same texts.
    """
    pairs = auc_comparisons(rows, scores)
    methods, lines = comparison_grid(pairs, "attack")
    if not lines:
        raise DataError(
            "table attack_comparisons: fewer than two attacks with scores of the same texts. Add another attack."
        )
    return Table(
        "AUC differences between attacks",
        (*LeadColumns(auc_rows(rows)).header, "attacks compared", *methods),
        tuple(lines),
        comparison_note(pairs, rows),
    )
