"""The simulated rates as the tables of docs/statistics.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from byheart.stats.intervals import clopper_pearson
from simulations import attributes
from simulations.alarms import FLAWED, NOMINAL, PREDICTED
from simulations.groups import METRICS as GROUP_METRICS
from simulations.near_copies import REMOVED, SHINGLES

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
            "### Coverage of the intervals of an attack",
            _wide(pieces, "scores", ("AUC", "TPR at 1 % FPR", "TPR at 10 % FPR")),
            _wide(pieces, "pairs", ("difference of two AUCs",)),
            "### Coverage of the intervals of the NLL",
            _wide(pieces, "readings", ("perplexity", "training perplexity", "generalisation gap")),
            "### Coverage and power of the AUC of groups, from the split to the interval",
            _groups(pieces),
            "### Coverage and power at equal perplexity, from rows to the table",
            _utility(pieces),
            "### Coverage of the intervals over seeds",
            _seeds(pieces),
            "### False positive rate of verdicts and tests",
            _alarms(pieces),
            *(("### Whole verdicts of audits", _verdicts(pieces)) if _of(pieces, "verdicts") else ()),
            "### Power of the tests",
            _power(pieces),
            "### Coverage of the lower bounds on epsilon",
            _bounds(pieces),
            "### False positive rate and power of attribute inference",
            _attributes(pieces),
            "### Coverage of extrapolated exposure",
            _exposure(pieces),
            "### Recall of near copies, from texts to the split",
            _near_copies(pieces),
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


def _groups(pieces: Pieces) -> str:
    rows: list[list[str]] = []
    for table, suffix, refused in (
        ("groups", "", 0.01),
        ("groups shifted", " above 0.5", 0.01),
        ("groups by text", "", 1),
    ):
        for (population, _), one in _of(pieces, table).items():
            measured = {**one, "studies": one["studies"] - one["held"]["refused"]}
            least = 0 if suffix else LEAST
            rates = [
                _rate(measured, f"{m}{suffix}", least, 1) if f"{m}{suffix}" in one["held"] else ""
                for m in GROUP_METRICS
            ]
            rows.append(
                [
                    population,
                    "power" if suffix else "coverage",
                    *rates,
                    _rate(one, "refused", 0, refused),
                    _studies([one]),
                ]
            )
    head = ("population", "rate, %", *GROUP_METRICS, "refused for group sizes, %", "studies")
    told = "Coverage: intervals that contain 0.5, without leakage. Power: intervals above 0.5."
    return f"200 texts per class of a split. {told}\n\n{_table(head, rows)}"


def _utility(pieces: Pieces) -> str:
    rows: list[list[str]] = []
    for table in ("utility", "utility more"):
        for (population, _), one in _of(pieces, table).items():
            valued = {**one, "studies": one["held"]["value"]}
            covered = _rate(valued, "covered", LEAST, 1) if valued["studies"] else ""
            differs = _rate(one, "differs", 0, 0.05 if table == "utility" else 1)
            straight = f"{100 * one['held']['straight'] / one['studies']:.1f}"
            value = f"{100 * valued['studies'] / one['studies']:.1f}"
            rows.append([population, value, covered, differs, straight, _studies([one])])
    head = (
        "AUC along perplexity, and observed states",
        "a value, %",
        "coverage of the values, %",
        "methods differ, %",
        "coverage of straight lines, %",
        "studies",
    )
    told = (
        "200 texts per class. A fast method is read where a slow one ends; at equal perplexity both leak alike, but for the "
        "last row. Straight lines: AUC interpolated as if it were linear between states, for all studies."
    )
    return f"{told}\n\n{_table(head, rows)}"


def _near_copies(pieces: Pieces) -> str:
    found = _of(pieces, "near copies")
    sizes = sorted({size for _, size in found})

    def percent(one: Mapping[str, Any], name: str) -> str:
        return f"{100 * one['held'][name] / one['studies']:.0f}"

    head = [f"{_studies(found.values())} data sets each", *(f"{size} units" for size in sizes)]
    rows = (
        [p, *(f"{percent(found[p, n], SHINGLES)} → {percent(found[p, n], REMOVED)}" for n in sizes)]
        for p in dict.fromkeys(population for population, _ in found)
    )
    told = (
        "Share of copies, in %, that five-word shingles alone find → that the split removes. A unit is a word, or a "
        "character in Chinese and Japanese. No copy: data sets with unrelated texts only, so the share should be 0."
    )
    return f"{told}\n\n{_table(head, rows)}"


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
    return f"300 texts per class, {_studies(found.values())} studies each.\n\n{_table(head, rows)}"


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
    return _table(("test", "population", "nominal, %", "observed, % (texts per class)", "studies"), rows)


VERDICTS = {
    "leaks, no base": (0.025, "*leaks*, no base model"),
    "leaks, base": (0.025, "*leaks*, base model"),
    "leaks without comparison, no base": (1, "without blind classifiers: no base model"),
    "leaks without comparison, base": (1, "base model"),
    "differs, no base": (1, "*differs*, no base model"),
    "differs, base": (1, "base model"),
    "not sound": (1, "not sound"),
    "broken": (1, "broken"),
}
"""What the table of whole verdicts counts, the largest rate without leakage, and the head of the column."""
RANDOM = "leaks after a random assignment, base"


def _verdicts(pieces: Pieces) -> str:
    rows: list[list[str]] = []
    for table, told in (("verdicts", "none"), ("verdicts, leak", "members trained on")):
        for (population, _), one in _of(pieces, table).items():
            limits = {name: limit if told == "none" else 1 for name, (limit, _) in VERDICTS.items()}
            rates = [_rate(one, name, 0, limit) for name, limit in limits.items()]
            is_fair = population.startswith("no difference")
            drawn = _rate(one, RANDOM, 0, 0.025 if told == "none" else 1) if is_fair else ""
            rows.append([told, population, *rates[:2], drawn, *rates[2:], _studies([one])])
    heads = [head for _, head in VERDICTS.values()]
    head = ("leakage", "difference", *heads[:2], "split by byheart, base model", *heads[2:], "audits")
    return f"Audits of 150 records per class, in %: split check, attacks on a language model, verdict.\n\n{_table(head, rows)}"


def _power(pieces: Pieces) -> str:
    found = _of(pieces, "power")
    sizes = sorted({size for _, size in found})
    rows = (
        [name, f"{100 * PREDICTED[name]:g}", *(_rate(found["normal scores", n], name, 0, 1) for n in sizes)]
        for name in PREDICTED
    )
    head = [f"power, % of {_studies(found.values())} studies", "predicted", *(f"{n:,} texts per class" for n in sizes)]
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
    head = ("bound", "mechanism", "coverage, % (canaries or runs)", "above a fifth of epsilon, %", "studies")
    return _table(head, rows)


def _attributes(pieces: Pieces) -> str:
    found = _of(pieces, "attributes")
    sizes = sorted({size for _, size in found})
    names = (*attributes.ADVANTAGES, attributes.ALL)

    def rates(model: str, name: str) -> str:
        limit = attributes.NOMINAL + ALLOWANCE if name in attributes.promised(model) else 1
        return ", ".join(f"{_rate(found[model, n], name, 0, limit)} ({n:,})" for n in sizes)

    head = [f"advantage above 0, % of {_studies(found.values())} studies (members)", *names]
    return _table(head, ([model, *(rates(model, name) for name in names)] for model in attributes.MODELS))


def _exposure(pieces: Pieces) -> str:
    found = _of(pieces, "exposure")
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
        return ", ".join(f"{_rate(found[population, n], name, least, 1)} ({n})" for n in sizes)

    head = [f"log-likelihoods of references; % of {_studies(found.values())} studies (true bits)", *columns.values()]
    table = _table(head, ([p, *(rates(p, name) for name in columns)] for p in dict.fromkeys(p for p, _ in found)))
    return f"Eight canaries with a known mean exposure, 200 references, a space of 103 bits.\n\n{table}"
