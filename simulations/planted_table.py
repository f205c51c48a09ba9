"""The table of audits with planted canaries."""

from __future__ import annotations

from simulations.table_parts import ALLOWANCE, Pieces, markdown_table, pieces_of_table, rate, study_count

CLAIMS = {"bound above 0": 0.05, "TPR above the FPR": 0.05, "verdict: leaks": 0.05}
"""Outcomes that claim leakage, and their nominal rates without leakage."""


def planted_canaries(pieces: Pieces) -> str:
    """Return the share of audits in which the bound on epsilon holds, and in which each number claims leakage."""
    rows = [
        [
            mechanism,
            rate(one, "bound holds", 0.95 - ALLOWANCE, 1),
            *(
                rate(one, name, 0, nominal + ALLOWANCE if mechanism == "no leakage" else 1)
                for name, nominal in CLAIMS.items()
            ),
            study_count([one]),
        ]
        for (mechanism, _), one in pieces_of_table(pieces, "planted").items()
    ]
    table = markdown_table(("mechanism", "bound holds", *CLAIMS, "audits"), rows)
    return f"Entries are % of audits with 240 canaries.\n\n{table}"
