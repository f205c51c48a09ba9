"""The simulated rates as the tables of docs/statistics.md."""

from __future__ import annotations

from pathlib import Path

from simulations import alarm_tables, blind_table, coverage_tables, pass_tables, planted_table, reversed_table
from simulations.table_parts import Pieces, pieces_of_table

PAGE = Path(__file__).parent.parent / "docs" / "statistics.md"
BEGIN, END = "<!-- simulated: begin -->", "<!-- simulated: end -->"


def write(pieces: Pieces) -> None:
    """Write the tables into the page, between its two marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{text(pieces)}\n\n{END}{after}", encoding="utf-8")


def text(pieces: Pieces) -> str:
    """Return all tables as Markdown."""
    return "\n\n".join(
        [
            "### Coverage of the intervals of an attack",
            coverage_tables.coverage_by_size(pieces, "scores", ("AUC", "TPR at 1 % FPR", "TPR at 10 % FPR")),
            coverage_tables.coverage_by_size(pieces, "pairs", ("difference of two AUCs",)),
            "### Coverage of the intervals of the NLL",
            coverage_tables.coverage_by_size(
                pieces, "readings", ("perplexity", "training perplexity", "generalisation gap")
            ),
            "### Coverage and power of group AUC, from split to interval",
            coverage_tables.group_auc(pieces),
            "### Coverage and power at equal perplexity, from rows to the table",
            coverage_tables.utility(pieces),
            "### Coverage of the intervals over seeds",
            coverage_tables.seeds(pieces),
            "### False positive rate of verdicts and tests",
            alarm_tables.false_positives(pieces),
            *(
                ("### Verdicts of complete audits", alarm_tables.verdicts(pieces))
                if pieces_of_table(pieces, "verdicts")
                else ()
            ),
            *(
                ("### Verdicts and alarms in both directions", reversed_table.reversed_verdicts(pieces))
                if pieces_of_table(pieces, "reversed")
                else ()
            ),
            "### Blind classifiers on fair splits",
            blind_table.blind_classifiers(pieces),
            *(
                ("### Bounds to pass", pass_tables.bounds_to_pass(pieces))
                if pieces_of_table(pieces, "pass path")
                else ()
            ),
            "### Power of the tests",
            alarm_tables.power(pieces),
            "### Coverage of the lower bounds on epsilon",
            alarm_tables.epsilon_bounds(pieces),
            *(
                (
                    "### Complete audits with planted canaries",
                    planted_table.planted_canaries(pieces),
                )
                if pieces_of_table(pieces, "planted")
                else ()
            ),
            "### False positive rate and power of attribute inference",
            alarm_tables.attributes(pieces),
            "### Coverage of extrapolated exposure",
            coverage_tables.exposure(pieces),
            "### Recall of near-duplicate detection",
            coverage_tables.near_copies(pieces),
        ]
    )
