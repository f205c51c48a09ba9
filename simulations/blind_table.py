"""Table of the blind classifiers' printed AUC on fair splits."""

from __future__ import annotations

from simulations.blind import CLASSIFIERS, NOMINAL_ABOVE, TEXTS
from simulations.table_parts import LEAST, Pieces, markdown_table, pieces_of_table, rate, study_count


def blind_classifiers(pieces: Pieces) -> str:
    """Return the coverage of each classifier's interval, and the shares of intervals and of AUCs above one half."""
    found = pieces_of_table(pieces, "blind")
    rows = [
        [
            population,
            *(
                f"{rate(one, c, LEAST, 1)}; {rate(one, f'{c}, interval above', 0, NOMINAL_ABOVE)}; "
                f"{rate(one, f'{c}, AUC above', 0, 1)}"
                for c in CLASSIFIERS
            ),
            study_count([one]),
        ]
        for (population, _), one in found.items()
    ]
    head = ("fair split", *CLASSIFIERS, "splits")
    caption = (
        f"Complete split checks with {TEXTS} records per class. Members and non-members have the same distribution. Each entry has three "
        "percentages: 95 % intervals that contain 0.5; intervals above 0.5; AUCs above 0.5."
    )
    return f"{caption}\n\n{markdown_table(head, rows)}"
