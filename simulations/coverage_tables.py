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
    head = [f"{study_count(found.values())} studies each", *(f"{c}, {n:,}" for c in columns for n in sizes)]
    populations = dict.fromkeys(population for population, _ in found)
    return markdown_table(
        head, ([p, *(rate(found[p, n], c, LEAST, 1) for c in columns for n in sizes)] for p in populations)
    )


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
    head = ("population", "rate, %", *GROUP_METRICS, "refused for group sizes, %", "studies")
    caption = "Coverage: intervals that contain 0.5, without leakage. Power: intervals above 0.5."
    return f"200 texts per class of a split. {caption}\n\n{markdown_table(head, rows)}"


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
        "AUC along perplexity, and observed states",
        "a value, %",
        "coverage of the values, %",
        "methods differ, %",
        "coverage of straight lines, %",
        "studies",
    )
    caption = (
        "200 texts per class. A fast method is read where a slow one ends; at equal perplexity both leak alike, but for the "
        "last row. Straight lines: AUC interpolated as if it were linear between states, for all studies."
    )
    return f"{caption}\n\n{markdown_table(head, rows)}"


def near_copies(pieces: Pieces) -> str:
    """Return the share of near copies that are found and removed."""
    found = pieces_of_table(pieces, "near copies")
    sizes = sorted({size for _, size in found})

    def percent(one: Mapping[str, Any], name: str) -> str:
        return f"{100 * one['held'][name] / one['studies']:.0f}"

    head = [f"{study_count(found.values())} data sets each", *(f"{size} units" for size in sizes)]
    rows = (
        [p, *(f"{percent(found[p, n], SHINGLES)} → {percent(found[p, n], REMOVED)}" for n in sizes)]
        for p in dict.fromkeys(population for population, _ in found)
    )
    caption = (
        "Share of copies, in %, that five-word shingles alone find → that the split removes. A unit is a word, or a "
        "character in Chinese and Japanese. No copy: data sets with unrelated texts only, so the share should be 0."
    )
    return f"{caption}\n\n{markdown_table(head, rows)}"


def seeds(pieces: Pieces) -> str:
    """Return the coverage of intervals over seeds."""
    found = pieces_of_table(pieces, "seeds")
    kinds = dict.fromkeys(tuple(p.split(", ")[1:]) for p, _ in found)
    counts = dict.fromkeys(p.split(", ")[0] for p, _ in found)
    columns = [(count, way) for way in ("from numbers", "from scores") for count in counts]
    head = ["seeds' spread", "texts' correlation", *(f"{way}, {count}" for count, way in columns)]
    rows = (
        [*kind, *(rate(found[f"{count}, {', '.join(kind)}", 300], way, LEAST, 1) for count, way in columns)]
        for kind in kinds
    )
    return f"300 texts per class, {study_count(found.values())} studies each.\n\n{markdown_table(head, rows)}"


def exposure(pieces: Pieces) -> str:
    """Return the coverage of extrapolated exposure."""
    found = pieces_of_table(pieces, "exposure")
    sizes = sorted({size for _, size in found})
    columns = {
        "interval": "coverage",
        "without a test of fit": "coverage without test, depth and error of the fit",
        "value within a quarter": "value within a quarter",
        "value without a test within a quarter": "value within a quarter, without",
        "no high end": "a lower bound only",
    }

    def rates(population: str, name: str) -> str:
        least = LEAST if name == "interval" else 0
        return ", ".join(f"{rate(found[population, n], name, least, 1)} ({n})" for n in sizes)

    head = [f"log-likelihoods of references; % of {study_count(found.values())} studies (true bits)", *columns.values()]
    table = markdown_table(
        head, ([p, *(rates(p, name) for name in columns)] for p in dict.fromkeys(p for p, _ in found))
    )
    return f"Eight canaries with a known mean exposure, 200 references, a space of 103 bits.\n\n{table}"
