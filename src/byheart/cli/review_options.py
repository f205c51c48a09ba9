"""Options of `byheart audit` that write what reviewers and continuous integration read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byheart.auditing.annex.contexts import DEFAULT_CONTEXT, Context
from byheart.core.errors import SettingError

if TYPE_CHECKING:
    from byheart.auditing.annex.annex import Annex
    from byheart.auditing.audit import Audit
    from byheart.auditing.fail_bounds import Bound

AnnexNames = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Add an annex to the folder and the page: tests beside clauses of edpb, aisvs, nist, aiact and atlas, comma-separated. It "
        "claims no compliance.",
    ),
]
AnnexContext = Annotated[
    Context | None,
    typer.Option(
        help="Which adversaries count in --annex: those who query the model, have its weights (default), or work at the organization."
    ),
]


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """Review."""

    annex: AnnexNames = None
    context: AnnexContext = None
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE.xml", help="Write the bounds by attack as JUnit, for GitHub, GitLab and Jenkins."),
    ] = None
    sarif: Annotated[
        Path | None,
        typer.Option(metavar="FILE.sarif", help="Write the bounds by attack as SARIF 2.1.0, for code scanning."),
    ] = None

    def __post_init__(self) -> None:
        """Raise `SettingError` for --context without --annex, `UnknownNameError` for an unknown name of --annex."""
        check_annex(self.annex, self.context)

    def check_output(self, output: Path | None, inputs: Iterable[str | Path]) -> None:
        """Raise `SettingError` for --annex without a folder, and for files that cannot be written or would replace others.

        `inputs` are paths that the audit reads.
        """
        from byheart.data.row_selection import split_selection

        if self.annex is not None and output is None:
            raise SettingError("--annex: there is no folder to write it to. Add -o DIR.")
        if self.junit is not None and self.sarif is not None and self.junit.resolve() == self.sarif.resolve():
            raise SettingError(f"--sarif {self.sarif}: is also the file of --junit. Name two files.")
        read = {Path(split_selection(str(item))[0]).resolve() for item in inputs}
        for option, path, example in (("--junit", self.junit, "junit.xml"), ("--sarif", self.sarif, "audit.sarif")):
            if path is None:
                continue
            if output is not None and path.absolute().is_relative_to(output.absolute()):
                raise SettingError(f"{option} {path}: the folder of -o is sealed. Name a file outside {output}.")
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise SettingError(
                    f"{option} {path}: is no file in an existing folder. Name a file, such as {example}."
                )
            if path.resolve() in read:
                raise SettingError(f"{option} {path}: the audit reads this file. Name another file, such as {example}.")
            check_outside_sealed(option, path)
            _check_writable(option, path)

    def annex_of(self, audit: Audit) -> Annex | None:
        """Return the annex of an audit if one is requested."""
        return None if self.annex is None else audit.annex(self.annex, context=self.context or DEFAULT_CONTEXT)

    def write_checks(self, audit: Audit, bounds: tuple[Bound, ...], output: Path | None) -> None:
        """Write the requested JUnit and SARIF files."""
        from byheart.auditing.ci.checks import audit_checks
        from byheart.auditing.ci.junit import junit_xml
        from byheart.auditing.ci.sarif import sarif_json

        checks = audit_checks(audit, bounds) if self.junit is not None or self.sarif is not None else ()
        provenance = audit.provenance
        if self.junit is not None:
            content = junit_xml(checks, verdict=audit.verdict, at=provenance["at"], seconds=provenance["seconds"])
            self.junit.write_bytes(content)
        if self.sarif is not None:
            text = sarif_json(
                checks,
                verdict=audit.verdict,
                tool_version=provenance["versions"]["byheart"],
                location=_report_location(output),
            )
            self.sarif.write_text(text, encoding="utf-8")


def check_outside_sealed(option: str, path: Path | None) -> None:
    """Raise `SettingError` for a path inside a folder whose manifest has the hashes of its files."""
    from byheart.store.seal import sealed_folder_of

    folder = None if path is None else sealed_folder_of(path)
    if folder is not None:
        raise SettingError(f"{option} {path}: the folder {folder.name} is sealed. Name a path outside it.")


def _check_writable(option: str, path: Path) -> None:
    """Raise `SettingError` if a file cannot be written, before an audit that would be lost; the file is not changed."""
    is_new = not path.exists()
    try:
        with path.open("ab"):
            pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise SettingError(f"{option} {path}: cannot be written ({error.strerror}). Name another file.") from error


def check_annex(names: str | None, context: str | None) -> None:
    """Raise `SettingError` for a context without an annex, `UnknownNameError` for an unknown name."""
    if names is None and context is not None:
        raise SettingError("--context: this option requires --annex. Add --annex, such as --annex edpb.")
    if names is not None:
        from byheart.auditing.annex.clauses import parse_frameworks

        parse_frameworks(names)


def _report_location(output: Path | None) -> str:
    """Return the report's path relative to the current folder if it lies inside, else its folder's name."""
    if output is None:
        return "byheart-audit"
    report = (output / "report.html").absolute()
    here = Path.cwd()
    return report.relative_to(here).as_posix() if report.is_relative_to(here) else f"{output.name}/report.html"
