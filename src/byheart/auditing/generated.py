"""Audit texts that a model generated, without the model: `byheart.audit_generated`.

The evidence is a released data set of synthetic texts. Everything else equals an audit of a model: comparison, split check, verdict,
intervals, bounds, page. Reference texts take the place of the base model: the attacks also run on them, and a leak must exceed what
the attacks reach there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from byheart.auditing.attack_evidence import attack_outputs, split_attacks
from byheart.auditing.audited_split import audit_comparison
from byheart.auditing.canaries.texts import as_planted_set, canary_texts_by_part
from byheart.auditing.conclude import AttackResults, AuditedModel, build_audit
from byheart.auditing.pass_bounds import check_pass_bounds
from byheart.auditing.released import ReleasedTexts, check_released, plain_turns, scored_strings
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.auditing.settings import AuditSettings
from byheart.auditing.texts import AuditedText, ScoredResponse, parse_texts, texts_by_part
from byheart.core.attack_output import is_extraction_attack
from byheart.core.defaults import CALIBRATED_SYNTHETIC_ATTACKS, SYNTHETIC_ATTACKS
from byheart.core.errors import SettingError
from byheart.core.evidence import SyntheticTexts
from byheart.core.registry import Choice
from byheart.core.types import Texts

if TYPE_CHECKING:
    from pathlib import Path

    from byheart.auditing.audit import Audit
    from byheart.data.canary_manifest import PlantedSet

NO_MODEL = "requires a model; an audit of generated texts has none"
NO_REFERENCE = "requires reference texts; pass them as reference"
METHOD = "generated texts"
"""Name of the method in rows: how the model was fine-tuned is not known."""


def audit_generated(  # noqa: PLR0913 - settings come in by keyword
    generated: Texts | Iterable[Any],
    members: Texts | Iterable[Any] | None = None,
    nonmembers: Texts | Iterable[Any] | None = None,
    *,
    reference: Texts | Iterable[Any] | None = None,
    canaries: PlantedSet | Path | str | None = None,
    attacks: str | Sequence[str | Mapping[str, Mapping[str, Any]]] = "default",
    max_texts: int = 1000,
    fpr: float = 0.01,
    pass_below: Mapping[str, float] | Sequence[str] = (),
    response: ScoredResponse = "chosen",
) -> Audit:
    """Audit texts that a model generated: do they show which of `members` and `nonmembers` the model was trained on?

    No model is needed. Texts have the formats of `audit`; of a prompt and its completion, the completion is compared. All texts of
    `generated` and `reference` are read; `max_texts` limits the audited records per class. `reference` are texts of the same kind that a
    model generated which was not trained on the records, such as the base model, or other texts without the records; they calibrate
    the attacks and take the base model's place in the result. `canaries` of `byheart.plant`, or the path of their manifest, without
    `members`: the included ones are the members, the held-out ones the non-members. `pass_below` are bounds as in `audit`.
    Raises `DataError`, `SettingError` and `UnknownNameError`, with one line each.
    """
    released = ReleasedTexts(
        scored_strings(parse_texts("generated", generated)),
        () if reference is None else scored_strings(parse_texts("reference", reference)),
    )
    settings = AuditSettings(
        attacks=generated_attacks(attacks, has_reference=bool(released.reference)),
        max_texts=max_texts,
        fpr=fpr,
        pass_below=pass_below,
    )
    if members is not None and canaries is not None:
        raise SettingError(
            "canaries: members are given too, and generated texts have no exposure. Pass one of the two."
        )
    if members is None:
        planted = None if canaries is None else as_planted_set(canaries)
        texts = canary_texts_by_part(planted, nonmembers, None, None, None)
    else:
        texts = texts_by_part(members, nonmembers, None, response=response)
    return run_generated_audit(released, texts, settings)


def generated_attacks(attacks: Any, *, has_reference: bool) -> Any:
    """Return the selected attacks; "default" becomes the attacks on generated texts, with the calibrated ones if there is a reference."""
    if attacks != "default":
        return attacks
    return [*SYNTHETIC_ATTACKS, *(CALIBRATED_SYNTHETIC_ATTACKS if has_reference else ())]


def run_generated_audit(
    released: ReleasedTexts, texts: Mapping[str, Sequence[AuditedText]], settings: AuditSettings
) -> Audit:
    """Return the audit of generated texts on records by part ("member", "nonmember")."""
    start_time = time.monotonic()
    check_released(released, texts)
    plain = {part: [turn for text in items for turn in plain_turns(text)] for part, items in texts.items()}
    has_reference = bool(released.reference)
    attacks, left_out = split_attacks(settings.attacks, lambda a: _reason_not_runnable(a, has_reference=has_reference))
    comparison = audit_comparison(
        plain, None, settings.metrics, max_texts=settings.max_texts, max_tokens=settings.max_tokens, fpr=settings.fpr
    )
    check_pass_bounds(settings.pass_below, comparison.record_labels, attacks, fpr=settings.fpr)
    generated = SyntheticTexts(generated=released.generated)
    reference = SyntheticTexts(generated=released.reference) if has_reference else None
    audited = comparison.split.audited
    scores = {
        epoch: {
            name: arrays["scores"]
            for name, arrays in attack_outputs(
                attacks,
                {"texts": audited, "synthetic_texts": evidence, "synthetic_texts_base": reference},
                len(audited),
            ).items()
        }
        for epoch, evidence in ((BASE_EPOCH, reference), (FINETUNED_EPOCH, generated))
        if evidence is not None
    }
    name = released.label("generated")
    base_name = released.label("reference") if has_reference else name
    model = AuditedModel(name, base_name, METHOD, released.hashes, _doubts(released, texts))
    results = AttackResults(attacks, left_out, scores, {}, {}, 0, lambda _: [])
    return build_audit(model, comparison, results, texts, settings.recipe_without_model, start_time)


def _reason_not_runnable(attack: Choice, *, has_reference: bool) -> str:
    """Return why an attack cannot run on generated texts; "" if it can."""
    available = {"texts", "synthetic_texts", "synthetic_texts_base"}
    if not set(attack.needs) <= available or is_extraction_attack(attack):
        return NO_MODEL
    return NO_REFERENCE if "synthetic_texts_base" in attack.needs and not has_reference else ""


def _doubts(released: ReleasedTexts, texts: Mapping[str, Sequence[AuditedText]]) -> tuple[str, ...]:
    """Return what to know before the numbers: what the texts cannot show, and what takes the base model's place."""
    doubts = [
        f"the audit read {len(released.generated):,} generated texts and no model; more texts, or the model, may reveal more"
    ]
    if released.reference:
        doubts.append(
            f"{len(released.reference):,} reference texts take the base model's place: numbers of the base model are those of the same "
            "attacks on the reference texts"
        )
    else:
        doubts.append(
            "without reference texts, leakage cannot be distinguished from how usual a record's words are; pass reference texts"
        )
    if any(text.is_canary for items in texts.values() for text in items):
        doubts.append("canaries: exposure and a bound on epsilon require a model")
    return tuple(doubts)
