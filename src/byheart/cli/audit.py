"""The command `byheart audit`.

Exit 0: done. 2: invalid request. 3: a --fail-above bound is exceeded. 4: a --pass-below bound is not shown, or bounds were
not tested as preregistered.
"""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import typer

from byheart.cli.audit_options import AttackOptions, EndpointOptions, ModelOptions, OutputOptions, check_one_model
from byheart.cli.audit_progress import request_progress, status_display
from byheart.cli.evidence_options import EvidenceOptions
from byheart.cli.option_groups import with_option_groups
from byheart.cli.release_options import ReleaseOptions, check_release
from byheart.cli.review_options import ReviewOptions
from byheart.cli.text_options import TextOptions
from byheart.core.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from byheart.auditing.audit import Audit
    from byheart.auditing.fail_bounds import Bound
    from byheart.auditing.from_files import AuditRequest

EXIT_BOUND_EXCEEDED = 3
EXIT_BOUND_NOT_SHOWN = 4


@with_option_groups
def audit(
    texts: TextOptions,
    model: ModelOptions,
    endpoint: EndpointOptions,
    release: ReleaseOptions,
    attacks: AttackOptions,
    evidence: EvidenceOptions,
    review: ReviewOptions,
    output: OutputOptions,
) -> None:
    """Audit a fine-tuned model: measure what it leaks about its training texts, and list the most exposed records."""
    check_release(release, model, endpoint, texts, attacks, evidence)
    from byheart.auditing.fail_bounds import parse_bounds
    from byheart.auditing.from_files import AuditRequest
    from byheart.auditing.given_scores import ALL_TEXTS
    from byheart.auditing.settings import DEFAULT_MAX_TEXTS, AuditSettings

    request = AuditRequest(
        sources=texts.sources,
        field_names=texts.field_names,
        private_fields=texts.private_fields,
        response=texts.response.value,
        bounds=parse_bounds(output.fail_above or []),
        settings=AuditSettings(
            attacks=_attacks(attacks, release),
            max_texts=attacks.max_texts or (DEFAULT_MAX_TEXTS if release.scores is None else ALL_TEXTS),
            max_tokens=attacks.max_tokens,
            fpr=attacks.fpr,
            precision=model.precision,
            end_token=attacks.end_token,
            tokenization=attacks.tokenization,
            pass_below=evidence.pass_below or (),
        ),
        output=output.output,
        plan=_plan(evidence),
        canaries=texts.canaries,
        released=release.sources,
        scores=tuple(release.score_fields),
        higher_means_member=not release.lower_is_member,
    )
    if evidence.preregister is not None:
        _check_no_output(output, review)
        _preregister(request, evidence.preregister)
        return
    if not release.is_model_replaced:
        check_one_model(model, endpoint, texts)
    review.check_output(output.output, [*_paths_read(texts, model, evidence), *release.sources.values()])
    result = _run(request, model, endpoint)
    if output.show_text and release.scores is not None and result.gate is None:
        raise SettingError("--show-text: the records have no texts. Add their texts, or remove --show-text.")
    if output.output is not None:
        result.save(
            output.output,
            command=shlex.join(["byheart", *sys.argv[1:]]),
            show_text=output.show_text,
            show_private=output.show_private,
            annex=review.annex_of(result),
        )
    review.write_checks(result, request.bounds, output.output)
    _print_result(result, request.bounds, output)


def _attacks(attacks: AttackOptions, release: ReleaseOptions) -> Any:
    """Return the selected attacks: those of the scores, those on generated texts, or those on a model."""
    from byheart.auditing.generated import generated_attacks
    from byheart.auditing.given_scores import given_attacks, score_names

    if release.scores is not None:
        return given_attacks(score_names(release.score_fields))
    if release.generated is not None:
        return generated_attacks(attacks.names, has_reference=release.reference is not None)
    return attacks.names


def _check_no_output(output: OutputOptions, review: ReviewOptions) -> None:
    """Raise `SettingError` for options of --preregister that name a result, because nothing is audited."""
    given = {
        "-o": output.output is not None,
        "--annex": review.annex is not None,
        "--junit": review.junit is not None,
        "--sarif": review.sarif is not None,
        "--json": output.json,
    }
    if wrong := [option for option, is_given in given.items() if is_given]:
        raise SettingError(
            f"{', '.join(wrong)}: --preregister audits nothing and writes only the plan. Use {'it' if len(wrong) == 1 else 'them'} with "
            "--preregistered."
        )


