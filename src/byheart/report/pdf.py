"""Two pages of a report as PDF, typeset by typst.

typst is one wheel with its own fonts and without system libraries, so `pip install 'byheart[pdf]'` suffices on a clean machine.
(WeasyPrint also requires Pango, which pip does not install; a browser is a separate download.) It tags the PDF for screen readers.
The words reach the template as JSON values, never as markup, so a label from an untrusted data set cannot run code or
read a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module, resources
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from byheart.analysis import formats
from byheart.core.atomic_file import atomic_write
from byheart.core.errors import SettingError, StoreError
from byheart.core.types import Table
from byheart.report.summary import Summary

MAX_PAGES = 2
LONGEST_VALUE = 220
"""Characters of a line of provenance; the page has the rest."""
NARROW_COLUMN = 16
"""A column whose longest cell has at most this number of characters is as wide as its content."""
ROOM = (
    (4, 24, 2, 16),
    (4, 24, 1, 16),
    (3, 16, 1, 16),
    (2, 16, 1, 16),
    (1, 24, 1, 16),
    (1, 16, 1, 16),
    (1, 8, 1, 16),
    (1, 8, 1, 8),
    (1, 8, 0, 8),
    (0, 0, 0, 4),
)
"""Tables, lines of each, figures, and findings (and warnings) to try in this order, until all fit."""
EPOCH_OF_FILES = datetime(2000, 1, 1, tzinfo=UTC)
"""Date inside the PDF, so that equal content gives equal files; the date of the numbers is in the text."""


def check_pdf(path: Path) -> None:
    """Raise `SettingError` unless typst is installed and the path ends in .pdf; called before anything is computed."""
    if find_spec("typst") is None:
        raise SettingError("--pdf: requires the package typst, which is not installed. pip install 'byheart[pdf]'")
    if path.suffix.lower() != ".pdf":
        raise SettingError(f"--pdf {path}: is not named .pdf. Write, for example, --pdf report.pdf.")


def write_pdf(summary: Summary, path: Path) -> int:
    """Write at most two pages and return their number.

    Tables and figures that do not fit are left out, and long tables are cut; the text says so. Raises `SettingError` without the
    engine or for another file ending, `StoreError` for a path that cannot be written.
    """
    check_pdf(path)
    pages, content = _typeset(summary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise StoreError(f"--pdf {path}: cannot be written ({error.strerror}). Choose another path.") from error
    return pages


def _typeset(summary: Summary) -> tuple[int, bytes]:
    """Return the number of pages and the PDF, with as many tables and figures as two pages hold."""
    typst: Any = import_module("typst")
    template = resources.files("byheart.report").joinpath("templates", "summary.typ").read_text(encoding="utf-8")
    with TemporaryDirectory() as name:
        folder = Path(name)
        main = folder / "summary.typ"
        main.write_text(template, encoding="utf-8")
        images: list[str] = []
        for i, figure in enumerate(summary.figures[: ROOM[0][2]]):
            images.append(f"figure-{i}.svg")
            (folder / images[-1]).write_bytes(figure.picture("svg", titled=False))
        for room in ROOM:
            content = _content(summary, images, room)
            (folder / "data.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
            compiler = typst.Compiler(str(main), root=str(folder))
            pages = int(json.loads(compiler.query("<pages>", field="value", one=True)))
            if pages <= MAX_PAGES or room == ROOM[-1]:
                return pages, compiler.compile(format="pdf", timestamp=EPOCH_OF_FILES)
    raise AssertionError("the loop ends at the last room")  # pragma: no cover


def _content(summary: Summary, images: Sequence[str], room: tuple[int, int, int, int]) -> dict[str, Any]:
    """Return the values of the template, within a room of tables, lines, figures and findings."""
    tables, lines, figures, findings = room
    hidden = len(summary.findings) - findings
    warnings = [*summary.warnings[:findings]]
    if len(summary.warnings) > findings:
        warnings.append(f"{len(summary.warnings) - findings} more warnings are in the page.")
    return {
        "title": summary.title,
        "question": summary.question,
        "findings": [{**f._asdict(), "claim": f.claim} for f in summary.findings[:findings]],
        "more_findings": f"{hidden} more verdicts are in the page." if hidden > 0 else "",
        "gates": [{"name": name, "word": word} for name, word in summary.gates],
        "warnings": warnings,
        "tables": [_table(t, lines) for t in summary.tables[:tables]],
        "figures": [
            {"title": f.heading or f.title, "words": f.words, "file": image}
            for f, image in zip(summary.figures[:figures], images, strict=False)
        ],
        "left_out": _left_out(len(summary.tables) - tables, len(summary.figures) - figures),
        "is_figure_first": summary.is_figure_first,
        "provenance": [{"name": n, "value": _shortened(v)} for n, v in summary.provenance.items()],
    }


def _left_out(tables: int, figures: int) -> str:
    """Return how many tables and figures only the page has, as a sentence; "" if none."""
    counts = [f"{n} {name}{'' if n == 1 else 's'}" for n, name in ((tables, "table"), (figures, "figure")) if n > 0]
    return f"Only in the page: {' and '.join(counts)}." if counts else ""


def _table(table: Table, lines: int) -> dict[str, Any]:
    hidden = len(table.rows) - lines
    note = f"{table.note} {hidden} more lines are in the page." if hidden > 0 else table.note
    rows = [[_broken_estimate(cell) for cell in row] for row in table.rows[:lines]]
    longest = [max(len(part) for cell in column for part in cell.split("\n")) for column in zip(*rows, strict=True)]
    return {
        "title": table.title,
        "header": table.header,
        "rows": rows,
        "note": note.strip(),
        "sides": ["right" if numeric else "left" for numeric in formats.numeric_columns(table)],
        "widths": ["auto" if length <= NARROW_COLUMN else "fill" for length in longest],
    }


def _broken_estimate(cell: str) -> str:
    """Return an estimate with its interval on a second line that does not break: two lines take half of the width."""
    estimate = re.fullmatch(r"(\S+) (\[[^\]]*\])", cell)
    return f"{estimate[1]}\n{estimate[2]}".replace(" ", "\N{NO-BREAK SPACE}") if estimate else cell


def _shortened(value: str) -> str:
    value = " ".join(value.split())
    return value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]} ... (whole in the page)"
