"""Tables of tests: false positive rates, power, verdicts, and bounds on epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulations import attributes as attribute_inference
from simulations.alarms import FLAWED, NOMINAL, PREDICTED
from simulations.table_parts import ALLOWANCE, Pieces, markdown_table, pieces_of_table, rate, study_count

LEAST_BOUND = 0.95
BOUNDS = {
    "one run": "one run, above a fifth",
    "one run, Gaussian": "one run, Gaussian, above a fifth",
    "one run, delta's term left out": "",
    "many runs": "many runs, above a fifth",
}
"""Bounds on epsilon, and the name of the count of bounds above a fifth of epsilon."""

REACHED = ("AUC above 0.5", "TPR at 1 % FPR, exact test")
"""Tests that reach the predicted power."""

VERDICTS = {
    "leaks, no base": (0.025, "*leaks*, without base model"),
    "leaks, base": (0.025, "*leaks*, with base model"),
    "leaks without comparison, no base": (1, "*leaks*, without base model, without blind classifiers"),
    "leaks without comparison, base": (1, "*leaks*, with base model, without blind classifiers"),
    "differs, no base": (1, "*differs*, without base model"),
    "differs, base": (1, "*differs*, with base model"),
    "not sound": (1, "split doubtful or broken"),
    "broken": (1, "split broken"),
}
"""Counted verdicts: the largest rate without leakage, and the head of the column."""
RANDOM = "leaks after a random assignment, base"


def false_positives(pieces: Pieces) -> str:
    """Return the false positive rates of the tests, beside their nominal rates."""
    rows: list[list[str]] = []
    for table in ("scores", "study", "best", "gate"):
        found = {
            at: one
            for at, one in pieces_of_table(pieces, table).items()
            if table != "scores" or at[0].startswith("AUC 0.5")
        }
        sizes = sorted({size for _, size in found})
        names = [n for n in NOMINAL if n in next(iter(found.values()))["held"]]
        for name in names:
            for population in dict.fromkeys(p for p, _ in found):
                limit = 1 if FLAWED in name else NOMINAL[name] + ALLOWANCE
                rates = ", ".join(
                    f"{rate(one, name, 0, limit)} ({n:,})" for one, n in ((found[population, n], n) for n in sizes)
                )
                studies = study_count(found[population, n] for n in sizes)
                rows.append([name, population, f"{100 * NOMINAL[name]:g}", rates, studies])
    head = ("test", "population", "nominal, %", "observed, % (records per class)", "studies")
    caption = "*Above* a value: the lower end of the interval is above it. Correlation: of the scores of attacks, or of seeds."
    return f"{caption}\n\n{markdown_table(head, rows)}"


def power(pieces: Pieces) -> str:
    """Return the observed power of the tests beside the predicted power."""
    found = pieces_of_table(pieces, "power")
    sizes = sorted({size for _, size in found})
    rows = (
        [name, f"{100 * PREDICTED[name]:g}", *(rate(found["normal scores", n], name, 0, 1) for n in sizes)]
        for name in PREDICTED
    )
    head = ["test", "predicted", *(f"{n:,} records per class" for n in sizes)]
    caption = f"Power in % of {study_count(found.values())} studies. *Above* a value: the lower end of the interval is above it."
    return f"{caption}\n\n{markdown_table(head, rows)}"


def verdicts(pieces: Pieces) -> str:
    """Return how often each verdict occurs, with and without leakage."""
    rows: list[list[str]] = []
    for table, leakage in (("verdicts", "none"), ("verdicts, leak", "members trained on")):
        for (population, _), one in pieces_of_table(pieces, table).items():
            limits = {name: limit if leakage == "none" else 1 for name, (limit, _) in VERDICTS.items()}
            rates = [rate(one, name, 0, limit) for name, limit in limits.items()]
            is_fair = population.startswith("no difference")
            drawn = rate(one, RANDOM, 0, 0.025 if leakage == "none" else 1) if is_fair else ""
            rows.append([leakage, population, *rates[:2], drawn, *rates[2:], study_count([one])])
    heads = [head for _, head in VERDICTS.values()]
    head = ("leakage", "difference", *heads[:2], "*leaks*, with base model, split by byheart", *heads[2:], "audits")
    caption = (
        "Entries are % of audits with 150 records per class. An audit consists of the split check, attacks on a language model, and the "
        "verdict. Difference: members and non-members differ by this amount in their topics, words, or frequency of words."
    )
    return f"{caption}\n\n{markdown_table(head, rows)}"


def epsilon_bounds(pieces: Pieces) -> str:
    """Return the coverage of the lower bounds on epsilon, and how often they exceed a fifth of it."""
    rows: list[list[str]] = []
    for table in ("guesses", "outright", "runs"):
        found = pieces_of_table(pieces, table)
        sizes = sorted({size for _, size in found})
        for population in dict.fromkeys(p for p, _ in found):
            here = {n: found[population, n] for n in sizes}

            def rates(name: str, least: float, here: Mapping[int, Mapping[str, Any]] = here) -> str:
                return ", ".join(f"{rate(one, name, least, 1)} ({n:,})" for n, one in here.items())

            for name in (n for n in BOUNDS if n in here[sizes[0]]["held"]):
                also = BOUNDS[name]
                columns = (rates(name, LEAST_BOUND), rates(also, 0) if also in here[sizes[0]]["held"] else "")
                rows.append([name, population, *columns, study_count(here.values())])
    head = (
        "bound",
        "mechanism",
        "bound at most epsilon, % (canaries or runs)",
        "bound above epsilon / 5, %",
        "studies",
    )
    return markdown_table(head, rows)


def attributes(pieces: Pieces) -> str:
    """Return the false positive rate and power of attribute inference by model."""
    found = pieces_of_table(pieces, "attributes")
    sizes = sorted({size for _, size in found})
    names = (*attribute_inference.ADVANTAGES, attribute_inference.ALL)

    def rates(model: str, name: str) -> str:
        limit = attribute_inference.NOMINAL + ALLOWANCE if name in attribute_inference.promised(model) else 1
        return ", ".join(f"{rate(found[model, n], name, 0, limit)} ({n:,})" for n in sizes)

    rows = ([model, *(rates(model, name) for name in names)] for model in attribute_inference.MODELS)
    caption = (
        f"Entries are % of {study_count(found.values())} studies in which the interval of the advantage is above 0, with the number of "
        "members in parentheses. Columns: pool of candidate values, and control."
    )
    return f"{caption}\n\n{markdown_table(['model', *names], rows)}"
