"""Report a study: its page, its two-page summary, and its tables and figures as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from byheart.analysis.paper_values import stored_published_values
from byheart.core.atomic_file import atomic_write
from byheart.core.errors import StoreError
from byheart.core.registry import Choice, choose
from byheart.store.rows import read_gates, score_reader, study_notes, study_rows, validation_loss_reader
from byheart.store.run_info import run_details, unfinished_studies
from byheart.store.store import Store

if TYPE_CHECKING:
    from byheart.report.exhibits import ReportContent
    from byheart.report.summary import Summary


def report_page(
    store: Store, study: str | None, output: Path, *, show_text: bool = False, show_private: bool = False
) -> Path:
    """Write a study's report page and return its path. `show_text` adds the texts of the most exposed records.

    `show_private` leaves private values in the texts unmasked. Raises `RequestError` without rows, or if the page cannot
    be written.
    """
    from byheart.report.page import report  # imported late: only reports need the plotting packages

    title = study or ", ".join(study_notes(store))
    content, choices = report_content(store, study), _selected_shelf_choices(store, study)
    if show_text:
        from byheart.study.exposed_texts import token_view_reader

        content = content._replace(texts=token_view_reader(store, study, show_private=show_private))
    page = report(
        content,
        title=title,
        provenance=run_details(store, study),
        unfinished=unfinished_studies(store, study),
        tables=choices["tables"],
        figures=choices["figures"],
    )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(output) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"report {output}: cannot be written ({error.strerror}). Choose another path with -o."
        ) from error
    return output


def study_summary(store: Store, study: str | None) -> Summary:
    """Return the two-page summary of a study, from the content of its page; raises `RequestError` without rows."""
    from byheart.report.summary import study_summary as summarize  # as in `report_page`

    title, choices = study or ", ".join(study_notes(store)), _selected_shelf_choices(store, study)
    content, details = report_content(store, study), run_details(store, study)
    return summarize(content, title=title, provenance=details, tables=choices["tables"], figures=choices["figures"])


def export_folder(store: Store, study: str | None, folder: Path) -> list[Path]:
    """Write a study's tables and figures in every format to a folder and return their paths.

    Raises `RequestError` without rows, or if the folder cannot be written.
    """
    from byheart.report.export import export  # as in `report_page`

    try:
        return export(folder, report_content(store, study), **_selected_shelf_choices(store, study))
    except OSError as error:
        raise StoreError(f"folder {folder}: cannot be written ({error.strerror}). Choose another folder.") from error


def report_content(store: Store, study: str | None) -> ReportContent:
    """Return the inputs of a study's tables, figures and page; raises the errors of `rows.study_rows`."""
    from byheart.report.exhibits import ReportContent

    return ReportContent(
        study_rows(store, study),
        score_reader(store),
        read_gates(store, study),
        validation_loss_reader(store, study),
        stored_published_values(store, study),
    )


def _selected_shelf_choices(store: Store, study: str | None) -> dict[str, list[Choice]]:
    """Return the tables and figures that the study file names."""
    notes = [note for name, note in study_notes(store).items() if study in {None, name}]
    return {
        shelf: [choose(shelf, entry["name"], entry["settings"]) for note in notes for entry in note[shelf]]
        for shelf in ("tables", "figures")
    }
