"""Tables of bounds to pass: false passes at the bound, power at chance, and the path from texts to the result."""

from __future__ import annotations

from simulations.pass_bounds import EXACT, NOMINAL, PATHS, told
from simulations.table_parts import ALLOWANCE, Pieces, markdown_table, pieces_of_table, rate, study_count

METRICS = ("AUC", "TPR")


def bounds_to_pass(pieces: Pieces) -> str:
    """Return all three tables."""
    return "\n\n".join([_false_passes(pieces), _power(pieces), _paths(pieces)])


def _false_passes(pieces: Pieces) -> str:
    found = pieces_of_table(pieces, "pass")
    sizes = sorted({size for _, size in found})
    head = ["attacks", *(f"{m}, {n:,}" for m in METRICS for n in sizes)]
    rows = (
        [p, *(rate(found[p, n], m, 0, NOMINAL + ALLOWANCE) for m in METRICS for n in sizes)]
        for p in dict.fromkeys(population for population, _ in found)
    )
    caption = (
        f"False passes in % of {study_count(found.values())} studies; nominal: 2.5 %. The strongest attack is exactly at the bound, so "
        "every pass is false. Columns: metric (TPR: at 10 % FPR) and number of records per class. A bound on epsilon is tested as its "
        "equivalent bound on TPR."
    )
    return f"{caption}\n\n{markdown_table(head, rows)}"


def _power(pieces: Pieces) -> str:
    rows: list[list[str]] = []
    for (name, texts), one in pieces_of_table(pieces, "pass power").items():
        predicted = told(name)[1]
        highest = predicted + 0.04 if EXACT in name else 1
        rows.append(
            [
                name,
                f"{texts:,}",
                f"{100 * predicted:.0f}",
                rate(one, "passes", predicted - 0.04, highest),
                study_count([one]),
            ]
        )
    head = ("bound and attacks", "records per class", "predicted power, %", "passes, %", "studies")
    caption = (
        "Power with attacks at chance, with the number of records that `byheart check --pass-below` computes. For several attacks, the "
        "predicted power is a lower bound."
    )
    return f"{caption}\n\n{markdown_table(head, rows)}"


def _paths(pieces: Pieces) -> str:
    rows = [
        [
            name,
            rate(one, "passes without split check", 0, 1 if PATHS[name][2] == 0.5 else NOMINAL + ALLOWANCE),
            rate(one, "passes", 0, NOMINAL + ALLOWANCE if name != "no difference, AUC 0.5" else 1),
            study_count([one]),
        ]
        for (name, _), one in pieces_of_table(pieces, "pass path").items()
    ]
    head = ("difference of the classes; attack", "passes without the split check, %", "passes, %", "audits")
    caption = (
        "Complete audits with the split check: bound AUC below 0.6, 150 records per class. Rates of 20 audits are imprecise. Of 1,500 "
        "studies with the same scores, 2.7 % pass at an AUC of 0.6 and 68.6 % at 0.5."
    )
    return f"{caption}\n\n{markdown_table(head, rows)}"
