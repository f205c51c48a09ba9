"""Write tables, figures, rows and scores of a study to files, in every format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from byheart.analysis import formats
from byheart.analysis.chart import PICTURE_FORMATS, Figure
from byheart.core.atomic_file import sync
from byheart.core.errors import SettingError
from byheart.core.registry import Choice
from byheart.report.exhibits import ReportContent, make_figures, make_tables

FILE_ENDINGS = {"text": "txt", "markdown": "md", "latex": "tex"}
"""File endings of table formats whose ending differs from the format's name."""


def export(
    folder: Path, report_content: ReportContent, tables: Sequence[Choice], figures: Sequence[Choice]
) -> list[Path]:
    """Write tables as text, Markdown, LaTeX, CSV and JSON; figures as SVG, PNG and PDF; rows and scores as Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, table in make_tables(report_content, tables).items():
        for form, format_table in formats.TABLE_FORMATS.items():
            written.append(folder / f"{_file_name(name)}.{FILE_ENDINGS.get(form, form)}")
            written[-1].write_text(format_table(table), encoding="utf-8")
    for name, figure in make_figures(report_content, figures).items():
        for form in PICTURE_FORMATS:
            written.append(folder / f"{_file_name(name)}.{form}")
            save_figure(figure, written[-1])
    keys = {r.scores: None for r in report_content.rows if r.scores}
    for name, content in (
        ("rows", formats.rows_parquet(report_content.rows)),
        ("scores", formats.scores_parquet({key: report_content.scores(key) for key in keys})),
    ):
        written.append(folder / f"{name}.parquet")
        written[-1].write_bytes(content)
    for path in (*written, folder):
        sync(path)
    return written


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the file's ending: .svg, .png or .pdf. Equal figures give equal SVG and PNG files."""
    form = path.suffix.removeprefix(".").lower()
    if form not in PICTURE_FORMATS:
        raise SettingError(
            f"figure file {str(path)!r}: unknown format {path.suffix!r}. Use one of .{', .'.join(PICTURE_FORMATS)}."
        )
    path.write_bytes(figure.picture(form))
