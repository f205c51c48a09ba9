"""Clauses of public documents that speak of tests for memorization; the file `clauses.yaml` has all of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, NamedTuple

from byheart.core.errors import SettingError, UnknownNameError


class Clause(NamedTuple):
    """A clause: its number, its name in tables, what it asks (our paraphrase), attack classes, and what the reader must add."""

    clause: str
    short: str
    asks: str
    classes: tuple[str, ...]
    yours: str


class Framework(NamedTuple):
    """A document: title, version, date, address, how its text was checked, its clauses, and clauses that could not be read."""

    name: str
    title: str
    version: str
    published: str
    source: str
    read: str
    clauses: tuple[Clause, ...]
    not_listed: tuple[Mapping[str, str], ...]


def framework_names() -> tuple[str, ...]:
    """Return the names that `--annex` accepts."""
    return tuple(_content()["frameworks"])


def parse_frameworks(written: str | Iterable[str]) -> tuple[str, ...]:
    """Return names from "edpb,nist" or from a list; raises `UnknownNameError` for an unknown name, `SettingError` for none."""
    items = written.split(",") if isinstance(written, str) else [*written]
    names = tuple(dict.fromkeys(name.strip() for name in items if name.strip()))
    if not names:
        raise SettingError(f"--annex: no document is named. Write, for example, --annex {','.join(framework_names())}.")
    for name in names:
        if name not in framework_names():
            raise UnknownNameError("--annex", name, framework_names())
    return names


def read_framework(name: str) -> Framework:
    """Return a document with its clauses, by its name."""
    fields = dict(_content()["frameworks"][name])
    clauses = tuple(
        Clause(c["clause"], c["short"], c["asks"], tuple(c["classes"]), c["yours"]) for c in fields.pop("clauses")
    )
    not_listed = tuple(dict(item) for item in fields.pop("not_listed", ()))
    return Framework(name, **{k: str(v) for k, v in fields.items()}, clauses=clauses, not_listed=not_listed)


def general_duties() -> tuple[str, ...]:
    """Return what every reader must add, whatever the documents."""
    return tuple(_content()["always"])


@functools.cache
def _content() -> dict[str, Any]:
    from ruamel.yaml import YAML

    text = resources.files("byheart.auditing.annex").joinpath("clauses.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe").load(text)
