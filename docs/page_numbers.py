"""Numbers of pages that are written from rows of docs/results: lookup, forms of a number, and sentences with a condition.

A sentence that compares numbers states its condition with `holds`. If the rows no longer carry it, the page is not written, and
the error names the sentence to change.
"""

import atexit
import csv
import io
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jinja2

from byheart.analysis.formats import rows_csv
from byheart.store.rows import study_rows
from byheart.store.store import Store

DOCS = Path(__file__).parent
METHODS = {
    "full": "full",
    "head": "head",
    "LoRA": "lora",
    "prefix": "prefix",
    "prompt": "prompt",
    "P-tuning": "p_tuning",
}
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Number(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


@cache
def packed_store(study: str) -> Store:
    """Return the store of a packed study of docs/results, unpacked until the process ends."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with tarfile.open(DOCS / "results" / study / "study.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return Store.open(folder)


@cache
def results(study: str) -> list[dict[str, str]]:
    """Return a study's rows as text: those of rows.csv, or else those of the packed study."""
    stored = DOCS / "results" / study / "rows.csv"
    text = stored.read_text(encoding="utf-8") if stored.exists() else rows_csv(study_rows(packed_store(study)))
    return list(csv.DictReader(io.StringIO(text)))


def table_cells(study: str, table: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the lines of an exported table of a study."""
    text = (DOCS / "results" / study / f"{table}.md").read_text(encoding="utf-8")
    header, _, *lines = [
        [c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return header, lines


def environment() -> jinja2.Environment:
    """Return the environment of a page's template, with the forms of a number as filters."""
    made = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown
    )
    made.filters |= {"short": short, "interval": interval, "plain": plain, "word": word}
    made.globals |= {"holds": holds, "methods": METHODS, "min": min, "max": max}
    return made


def found_number(rows: Sequence[Mapping[str, str]], study: str, metric: str, settings: Mapping[str, object]) -> Number:
    """Return the number of the one row of a metric with these settings."""
    wanted = {name: str(value) for name, value in settings.items()}
    found = [r for r in rows if r["metric"] == metric and all(r[n] == v for n, v in wanted.items())]
    if len(found) > 1:  # counts of a data set are the same for every method
        found = found if len({r["value"] for r in found}) > 1 else found[:1]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows of {metric} with {wanted} in {study}. Name one row.")
    row = found[0]
    return Number(*(float(row[name] or row["value"]) for name in ("value", "low", "high")))


def holds(condition: bool, words: str) -> str:  # noqa: FBT001 - called in the template
    """Return the words if the rows carry them."""
    if not condition:
        raise ValueError(f"the rows do not carry {words!r}. Change the sentence, and what follows from it.")
    return words


def short(number: Number | float) -> str:
    """Return an AUC or a share with two digits: ".97", "1.00"."""
    text = f"{number.value if isinstance(number, Number) else number:.2f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def interval(number: Number) -> str:
    """Return a number with its interval: ".97 [.93, .99]"."""
    return f"{short(number)} [{short(number.low)}, {short(number.high)}]"


def plain(number: Number | float, digits: int = 0) -> str:
    """Return a number with this number of decimals, and commas between thousands."""
    return f"{number.value if isinstance(number, Number) else number:,.{digits}f}"


def word(number: float) -> str:
    """Return a small whole number as a word."""
    return NUMBER_WORDS[int(number)]
