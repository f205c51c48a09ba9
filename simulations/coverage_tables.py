"""Tables of coverage: how often intervals contain the true value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulations.groups import METRICS as GROUP_METRICS
from simulations.near_copies import REMOVED, SHINGLES
from simulations.table_parts import LEAST, Pieces, markdown_table, pieces_of_table, rate, study_count


def coverage_by_size(pieces: Pieces, table: str, columns: tuple[str, ...]) -> str:
    """Return the coverage of intervals by population, one column for each number and size."""
    found = pieces_of_table(pieces, table)
    sizes = sorted({size for _, size in found})
    head = ["population", *(f"{c}, {n:,}" for c in columns for n in sizes)]
    populations = dict.fromkeys(population for population, _ in found)
    rows = ([p, *(rate(found[p, n], c, LEAST, 1) for c in columns for n in sizes)] for p in populations)
    caption = f"Coverage in %, {study_count(found.values())} studies per entry. Columns: quantity and number of records per class."
    return f"{caption}\n\n{markdown_table(head, rows)}"


def group_auc(pieces: Pieces) -> str:
    """Return coverage and power of the AUC of groups, with the share of refused splits."""
    rows: list[list[str]] = []
    for table, suffix, refused in (
        ("groups", "", 0.01),
        ("groups shifted", " above 0.5", 0.01),
        ("groups by text", "", 1),
    ):
        for (population, _), one in pieces_of_table(pieces, table).items():
            measured = {**one, "studies": one["studies"] - one["held"]["refused"]}
            least = 0 if suffix else LEAST
            rates = [
                rate(measured, f"{m}{suffix}", least, 1) if f"{m}{suffix}" in one["held"] else "" for m in GROUP_METRICS
            ]
            rows.append(
                [
                    population,
                    "power" if suffix else "coverage",
                    *rates,
                    rate(one, "refused", 0, refused),
                    study_count([one]),
                ]
            )
    head = ("population", "rate, %", *GROUP_METRICS, "rejected for group sizes, %", "studies")
    caption = (
        "A study splits a data set, with 200 records per class. Coverage: share of intervals that contain 0.5, without leakage. Power: "
        "share of intervals above 0.5."
    )
    return f"{caption}\n\n{markdown_table(head, rows)}"


def utility(pieces: Pieces) -> str:
    """Return coverage and differences at equal perplexity."""
    rows: list[list[str]] = []
    for table in ("utility", "utility more"):
        for (population, _), one in pieces_of_table(pieces, table).items():
            valued = {**one, "studies": one["held"]["value"]}
            covered = rate(valued, "covered", LEAST, 1) if valued["studies"] else ""
            differs = rate(one, "differs", 0, 0.05 if table == "utility" else 1)
            straight = f"{100 * one['held']['straight'] / one['studies']:.1f}"
            value = f"{100 * valued['studies'] / one['studies']:.1f}"
            rows.append([population, value, covered, differs, straight, study_count([one])])
    head = (
        "AUC as perplexity falls, and observed states",
        "studies with a value, %",
        "coverage of these values, %",
        "studies in which the methods differ, %",
        "coverage of linear interpolation, %",
        "studies",
    )
    caption = (
        "200 records per class. The table at equal perplexity gives the AUC of a fast method at the final perplexity of a slow method. At "
        "equal perplexity, both methods have the same AUC, except in the last row. The table has no value if the observed states are too "
        "far apart. Linear interpolation: of the AUC between two states, in all studies."
    )
    return f"{caption}\n\n{markdown_table(head, rows)}"


def near_copies(pieces: Pieces) -> str:
    """Return the share of near copies that are found and removed."""
    found = pieces_of_table(pieces, "near copies")
    sizes = sorted({size for _, size in found})

    def percent(one: Mapping[str, Any], name: str) -> str:
        return f"{100 * one['held'][name] / one['studies']:.0f}"

    head = ["script, edit", *(f"{size} units" for size in sizes)]
    rows = (
        [p, *(f"{percent(found[p, n], SHINGLES)} → {percent(found[p, n], REMOVED)}" for n in sizes)]
        for p in dict.fromkeys(population for population, _ in found)
    )
    caption = (
        "Share of near duplicates, in %, that five-word shingles alone detect → share that the split removes. "
        f"{study_count(found.values())} data sets per entry. A unit is a word, or a character in Chinese and Japanese. No copy: data sets "
        "with unrelated records only, so the share should be 0."
    )
    return f"{caption}\n\n{markdown_table(head, rows)}"


def seeds(pieces: Pieces) -> str:
    """Return the coverage of intervals over seeds."""
    found = pieces_of_table(pieces, "seeds")
    kinds = dict.fromkeys(tuple(p.split(", ")[1:]) for p, _ in found)
    counts = dict.fromkeys(p.split(", ")[0] for p, _ in found)
    columns = [(count, way) for way in ("from numbers", "from scores") for count in counts]
    head = ["spread of seeds", "correlation of a record's scores", *(f"{way}, {count}" for count, way in columns)]
    rows = (
        [*kind, *(rate(found[f"{count}, {', '.join(kind)}", 300], way, LEAST, 1) for count, way in columns)]
        for kind in kinds
    )
    caption = f"Coverage in %, 300 records per class, {study_count(found.values())} studies per entry."
    return f"{caption}\n\n{markdown_table(head, rows)}"


def exposure(pieces: Pieces) -> str:
    """Return the coverage of extrapolated exposure."""
    found = pieces_of_table(pieces, "exposure")
    sizes = sorted({size for _, size in found})
    columns = {
        "interval": "coverage",
        "without a test of fit": "coverage of the plain fit",
        "value within a quarter": "estimate within 25 % of the true mean",
        "value without a test within a quarter": "the same, plain fit",
        "no high end": "lower bound only",
    }

    def rates(population: str, name: str) -> str:
        least = LEAST if name == "interval" else 0
        return ", ".join(f"{rate(found[population, n], name, least, 1)} ({n})" for n in sizes)

    head = ["distribution of the references' log-likelihoods", *columns.values()]
    table = markdown_table(
        head, ([p, *(rates(p, name) for name in columns)] for p in dict.fromkeys(p for p, _ in found))
    )
    caption = (
        f"Entries are % of {study_count(found.values())} studies, with the true mean exposure in bits in parentheses. A study has eight "
        "canaries with a known mean exposure, 200 references, and a space of 103 bits. Plain fit: without the goodness-of-fit test and "
        "the limit of extrapolation, with an interval that ignores the error of the fit."
    )
    return f"{caption}\n\n{table}"
