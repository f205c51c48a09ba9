"""`byheart audit`: a finished model and texts as files, to an audit and the bounds that it must keep."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch

from byheart import labels
from byheart.audit_folder import refuse_folder
from byheart.audit_result import TUNED, Audit
from byheart.auditing import Asked, audited
from byheart.errors import DataError, SettingError, UnknownNameError
from byheart.given import Given, given, refuse_shared
from byheart.lm.finished import Finished, attached, finished, opened, tokenizer
from byheart.lm.load import LanguageModel
from byheart.lm.untouched import untouched, untuned
from byheart.looks import named
from byheart.reading import read
from byheart.subject import Open, Subject

BOUNDED = ("auc", "tpr_at_fpr")
"""What a bound can be set for."""


class Bound(NamedTuple):
    """A number that no attack may be above: the lower end of its 95 % interval is what counts."""

    metric: str
    most: float


def audit_files(
    model: str,
    texts: Mapping[str, Path],
    settings: Asked,
    *,
    adapter: str | None,
    base: str | None,
    device: str,
    fields: Mapping[str, str],
    output: Path | None,
) -> Audit:
    """Return the audit of a model by name on files by part ("member", "nonmember", "validation").

    `fields` says by which names the files call `id` and `group`. Raises `RequestError` before anything is loaded for
    what names and files alone show to be wrong.
    """
    if output is not None:
        refuse_folder(output)
    parts = {part: _given(part, path, fields) for part, path in texts.items()}
    for part in list(parts)[1:]:
        refuse_shared(part, parts[part], "member", parts["member"])
    found = finished(model, adapter, base)
    return audited(_subject(found, getattr(torch, settings.precision), device), parts, settings)


def _given(part: str, path: Path, fields: Mapping[str, str]) -> tuple[Given, ...]:
    """Return a file's texts; a fault is told with the file and the row's number, from 1."""
    records: list[Mapping[str, Any]] = []
    for row in read(path):
        renamed = dict(row.fields)
        for field, own in fields.items():
            if own not in renamed:
                raise DataError(f"{row.place} has no field {own!r}; its fields: {', '.join(renamed) or 'none'}")
            renamed[field] = renamed[own]
        records.append(renamed)
    try:
        return given(part, records)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _subject(found: Finished, dtype: torch.dtype, device: str) -> Subject:
    """Return what is to be audited; nothing is loaded before it is opened, and no two models at once."""
    named_so = {
        "tokenizer": tokenizer(found),
        "name": found.name,
        "base_name": found.base or found.weights,
        "method": found.method,
        "hashes": lambda: found.hashes,
        "doubts": found.doubts,
    }
    if found.adapter is None:
        base: Open | None = functools.partial(opened, found.base, dtype=dtype, device=device) if found.base else None
        return Subject(functools.partial(opened, found.weights, dtype=dtype, device=device), base, **named_so)

    @functools.cache
    def whole() -> LanguageModel:
        # One copy of the weights serves both; it stays until the audit ends.
        return attached(opened(found.weights, dtype=dtype, device=device).__enter__(), found)

    @contextmanager
    def switched(*, off: bool) -> Generator[LanguageModel]:
        model = whole()
        with untouched(model.module), untuned(model.module) if off else nullcontext():
            yield model

    return Subject(functools.partial(switched, off=False), functools.partial(switched, off=True), **named_so)


def bounds(written: Iterable[str]) -> tuple[Bound, ...]:
    """Return bounds from "metric=value"; raises `SettingError` and `UnknownNameError` for what is no bound."""
    found: list[Bound] = []
    for one in written:
        metric, _, value = one.partition("=")
        if metric not in BOUNDED:
            raise UnknownNameError("--fail-above", metric, BOUNDED)
        try:
            most = float(value)
        except ValueError:
            most = -1.0
        if not 0 <= most < 1:
            raise SettingError(
                f"--fail-above {one}: write a number from 0 to below 1, as in --fail-above {metric}=0.05"
            )
        found.append(Bound(metric, most))
    return tuple(found)


def crossed(audit: Audit, asked: Sequence[Bound]) -> tuple[list[str], list[str]]:
    """Return in words the bounds that are crossed, and those that a value is above while its interval is not.

    Raises `DataError` where the texts are too few to tell: a gate must not open because nobody could look.
    """
    over: list[str] = []
    near: list[str] = []
    for metric, most in asked:
        rows = [r for r in audit.rows if r.metric == metric and r.epoch == TUNED]
        if not rows or audit.ruling.word == "refused":
            why = audit.verdict if rows else next((d for d in audit.doubts if "TPR" in d), "it was not measured")
            raise DataError(f"--fail-above {metric}={most:g} cannot be judged: {why}")
        for row in rows:
            told = f"{metric} of {named(row)} is {labels.number(row.value)} [{labels.number(row.low or 0)}, {labels.number(row.high or 1)}]"
            if row.low is not None and row.low > most:
                over.append(f"{told}, above {most:g}")
            elif row.value > most:
                near.append(
                    f"{told}: its value is above {most:g} and its interval's lower end is not; more texts would tell"
                )
    return over, near
