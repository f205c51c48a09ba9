"""Table of verdicts and alarms in reverse."""

from __future__ import annotations

from simulations.reversed_verdicts import EVALUATIONS, NOMINAL
from simulations.table_parts import Pieces, markdown_table, pieces_of_table, rate, study_count


def reversed_verdicts(pieces: Pieces) -> str:
    """Return how often each direction is claimed, without leakage and for a model that forgot the members."""
    rows = [
        [
            model,
            population,
            *(rate(one, name, 0, limit if table == "reversed" else 1) for name, limit in NOMINAL.items()),
            study_count([one]),
        ]
        for table, model in (("reversed", "no leakage"), ("reversed, forgotten", "members forgotten"))
        for (population, _), one in pieces_of_table(pieces, table).items()
    ]
    head = (
        "model",
        "difference",
        "*leaks*, without base model",
        "*reversed*, without base model",
        "*leaks*, with base model",
        "*reversed*, with base model",
        f"any alarm in {EVALUATIONS} evaluations",
        "alarm of a leak in reverse",
        "audits",
    )
    nominal = ", ".join(f"{100 * limit:g}" for limit in NOMINAL.values())
    return (
        "Entries are % of complete audits and trainings with the callback, with 150 records per class. Nominal rates without leakage, by "
        f"column: {nominal}."
        f"\n\n{markdown_table(head, rows)}"
    )
