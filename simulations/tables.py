"""The simulated rates as the tables of docs/statistics.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from byheart.stats.intervals import clopper_pearson
from simulations.alarms import FLAWED, NOMINAL, PREDICTED

PAGE = Path(__file__).parent.parent / "docs" / "statistics.md"
BEGIN, END = "<!-- simulated: begin -->", "<!-- simulated: end -->"
LEAST = 0.94
ALLOWANCE = 0.004
"""An alarm of nominal 2.5 % or 5 % may come so much more often: the tests are approximate, as intervals of 94 % are."""

LEAST_BOUND = 0.95
BOUNDS = {
    "one run": "one run, above a fifth",
    "one run, Gaussian": "one run, Gaussian, above a fifth",
    "one run, delta's term left out": "",
    "many runs": "many runs, above a fifth",
}
"""Bounds on epsilon, and by what name it is counted that they say something."""

REACHED = ("AUC above 0.5", "TPR at 1 % FPR, exact test")
"""What has the power that is predicted."""

Pieces = Mapping[str, Mapping[str, Any]]


def write(pieces: Pieces) -> None:
    """Put the tables into the page, between its two marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{text(pieces)}\n\n{END}{after}", encoding="utf-8")


def text(pieces: Pieces) -> str:
    """Return all tables as Markdown."""
    return "\n\n".join(
        [
            "### How often an attack's interval holds the truth",
            _wide(pieces, "scores", ("AUC", "TPR at 1 % FPR", "TPR at 10 % FPR")),
            _wide(pieces, "pairs", ("difference of two AUCs",)),
            "### How often an interval of the NLL holds the truth",
            _wide(pieces, "readings", ("perplexity", "training perplexity", "generalisation gap")),
            "### How often an interval over seeds holds the truth",
            _seeds(pieces),
            "### How often chance raises an alarm",
            _alarms(pieces),
            "### How often a leak is seen",
            _power(pieces),
            "### How often a bound on epsilon holds",
            _bounds(pieces),
        ]
    )


def _of(pieces: Pieces, table: str) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Pieces of one table by population and size."""
    parts = {name: name.split(" | ") for name in pieces}
    return {(p[1], int(p[2])): pieces[name] for name, p in parts.items() if p[0] == table}


def _studies(found: Iterable[Mapping[str, Any]]) -> str:
    counts = sorted({one["studies"] for one in found})
    return f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"


def _rate(one: Mapping[str, Any], name: str, low: float, high: float) -> str:
    """Return a rate in per cent, in bold where no rate between low and high would give it."""
    count, studies = one["held"][name], one["studies"]
    told = f"{100 * count / studies:.1f}"
    least, most = clopper_pearson(float(count), float(studies), confidence=0.99)
    return told if least <= high and most >= low else f"**{told}**"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _wide(pieces: Pieces, table: str, columns: tuple[str, ...]) -> str:
    found = _of(pieces, table)
    sizes = sorted({size for _, size in found})
    head = [f"{_studies(found.values())} studies each", *(f"{c}, {n:,}" for c in columns for n in sizes)]
    populations = dict.fromkeys(population for population, _ in found)
    return _table(head, ([p, *(_rate(found[p, n], c, LEAST, 1) for c in columns for n in sizes)] for p in populations))


def _seeds(pieces: Pieces) -> str:
    found = _of(pieces, "seeds")
    kinds = dict.fromkeys(tuple(p.split(", ")[1:]) for p, _ in found)
    counts = dict.fromkeys(p.split(", ")[0] for p, _ in found)
    columns = [(count, way) for way in ("from numbers", "from scores") for count in counts]
    head = ["seeds' spread", "texts' correlation", *(f"{way}, {count}" for count, way in columns)]
    rows = (
        [*kind, *(_rate(found[f"{count}, {', '.join(kind)}", 300], way, LEAST, 1) for count, way in columns)]
        for kind in kinds
    )
    return f"300 texts a side, {_studies(found.values())} studies each.\n\n{_table(head, rows)}"


def _alarms(pieces: Pieces) -> str:
    rows: list[list[str]] = []
    for table in ("scores", "study", "best", "gate"):
        found = {at: one for at, one in _of(pieces, table).items() if table != "scores" or at[0].startswith("AUC 0.5")}
        sizes = sorted({size for _, size in found})
        names = [n for n in NOMINAL if n in next(iter(found.values()))["held"]]
        for name in names:
            for population in dict.fromkeys(p for p, _ in found):
                told = ((found[population, n], n) for n in sizes)
                limit = 1 if FLAWED in name else NOMINAL[name] + ALLOWANCE
                rates = ", ".join(f"{_rate(one, name, 0, limit)} ({n:,})" for one, n in told)
                studies = _studies(found[population, n] for n in sizes)
                rows.append([name, population, f"{100 * NOMINAL[name]:g}", rates, studies])
    return _table(("alarm", "population", "nominal, %", "seen, % (texts a side)", "studies"), rows)


def _power(pieces: Pieces) -> str:
    found = _of(pieces, "power")
    sizes = sorted({size for _, size in found})
    rows = (
        [name, f"{100 * PREDICTED[name]:g}", *(_rate(found["normal scores", n], name, 0, 1) for n in sizes)]
        for name in PREDICTED
    )
    head = [f"seen, % of {_studies(found.values())} studies", "predicted", *(f"{n:,} texts a side" for n in sizes)]
    return _table(head, rows)


def _bounds(pieces: Pieces) -> str:
    rows: list[list[str]] = []
    for table in ("guesses", "outright", "runs"):
        found = _of(pieces, table)
        sizes = sorted({size for _, size in found})
        for population in dict.fromkeys(p for p, _ in found):
            here = {n: found[population, n] for n in sizes}

            def rates(name: str, least: float, here: Mapping[int, Mapping[str, Any]] = here) -> str:
                return ", ".join(f"{_rate(one, name, least, 1)} ({n:,})" for n, one in here.items())

            for name in (n for n in BOUNDS if n in here[sizes[0]]["held"]):
                also = BOUNDS[name]
                told = (rates(name, LEAST_BOUND), rates(also, 0) if also in here[sizes[0]]["held"] else "")
                rows.append([name, population, *told, _studies(here.values())])
    head = ("bound", "mechanism", "held, % (canaries or runs)", "above a fifth of epsilon, %", "studies")
    return _table(head, rows)
