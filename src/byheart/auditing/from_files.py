"""`byheart audit`: a finished model and texts as files, to an audit and the bounds that it must keep."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from byheart.auditing.audit import Audit
from byheart.auditing.local import run_audit
from byheart.auditing.save import check_output_folder
from byheart.auditing.server.audit import RequestProgressCallback, run_endpoint_audit
from byheart.auditing.server.client import Endpoint
from byheart.auditing.settings import AuditSettings
from byheart.auditing.target import AuditTarget, ModelOpener
from byheart.auditing.texts import AuditedText, check_overlaps, parse_text
from byheart.auditing.thresholds import Bound, check_bounds
from byheart.core.errors import DataError
from byheart.data.sources import read_source
from byheart.lm.finetuned import ModelFiles, attach_adapter, load_model, model_files, open_model, saved_tokenizer
from byheart.lm.load import LanguageModel
from byheart.lm.load import load_tokenizer as named_tokenizer
from byheart.lm.placement import Placement
from byheart.lm.preserve_state import as_base_model, preserve_training_state


def audit_files(  # noqa: PLR0913 - what a command line says
    model: str,
    texts: Mapping[str, str],
    settings: AuditSettings,
    *,
    adapter: str | None,
    base: str | None,
    placing: Placement,
    fields: Mapping[str, str],
    private_fields: Sequence[str] = (),
    limits: Sequence[Bound] = (),
    output: Path | None = None,
    on_status: Callable[[str], None],
) -> Audit:
    """Return the audit of a model by name on texts by part ("member", "nonmember", ...); `tell` hears what is being done.

    Texts are named as in `sources`, and `fields` says by which names the files call `id` and `group`; those of `private`
    hold private values. Raises `RequestError` before anything is loaded for what names and files alone show to be wrong.
    """
    if output is not None:
        check_output_folder(output)
    parts = _texts_by_part(texts, settings, (fields, private_fields), limits)
    found = model_files(model, adapter, base)
    return run_audit(_target_from_files(found, placing), parts, settings, on_status)


def audit_files_endpoint(  # noqa: PLR0913 - what a command line says
    endpoint: Endpoint,
    names: tuple[str, str | None],
    texts: Mapping[str, str],
    settings: AuditSettings,
    *,
    tokenizer_name: str | None,
    fields: Mapping[str, str],
    private_fields: Sequence[str] = (),
    limits: Sequence[Bound] = (),
    output: Path | None = None,
    on_progress: RequestProgressCallback = lambda _done, _all: None,
) -> Audit:
    """Return the audit of a model and its base by their names at an endpoint; `tokens` names a tokenizer that is here.

    Raises `RequestError` before anything is sent for what names and files alone show to be wrong.
    """
    if output is not None:
        check_output_folder(output)
    parts = _texts_by_part(texts, settings, (fields, private_fields), limits)
    held = None if tokenizer_name is None else named_tokenizer(tokenizer_name)
    return run_endpoint_audit(endpoint, names, parts, settings, tokenizer=held, on_progress=on_progress)


def _texts_by_part(
    texts: Mapping[str, str],
    settings: AuditSettings,
    fields: tuple[Mapping[str, str], Sequence[str]],
    limits: Sequence[Bound],
) -> dict[str, tuple[AuditedText, ...]]:
    """Return the files' texts by part, after what they alone show to be wrong is refused."""
    parts = {part: _read_texts(part, path, *fields) for part, path in texts.items()}
    check_overlaps(parts)
    members, nonmembers = (min(len(parts.get(side, ())), settings.max_texts) for side in ("member", "nonmember"))
    check_bounds(limits, members, nonmembers, settings.fpr)
    return parts


def _read_texts(
    part: str, path: str, fields: Mapping[str, str], private_fields: Sequence[str]
) -> tuple[AuditedText, ...]:
    """Return a source's texts, named by the line or row that they stand at unless they have an id."""
    found: list[AuditedText] = []
    held: set[str] = set()
    for row in read_source(path):
        record = dict(row.fields)
        for field, own in fields.items():
            if own not in record:
                raise DataError(f"{row.location} has no field {own!r}; its fields: {', '.join(record) or 'none'}")
            record[field] = record[own]
        if private_fields:
            held |= record.keys()
            record["attributes"] = {own: record.get(own) for own in private_fields}
        try:
            found.append(parse_text(part, row.location.removeprefix(path).lstrip(" /"), record))
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    # A record may lack a value; a name that no record has would leave what it was to mask in plain sight.
    for own in private_fields:
        if part == "member" and own not in held:
            raise DataError(f"{path}: no record has the field {own!r}; its fields: {', '.join(sorted(held)) or 'none'}")
    names = [text.name for text in found]
    if len(set(names)) < len(names):
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        raise DataError(
            f"{path}: the id {twice!r} is used twice; give each record its own, or name the field with --id"
        )
    return tuple(found)


def _target_from_files(found: ModelFiles, placing: Placement) -> AuditTarget:
    """Return what is to be audited; nothing is loaded before it is opened, and no two models at once."""
    opening = functools.partial(open_model, placement=placing)
    tuned: ModelOpener = functools.partial(opening, found.weights)
    base: ModelOpener | None = functools.partial(opening, found.base) if found.base else None

    @functools.cache
    def whole() -> LanguageModel:
        return attach_adapter(load_model(found.weights, placing), found, placing)

    @contextmanager
    def switched(*, off: bool) -> Generator[LanguageModel]:
        # One copy of the weights serves both; it stays until the audit ends.
        model = whole()
        with preserve_training_state(model.module), as_base_model(model.module) if off else nullcontext():
            yield model

    if found.adapter is not None:
        tuned, base = functools.partial(switched, off=False), functools.partial(switched, off=True)
    return AuditTarget(
        tuned,
        base,
        saved_tokenizer(found),
        found.name,
        found.base or found.weights,
        found.method,
        lambda: found.hashes,
        found.doubts,
    )
