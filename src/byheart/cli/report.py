"""The command `byheart report`: the page of a study, its two-page summary as PDF, and the annex of an audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byheart.cli.options import (
    DEFAULT_STORE,
    ShowPrivate,
    ShowText,
    StoreFolder,
    StudyName,
    check_show_options,
    open_existing_store,
)
from byheart.cli.review_options import AnnexContext, AnnexNames, check_annex, check_outside_sealed
from byheart.core.errors import SettingError

DEFAULT_PAGE = Path("report.html")


def report(  # noqa: PLR0913 - the options of one command
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="AUDIT", help="Folder of an audit, for --pdf and --annex; without it, the studies of --store."
        ),
    ] = None,
    *,
    store: StoreFolder = DEFAULT_STORE,
    study: StudyName = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.html", help="Page to write.")] = DEFAULT_PAGE,
    pdf: Annotated[
        Path | None, typer.Option(metavar="FILE.pdf", help="Also write a summary of at most two pages as PDF.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write tables (txt, md, tex, csv, json), figures (svg, png, pdf) and all rows (Parquet).",
        ),
    ] = None,
    annex: AnnexNames = None,
    context: AnnexContext = None,
    show_text: ShowText = False,
    show_private: ShowPrivate = False,
) -> None:
    """Write one self-contained page: verdicts, exposed records, tables, figures and provenance.

    With the folder of an audit, whose page is its report.html: write --pdf, and print --annex as Markdown, or write it as
    Markdown and JSON to the folder of --export.
    """
    from byheart.report.pdf import check_pdf, write_pdf

    check_annex(annex, context)
    if pdf is not None:
        check_pdf(pdf)
    if folder is not None:
        _check_no_study_options(folder, study, output, is_shown=show_text or show_private)
        _report_audit(folder, pdf=pdf, annex=annex, context=context, export=export)
        return
    if annex is not None:
        raise SettingError(
            "--annex: no audit is named. Name the folder of byheart audit -o: byheart report AUDIT --annex edpb."
        )
    from byheart.store.run_info import unfinished_studies
    from byheart.study.study_report import export_folder, report_page, study_summary

    check_show_options(show_text=show_text, show_private=show_private)
    if output.suffix.lower() not in {"", ".html", ".htm"}:
        raise SettingError(
            f"-o {output}: the page is HTML. Write a name that ends in .html; a PDF is written by --pdf."
        )
    opened = open_existing_store(store)
    typer.echo(
        f"report: {report_page(opened, study, output, show_text=show_text, show_private=show_private).absolute()}"
    )
    for sentence in unfinished_studies(opened, study):
        typer.echo(f"note: {sentence}; the others may change every verdict")
    if pdf is not None:
        _print_pdf(write_pdf(study_summary(opened, study), pdf), pdf)
    if export is not None:
        typer.echo(f"{len(export_folder(opened, study, export))} files: {export.absolute()}")


def _report_audit(
    folder: Path, *, pdf: Path | None, annex: str | None, context: AnnexContext, export: Path | None
) -> None:
    """Write the PDF and the annex of an audit's folder."""
    from byheart.auditing.saved import read_audit_manifest

    read_audit_manifest(folder)
    if pdf is None and annex is None:
        raise SettingError(f"{folder}: the page of an audit is its report.html. Add --pdf FILE.pdf, or --annex edpb.")
    if export is not None and annex is None:
        raise SettingError(
            "--export: an audit's folder has only an annex to export. Add --annex, such as --annex edpb."
        )
    for option, path in (("--pdf", pdf), ("--export", export)):
        check_outside_sealed(option, path)
    if pdf is not None:
        from byheart.auditing.summary import audit_summary
        from byheart.report.pdf import write_pdf

        _print_pdf(write_pdf(audit_summary(folder), pdf), pdf)
    if annex is not None:
        _report_annex(folder, annex, context, export)


def _check_no_study_options(folder: Path, study: str | None, output: Path, *, is_shown: bool) -> None:
    """Raise `SettingError` for options of a study's page, which an audit has already."""
    given = {"--study": study is not None, "-o": output != DEFAULT_PAGE, "--show-text and --show-private": is_shown}
    for option, is_given in given.items():
        if is_given:
            raise SettingError(
                f"{option}: has no effect on the audit {folder}, whose page is its report.html. Leave it out."
            )


def _print_pdf(pages: int, path: Path) -> None:
    typer.echo(f"pdf: {path.absolute()} ({pages} {'page' if pages == 1 else 'pages'})")


def _report_annex(folder: Path, names: str, context: AnnexContext, export: Path | None) -> None:
    """Print the annex of an audit's folder as Markdown, or write it to another folder."""
    from byheart.auditing.annex.annex import build_annex
    from byheart.auditing.annex.contexts import DEFAULT_CONTEXT
    from byheart.auditing.annex.evidence import AuditFacts
    from byheart.auditing.saved import read_audit

    audit = read_audit(folder)
    made = build_annex(
        AuditFacts(audit.rows, audit.manifest, audit.record_labels), names, context=context or DEFAULT_CONTEXT
    )
    if export is None:
        typer.echo(made.markdown(), nl=False)
        return
    export.mkdir(parents=True, exist_ok=True)
    for name, text in {"annex.md": made.markdown(), "annex.json": made.json()}.items():
        (export / name).write_text(text, encoding="utf-8")
    typer.echo(f"2 files: {export.absolute()}")