def _paths_read(texts: TextOptions, model: ModelOptions, evidence: EvidenceOptions) -> list[str | Path]:
    """Return what the audit reads, as far as it is named by a path."""
    named = (*texts.sources.values(), texts.canaries, model.model, model.adapter, model.base, model.exported_from)
    return [path for path in (*named, evidence.preregistered) if path is not None]


def _plan(evidence: EvidenceOptions) -> dict[str, Any] | None:
    from byheart.auditing.preregistration import read_preregistration

    return None if evidence.preregistered is None else read_preregistration(evidence.preregistered)


def _preregister(request: AuditRequest, path: Path) -> None:
    """Write the plan of an audit and print its seal; no model is loaded."""
    from byheart.auditing.from_files import write_plan

    seal = write_plan(request, path)
    typer.echo(f"preregistered: {path.absolute()}\nseal: {seal}")


def _run(request: AuditRequest, model: ModelOptions, endpoint: EndpointOptions) -> Audit:
    """Audit scores, generated texts, a model on this machine, or a model at an endpoint."""
    if request.scores:
        from byheart.auditing.from_files import audit_files_scores

        return audit_files_scores(request, endpoint.model_name or "")
    if request.released:
        from byheart.auditing.from_files import audit_files_generated

        return audit_files_generated(request)
    return _audit_model(request, model) if endpoint.endpoint is None else _audit_endpoint(request, endpoint)


def _audit_model(request: AuditRequest, model: ModelOptions) -> Audit:
    from byheart.auditing.from_files import audit_files

    with status_display() as on_status:
        return audit_files(
            request,
            model.model or "",
            adapter=model.adapter,
            base=model.base,
            placement=model.placement,
            on_status=on_status,
            exported_from=model.exported_from,
        )


def _audit_endpoint(request: AuditRequest, options: EndpointOptions) -> Audit:
    from byheart.auditing.from_files import audit_files_endpoint
    from byheart.auditing.server.client import Endpoint, RequestLimits

    limits = RequestLimits(timeout=options.timeout, max_requests=options.max_requests)
    names = (options.model_name or "", options.base_name)
    with request_progress() as on_progress:
        return audit_files_endpoint(
            request,
            Endpoint(options.endpoint or "", limits),
            names,
            tokenizer_name=options.tokenizer,
            on_progress=on_progress,
        )


def _print_result(result: Audit, bounds: tuple[Bound, ...], output: OutputOptions) -> None:
    """Print the audit and its bounds.

    Exits with code 3 if a bound is exceeded, 4 if a bound to pass is not shown or the bounds were not tested as preregistered.
    """
    from byheart.auditing.fail_bounds import crossed_bounds
    from byheart.store.seal import MANIFEST, SEAL, read_sealed

    exceeded, undecided = crossed_bounds(result, bounds)
    folder = output.output and str(output.output)
    seal = "" if output.output is None else read_sealed(output.output / MANIFEST)[SEAL]
    if output.json:
        content: dict[str, Any] = {**result.as_dict(), "crossed": exceeded, "near": undecided, "output": folder}
        content |= {"seal": seal} if seal else {}
        typer.echo(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        typer.echo(result.text(**output.show))
        if output.output is not None:
            typer.echo(f"report: {(output.output / 'report.html').absolute()}")
            typer.echo(f"seal: {seal}")
        for line in undecided:
            typer.echo(f"note: {line}")
    for line in exceeded:
        typer.echo(f"byheart: bound exceeded: {line}", err=True)
    not_shown = [r for r in result.bounds if not r.is_shown]
    for bound_result in not_shown:
        typer.echo(f"byheart: bound not shown: {bound_result.bound}: {bound_result.reason}", err=True)
    untested = result.preregistration.untested if result.preregistration else ()
    for option in untested:
        typer.echo(f"byheart: bound not shown: {option} is planned and was not tested. Add {option}.", err=True)
    departures = result.preregistration.deviations if result.preregistration and bounds else ()
    if departures:
        typer.echo(f"byheart: bounds not tested as planned: {'; '.join(departures)}", err=True)
    is_open = bool(not_shown or untested or departures)
    raise typer.Exit(EXIT_BOUND_EXCEEDED if exceeded else EXIT_BOUND_NOT_SHOWN if is_open else 0)
