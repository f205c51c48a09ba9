"""The annex of an audit: tests by attack class, clauses of public documents, and what the reader must add.

It claims no compliance. A clause whose tests were not run says so, with the option that runs them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from byheart.analysis import formats, row_values
from byheart.auditing.annex.clauses import Framework, general_duties, parse_frameworks, read_framework
from byheart.auditing.annex.contexts import DEFAULT_CONTEXT, MEANINGS, Context
from byheart.auditing.annex.evidence import CLASS_LABELS, AuditFacts, Line, class_summary, evidence_lines
from byheart.core.errors import UnknownNameError
from byheart.core.types import Table
from byheart.report.page import PageSection

TITLE = "Annex: tests and clauses"
DUTIES_TITLE = "What you must add yourself"
DISCLAIMER = (
    "This annex claims no compliance. It states which tests were run and which clauses of public documents speak of such tests. The "
    "summaries of clauses are byheart's words and no legal advice; the documents decide."
)


UNKNOWN_COUNTS = "An attack whose adversary is unknown counts."


@dataclass(frozen=True)
class Annex:
    """Tests, clauses and duties of one audit in one context."""

    verdict: str
    gate: str | None
    preregistration: str
    context: Context
    frameworks: tuple[Framework, ...]
    lines: tuple[Line, ...]
    is_of_scores: bool = False

    @property
    def duties(self) -> tuple[str, ...]:
        """What the reader must add: for each clause, and in general."""
        return (*(f"{c.short}: {c.yours}" for f in self.frameworks for c in f.clauses), *general_duties())

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """What precedes the tables: disclaimer, verdict, context."""
        split = "" if self.gate is None else f" Split check: {self.gate}."
        split += " No number below is evidence, for or against leakage." if self.gate == "broken" else ""
        return (
            DISCLAIMER,
            f"Verdict of the audit: {self.verdict}.{split} Preregistration: {self.preregistration}.",
            f"Context {self.context}: {MEANINGS[self.context]}. Attacks whose adversary needs more do not count. {UNKNOWN_COUNTS}",
        )

    def summary(self, attack_class: str) -> str:
        """Return what was measured of an attack class."""
        return class_summary(self.lines, attack_class, is_of_scores=self.is_of_scores)

    def tables(self) -> tuple[Table, ...]:
        """Return the tests by attack class, the clauses, and the documents."""
        return _test_table(self), _clause_table(self), _document_table(self)

    def markdown(self) -> str:
        """Return the annex as Markdown, without any record."""
        lines = [f"# {TITLE}", *map(formats.escape_markdown, self.paragraphs)]
        lines += [formats.as_markdown(table) for table in self.tables()]
        lines += [f"## {DUTIES_TITLE}", "\n".join(f"- {formats.escape_markdown(d)}" for d in self.duties)]
        return "\n\n".join(line.strip("\n") for line in lines) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """Return the annex for programs; `estimate` is None where a test has no number."""
        return {
            "claim": DISCLAIMER,
            "verdict": self.verdict,
            "gate": self.gate,
            "preregistration": self.preregistration,
            "context": self.context,
            "tests": [{**x._asdict(), "estimate": x.estimate and x.estimate._asdict()} for x in self.lines],
            "documents": [
                {
                    **f._asdict(),
                    "not_listed": [*f.not_listed],
                    "clauses": [
                        {**c._asdict(), "tests": {name: self.summary(name) for name in c.classes}} for c in f.clauses
                    ],
                }
                for f in self.frameworks
            ],
            "yours": [*self.duties],
        }

    def json(self) -> str:
        """Return `as_dict` as JSON text."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    def section(self) -> PageSection:
        """Return the annex as a section of the page."""
        return PageSection(TITLE, self.paragraphs, self.tables(), DUTIES_TITLE, self.duties)


def build_annex(facts: AuditFacts, frameworks: str | Iterable[str], *, context: Context = DEFAULT_CONTEXT) -> Annex:
    """Return the annex of an audit; raises `UnknownNameError` for an unknown document or context."""
    if context not in MEANINGS:
        raise UnknownNameError("--context", context, MEANINGS)
    documents = tuple(read_framework(name) for name in parse_frameworks(frameworks))
    manifest = facts.manifest
    return Annex(
        manifest["sentence"],
        manifest["gate"],
        _preregistration_text(manifest["preregistration"]),
        context,
        documents,
        evidence_lines(facts, context),
        facts.is_of_scores,
    )


def _preregistration_text(compared: Mapping[str, Any] | None) -> str:
    if compared is None:
        return "none"
    return (
        "not followed"
        if compared["deviations"] or compared.get("untested")
        else f"followed, dated {compared['at'][:10]}"
    )


def _test_table(annex: Annex) -> Table:
    firsts = {line.attack_class: line for line in reversed(annex.lines)}
    lines = tuple(
        (
            CLASS_LABELS[line.attack_class],
            _test_text(line),
            _adversary_text(line, annex.context),
            line.metric or row_values.MISSING,
            row_values.format_estimate(line.estimate),
            line.power or row_values.MISSING,
            _clauses_of(annex, line.attack_class) if line is firsts[line.attack_class] else "",
        )
        for line in annex.lines
    )
    header = ("attack class", "test", "adversary has", "metric", "value", "power", "clauses")
    note = (
        "Values of the fine-tuned model with 95 % confidence intervals in brackets. Power: the probability that an AUC is detected, or "
        "that a bound is shown. Clauses are named once for each class. A test that detects nothing does not show that nothing was "
        "memorized."
    )
    return Table("Tests by attack class", header, lines, note)


def _test_text(line: Line) -> str:
    if line.estimate is not None:
        return line.test
    return f"not run: {line.test} ({line.reason})" if line.test else f"not run: {line.reason}"


def _adversary_text(line: Line, context: Context) -> str:
    if not line.adversary:
        return row_values.MISSING
    return line.adversary if line.is_counted else f"{line.adversary} (does not count: {context})"


def _clauses_of(annex: Annex, attack_class: str) -> str:
    names = [c.short for f in annex.frameworks for c in f.clauses if attack_class in c.classes]
    return "; ".join(names) or row_values.MISSING


def _clause_table(annex: Annex) -> Table:
    lines = tuple(
        (
            c.short,
            c.clause,
            c.asks,
            "; ".join(f"{CLASS_LABELS[name]}: {annex.summary(name)}" for name in c.classes)
            or "no test; for you to add",
        )
        for f in annex.frameworks
        for c in f.clauses
    )
    return Table("Clauses", ("name", "clause", "asks for (byheart's words)", "tests in this audit"), lines)


def _document_table(annex: Annex) -> Table:
    lines = tuple((f.title, f.version, f.source, f.read, _not_listed_text(f)) for f in annex.frameworks)
    return Table("Documents", ("document", "version", "source", "text checked", "not listed"), lines)


def _not_listed_text(framework: Framework) -> str:
    return "; ".join(f"{item['clause']} ({item['reason']})" for item in framework.not_listed) or row_values.MISSING
