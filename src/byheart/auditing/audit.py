"""The public result of an audit: numbers, and methods that display and save them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from byheart.auditing import render
from byheart.auditing.annex.annex import Annex, build_annex
from byheart.auditing.annex.contexts import DEFAULT_CONTEXT, Context
from byheart.auditing.annex.evidence import AuditFacts
from byheart.auditing.result import DEFAULT_EXPOSED, AuditResult
from byheart.auditing.save import write_audit
from byheart.core.errors import FormerNameWarning
from byheart.core.types import Table

FORMER_NAMES = {
    "attack": "ranking_attack",
    "compared": "has_nonmembers",
    "exposed": "exposed_members",
    "made": "provenance",
    "private": "private_values",
    "sides": "record_labels",
    "spelled": "text",
}
"""Attributes that were renamed, former name first."""


class Audit(AuditResult):
    """Result of an audit. Displays itself in a notebook; `save` writes all of it into a folder."""

    def table(self) -> Table:
        """Return one line per attack: AUC and TPR of the fine-tuned model, AUC of its base model."""
        return render.attack_table(self)

    def tables(self) -> tuple[Table, ...]:
        """Return the table of attacks, and the table of extraction where an attack extracts texts."""
        return render.audit_tables(self)

    def exposed_table(
        self, most: int = DEFAULT_EXPOSED, *, show_text: bool = False, show_private: bool = False
    ) -> Table:
        """Return the most exposed members as a table; texts and private values only on request."""
        return render.exposed_table(self, most, show_text=show_text, show_private=show_private)

    def markdown(self) -> str:
        """Return verdict, warnings and attacks as Markdown, without any record."""
        return render.as_markdown(self)

    def text(self, *, show_text: bool = False, show_private: bool = False) -> str:
        """Return verdict, warnings and attacks for a terminal, with the ids of the most exposed records."""
        return render.as_text(self, show_text=show_text, show_private=show_private)

    def html(self) -> str:
        """Return verdict, warnings and attacks as an HTML fragment, without any record."""
        return render.as_html(self)

    def as_dict(self) -> dict[str, Any]:
        """Return verdict, warnings, rows and ids of the most exposed records, for programs."""
        return render.as_dict(self)

    def annex(self, documents: str | Iterable[str], *, context: Context = DEFAULT_CONTEXT) -> Annex:
        """Return the tests of this audit beside the clauses of documents ("edpb", "aisvs", "nist", "aiact", "atlas").

        `context` (public-api, weights or internal) decides which adversaries count. Raises `UnknownNameError` for other names.
        """
        return build_annex(AuditFacts(self.rows, self.as_dict(), self.record_labels), documents, context=context)

    def save(
        self,
        folder: Path | str,
        *,
        command: str = "",
        show_text: bool = False,
        show_private: bool = False,
        annex: Annex | None = None,
    ) -> Path:
        """Write page, rows, scores, exposed records, manifest and model card into a new folder, completely or not at all.

        `show_text` adds the texts of exposed records, with their named private values masked unless `show_private`. `annex` adds
        itself to the page, and as Markdown and JSON. Raises `StoreError` if the folder exists or cannot be written.
        """
        return write_audit(
            self, Path(folder), command=command, show_text=show_text, show_private=show_private, annex=annex
        )

    def __getattr__(self, name: str) -> Any:
        """Return a renamed attribute by its former name, with a warning."""
        if name not in FORMER_NAMES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        warnings.warn(f"Audit.{name} is now Audit.{FORMER_NAMES[name]}", FormerNameWarning, stacklevel=2)
        return getattr(self, FORMER_NAMES[name])

    def __repr__(self) -> str:
        """Show the verdict only: rows would fill a screen."""
        return f"Audit({self.verdict})"

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _repr_html_(self) -> str:
        return self.html()
