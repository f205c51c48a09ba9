"""Audits of models and texts that are named by path or id, as the command line requests them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from byheart.auditing.audit import Audit
from byheart.auditing.canaries.texts import audited_canaries
from byheart.auditing.exported_weights import export_doubts
from byheart.auditing.fail_bounds import Bound, check_bounds
from byheart.auditing.generated import run_generated_audit
from byheart.auditing.given_scores import run_scores_audit
from byheart.auditing.input_hashes import EXPORT_PARTS, input_hashes
from byheart.auditing.local import run_audit
from byheart.auditing.preregistration import (
    compare_with_plan,
    group_hashes,
    preregistration_text,
    write_preregistration,
)
from byheart.auditing.released import PART_NAMES, ReleasedTexts, scored_strings
from byheart.auditing.save import check_output_folder
from byheart.auditing.server.audit import RequestProgressCallback, run_endpoint_audit
from byheart.auditing.server.client import Endpoint
from byheart.auditing.settings import AuditSettings
from byheart.auditing.source_texts import read_released_texts, read_scored_texts, read_source_texts
from byheart.auditing.target import AuditTarget, ModelOpener
from byheart.auditing.texts import AuditedText, ScoredResponse, check_overlaps
from byheart.data.canary_manifest import PlantedSet, read_planted_set
from byheart.lm.attach_adapter import attach_adapter
from byheart.lm.finetuned import ModelFiles, load_model, model_files, open_model, saved_tokenizer
from byheart.lm.load import LanguageModel
from byheart.lm.load import load_tokenizer as named_tokenizer
from byheart.lm.placement import Placement
from byheart.lm.preserve_state import as_base_model, preserve_training_state
from byheart.store.seal import SEAL


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """What the command line requests of any audit: texts, settings, bounds, output folder.

    `sources` are files, folders or Hub splits by part ("member", "nonmember", ...). `field_names` are the files' names
    for `id`, `group` and the fields of a record shape. `private_fields` are fields with private values. `response` is what
    is scored of preference pairs. `plan` is a preregistration, `canaries` the manifest of planted canaries. `released` are the sources of
    generated and reference texts ("generated", "reference") of an audit without a model. `scores` are the fields of the records with the
    scores of another tool; without `higher_means_member`, a lower score means membership.
    """

    sources: Mapping[str, str]
    settings: AuditSettings
    field_names: Mapping[str, str] = field(default_factory=dict[str, str])
    private_fields: Sequence[str] = ()
    response: ScoredResponse = "chosen"
    bounds: tuple[Bound, ...] = ()
    output: Path | None = None
    plan: Mapping[str, Any] | None = None
    canaries: Path | None = None
    released: Mapping[str, str] = field(default_factory=dict[str, str])
    scores: tuple[str, ...] = ()
    higher_means_member: bool = True

    @functools.cached_property
    def planted(self) -> PlantedSet | None:
        """The planted canaries; raises `DataError` for a manifest that cannot be read or was edited."""
        return None if self.canaries is None else read_planted_set(self.canaries)

    @property
    def hashed_sources(self) -> dict[str, str]:
        """The sources of texts, and the manifest of canaries, by part."""
        canaries = {} if self.canaries is None else {"canaries": str(self.canaries)}
        return {**self.sources, **canaries, **self.released}

    def read_texts(self) -> dict[str, tuple[AuditedText, ...]]:
        """Return the texts by part; raises `RequestError` for errors that the files, bounds and output folder show."""
        if self.output is not None:
            check_output_folder(self.output)
        texts = {} if self.planted is None or "member" in self.sources else audited_canaries(self.planted)
        texts |= {part: self.read_part(part, source) for part, source in self.sources.items()}
        check_overlaps(texts, self.sources)
        members, nonmembers = (
            min(len(texts.get(part, ())), self.settings.max_texts) for part in ("member", "nonmember")
        )
        check_bounds(self.bounds, members, nonmembers, self.settings.fpr)
        return texts

    def read_released(self) -> ReleasedTexts:
        """Return the generated and reference texts, named by their options and files."""
        strings = {
            part: scored_strings(read_released_texts(part, source, self.field_names))
            for part, source in self.released.items()
        }
        options = {part: f"--{part}s {source}" for part, source in self.sources.items()}
        options |= {part: f"--{part} {source}" for part, source in self.released.items()}
        names = {**PART_NAMES, **options}
        return ReleasedTexts(strings["generated"], strings.get("reference", ()), self.released, names)

    def read_part(self, part: str, source: str) -> tuple[AuditedText, ...]:
        """Return the texts of a source, with their scores if the request names fields of scores."""
        if self.scores:
            return read_scored_texts(
                part, source, self.field_names, self.scores, higher_means_member=self.higher_means_member
            )
        return read_source_texts(part, source, self.field_names, self.private_fields, self.response)


def audit_files(
    request: AuditRequest,
    model: str,
    *,
    adapter: str | None,
    base: str | None,
    placement: Placement,
    on_status: Callable[[str], None],
    exported_from: str | None = None,
) -> Audit:
    """Return the audit of a model by path or id; `on_status` receives a line about each step.

    `exported_from` are the weights that the model was exported from; a warning states how far its log-probabilities are from
    theirs. Raises `RequestError` before a model is loaded for every error that names and files alone show.
    """
    texts = request.read_texts()
    files = model_files(model, adapter, base)
    target, parts = _target_from_files(files, placement), dict(files.parts)
    if exported_from is not None:
        weights = model_files(exported_from, None, None)
        on_status(f"comparing the model with {exported_from}")
        opener = _target_from_files(weights, placement).open_model
        doubts = export_doubts(target.open_model, opener, texts, request.settings, exported_from)
        hashes = files.hashes | {EXPORT_PARTS[part]: value for part, value in weights.hashes.items()}
        target = replace(target, doubts=(*target.doubts, *doubts), hashes=lambda: hashes)
        parts |= {EXPORT_PARTS[part]: name for part, name in weights.parts.items()}
    return _with_evidence(run_audit(target, texts, request.settings, on_status, request.planted), request, texts, parts)


def audit_files_endpoint(
    request: AuditRequest,
    endpoint: Endpoint,
    names: tuple[str, str | None],
    *,
    tokenizer_name: str | None,
    on_progress: RequestProgressCallback = lambda _done, _all: None,
) -> Audit:
    """Return the audit of a model and its base model by their names at an endpoint.

    Raises `RequestError` before a request is sent for every error that names and files alone show.
    """
    texts = request.read_texts()
    tokenizer = None if tokenizer_name is None else named_tokenizer(tokenizer_name)
    audit = run_endpoint_audit(endpoint, names, texts, request.settings, tokenizer=tokenizer, on_progress=on_progress)
    return _with_evidence(audit, request, texts, {})


def audit_files_generated(request: AuditRequest) -> Audit:
    """Return the audit of texts that a model generated, by the request's files; no model is loaded.

    Raises `RequestError` for every error that the files show.
    """
    texts = request.read_texts()
    audit = run_generated_audit(request.read_released(), texts, request.settings)
    return _with_evidence(audit, request, texts, {})


def audit_files_scores(request: AuditRequest, name: str) -> Audit:
    """Return the audit of the records' scores, which another tool computed; no model is loaded. `name` is the model's.

    Raises `RequestError` for every error that the files show.
    """
    texts = request.read_texts()
    audit = run_scores_audit(texts, request.settings, name, higher_means_member=request.higher_means_member)
    return _with_evidence(audit, request, texts, {})


def write_plan(request: AuditRequest, path: Path) -> str:
    """Write the preregistration of an audit to a new file and return its seal; no model is loaded.

    Raises `RequestError` for every error that texts, settings and bounds show, and for a file that exists.
    """
    fail_above = [str(bound) for bound in request.bounds]
    canaries = input_hashes(request.hashed_sources, {}).get("canaries", {})
    text = preregistration_text(request.read_texts(), request.settings, fail_above, canaries)
    write_preregistration(path, text)
    return json.loads(text)[SEAL]


def _with_evidence(
    audit: Audit, request: AuditRequest, texts: Mapping[str, Sequence[AuditedText]], weights: Mapping[str, str]
) -> Audit:
    """Return the audit with hashes of its input files, and with the comparison with the preregistration, if there is one."""
    inputs = input_hashes(request.hashed_sources, weights)
    audit = replace(audit, provenance={**audit.provenance, "inputs": inputs})
    if request.plan is None:
        return audit
    fail_above = [str(bound) for bound in request.bounds]
    groups = group_hashes(texts)
    preregistration = compare_with_plan(request.plan, audit.provenance, audit.left_out, fail_above, groups)
    bounds = audit.bounds
    if preregistration.deviations:
        reason = f"the preregistration was not followed: {preregistration.deviations[0]}"
        bounds = tuple(b._replace(is_shown=False, reason=b.reason or reason) for b in bounds)
    return replace(audit, bounds=bounds, preregistration=preregistration)


def _target_from_files(files: ModelFiles, placement: Placement) -> AuditTarget:
    """Return the audit target; a model is loaded when it is opened.

    A complete model is freed when it is closed. A model with an adapter stays in memory: it serves as its own base.
    """
    opener = functools.partial(open_model, placement=placement)
    finetuned: ModelOpener = functools.partial(opener, files.weights)
    base: ModelOpener | None = functools.partial(opener, files.base) if files.base else None

    @functools.cache
    def adapted_model() -> LanguageModel:
        return attach_adapter(load_model(files.weights, placement), files, placement)

    @contextmanager
    def open_adapted(*, is_base: bool) -> Generator[LanguageModel]:
        # One copy of the weights serves both models. It stays in memory until the audit ends.
        model = adapted_model()
        with preserve_training_state(model.module), as_base_model(model.module) if is_base else nullcontext():
            yield model

    if files.adapter is not None:
        finetuned = functools.partial(open_adapted, is_base=False)
        base = functools.partial(open_adapted, is_base=True)
    return AuditTarget(
        finetuned,
        base,
        saved_tokenizer(files),
        files.name,
        files.base or files.weights,
        files.method,
        lambda: files.hashes,
        files.doubts,
        is_adapter_on_base=files.adapter is not None,
    )
