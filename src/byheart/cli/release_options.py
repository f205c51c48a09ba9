"""Options of `byheart audit` that replace the model by what others made with it, and what they cannot be combined with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from byheart.cli.audit_options import MAX_REQUESTS, TIMEOUT, AttackOptions, EndpointOptions, ModelOptions
from byheart.cli.evidence_options import EvidenceOptions
from byheart.cli.text_options import Response, TextOptions, comma_separated
from byheart.core.errors import SettingError
from byheart.data.row_selection import split_selection


@dataclass(frozen=True, kw_only=True)
class ReleaseOptions:
    """Generated texts, or scores of another tool, instead of a model."""

    generated: Annotated[
        str | None,
        typer.Option(
            metavar="TEXTS",
            help="Texts that the model generated, such as a released synthetic data set, instead of --model.",
        ),
    ] = None
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="TEXTS",
            help="Texts of the same kind without the records, such as texts that the base model generated. They calibrate the attacks.",
        ),
    ] = None
    scores: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Fields of the records with the scores that another tool computed, comma-separated, instead of --model. Fields base/NAME "
            "are the base model's scores.",
        ),
    ] = None
    lower_is_member: Annotated[
        bool, typer.Option("--lower-is-member", help="Lower scores mean membership, as for a loss.")
    ] = False

    @property
    def is_model_replaced(self) -> bool:
        """Whether the audit reads no model."""
        return self.generated is not None or self.scores is not None

    @property
    def score_fields(self) -> list[str]:
        """The names of the fields with scores."""
        return comma_separated(self.scores or "")

    @property
    def sources(self) -> dict[str, str]:
        """The sources of generated and reference texts by part."""
        sources = {"generated": self.generated, "reference": self.reference}
        return {part: source for part, source in sources.items() if source is not None}


def check_release(
    release: ReleaseOptions,
    model: ModelOptions,
    endpoint: EndpointOptions,
    texts: TextOptions,
    attacks: AttackOptions,
    evidence: EvidenceOptions,
) -> None:
    """Raise `SettingError` for options that an audit without a model cannot use, and for options that require another one."""
    if release.generated is None and release.reference is not None:
        raise SettingError("--reference: this option requires --generated. Add --generated TEXTS.")
    if release.scores is None and release.lower_is_member:
        raise SettingError("--lower-is-member: this option requires --scores. Add --scores NAMES.")
    if not release.is_model_replaced:
        return
    option = "--generated" if release.scores is None else "--scores"
    given = {
        "--model": model.model,
        "--adapter": model.adapter,
        "--base": model.base,
        "--exported-from": model.exported_from,
        "--endpoint": endpoint.endpoint,
        "--model-name": endpoint.model_name if release.scores is None else None,
        "--base-name": endpoint.base_name,
        "--tokenizer": endpoint.tokenizer,
        "--device-map": model.device_map,
        "--quantize": model.quantize,
        "--validation": texts.validation,
        "--known-members": texts.known_members,
        "--known-nonmembers": texts.known_nonmembers,
        "--end-token": attacks.end_token or None,
        "--device": model.device if model.device != "auto" else None,
        "--precision": model.precision if model.precision != "float32" else None,
        "--tokenization": attacks.tokenization if attacks.tokenization != "joined" else None,
        "--max-requests": endpoint.max_requests if endpoint.max_requests != MAX_REQUESTS else None,
        "--timeout": endpoint.timeout if endpoint.timeout != TIMEOUT else None,
    }
    if wrong := [name for name, value in given.items() if value is not None]:
        raise SettingError(
            f"{option}: cannot be combined with {', '.join(wrong)}, because no model is read. Remove "
            f"{'it' if len(wrong) == 1 else 'them'}, or {option}."
        )
    if release.scores is not None:
        _check_scores(release, texts, attacks, evidence)
        return
    if texts.canaries is not None and texts.members is not None:
        raise SettingError(
            "--canaries: cannot be combined with --members and --generated, because generated texts have no exposure. Remove --members to "
            "audit the canaries, or --canaries to audit the members."
        )


def _check_scores(
    release: ReleaseOptions, texts: TextOptions, attacks: AttackOptions, evidence: EvidenceOptions
) -> None:
    given = {
        "--generated": release.generated is not None,
        "--canaries": texts.canaries is not None,
        "--attacks": attacks.attacks != "default",
        "--attributes": texts.attributes is not None,
        f"--response {texts.response.value}": texts.response is not Response.CHOSEN,
    }
    if wrong := [name for name, is_given in given.items() if is_given]:
        raise SettingError(
            f"--scores: cannot be combined with {', '.join(wrong)}, because only the records' scores are read. Remove "
            f"{'it' if len(wrong) == 1 else 'them'}, or --scores."
        )
    if evidence.preregister is not None or evidence.preregistered is not None:
        raise SettingError(
            "--scores: cannot be combined with --preregister and --preregistered, because a plan comes before the scores. Remove "
            "one of them."
        )
    selected = {n.field for s in texts.sources.values() if (n := split_selection(s)[1]) is not None}
    if labels := selected.intersection(release.score_fields):
        raise SettingError(
            f"--scores {min(labels)}: this field selects the records, so it is no score. Name another field."
        )
    if texts.nonmembers is None:
        raise SettingError("--scores: there are no non-members. Add --nonmembers TEXTS, records with the same fields.")
