"""Audit scores that another tool computed, without the model: `byheart.audit_scores`.

Each record has one number for each attack on the fine-tuned model, and may have those of the same attacks on the base model, in
fields `base/NAME`. Everything else equals an audit of a model: comparison, split check, verdict, intervals, bounds, page. Without the
records' texts there is no split check: a difference between the texts can then separate the classes as a leak does, so the verdict
is never that the model leaks.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from byheart.auditing.audited_split import audit_comparison
from byheart.auditing.conclude import AttackResults, AuditedModel, build_audit
from byheart.auditing.pass_bounds import check_pass_bounds
from byheart.auditing.released import AUDITED
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH, GIVEN_SCORES
from byheart.auditing.scored_records import BASE_PREFIX, scored_text
from byheart.auditing.settings import AuditSettings
from byheart.auditing.texts import AuditedText, check_overlaps, records_of, with_unique_names
from byheart.auditing.verdict import Ruling
from byheart.core.errors import DataError, SettingError, quoted_name
from byheart.core.registry import Choice
from byheart.core.setting_values import validate_setting

if TYPE_CHECKING:
    from byheart.auditing.audit import Audit
    from byheart.core.types import Scores

ALL_TEXTS = 10**9
"""Value of `max_texts` that leaves no record out: scores cost nothing."""
ORIGIN_DOUBT = "another tool computed the scores; byheart did not read the model"
NEGATED_DOUBT = "; they are negated, because a lower score means membership"
NO_TEXTS_DOUBT = (
    "the records have no texts, so byheart did not check what separates the classes without the model; add their texts"
)
REVERSED_DOUBT = "members have lower scores; if a lower score means membership, add --lower-is-member (Python: higher_means_member=False)"


def audit_scores(
    members: Iterable[Any],
    nonmembers: Iterable[Any],
    *,
    scores: str | Sequence[str],
    higher_means_member: bool = True,
    name: str = "",
    max_texts: int | None = None,
    fpr: float = 0.01,
    pass_below: Mapping[str, float] | Sequence[str] = (),
) -> Audit:
    """Audit scores that another tool computed for `members` and `nonmembers`: does an attack identify the members?

    Records are dicts, or the rows of a DataFrame, an Arrow table or a data set. `scores` are the names of the fields with the scores,
    one for each attack; fields `base/NAME` are the base model's. A score with the name of one of byheart's attacks counts as that
    attack's. Records may have their text in the formats of `audit`, which the split check reads, an `id` and a `group`. `name` is the
    model's. `max_texts` limits the records per class; the default is all of them. `pass_below` are bounds as in `audit`. Raises
    `DataError` for a record without a finite score, and `SettingError`, with one line each.
    """
    names = score_names(scores)
    validate_setting("higher_means_member", bool, higher_means_member)
    settings = AuditSettings(
        attacks=given_attacks(names),
        max_texts=ALL_TEXTS if max_texts is None else max_texts,
        fpr=fpr,
        pass_below=pass_below,
    )
    parts = {"member": members, "nonmember": nonmembers}
    texts = {
        part: with_unique_names(
            tuple(
                scored_text(part, str(i), _mapping(part, i, item), names, higher_means_member=higher_means_member)
                for i, item in enumerate(records_of(part, items))
            )
        )
        for part, items in parts.items()
    }
    check_overlaps(texts)
    return run_scores_audit(
        texts, settings, validate_setting("name", str, name), higher_means_member=higher_means_member
    )


def score_names(scores: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of fields with scores. Raises `SettingError` for none, for duplicates and for `base/NAME`."""
    if not scores:
        raise SettingError("scores: no field is named. Name the fields with scores, such as loss.")
    names = validate_setting("scores", tuple[str, ...], [scores] if isinstance(scores, str) else scores)
    for name in names:
        shown = quoted_name(name)
        if name.startswith(BASE_PREFIX):
            raise SettingError(
                f"scores: {shown} is the base model's score, which is read with the other. Remove {BASE_PREFIX}."
            )
        if ":" in name or not name.isprintable():
            raise SettingError(f"scores: the name {shown} has a colon or a control character. Rename the field.")
        if names.count(name) > 1:
            raise SettingError(f"scores: {shown} is listed twice. List it once.")
    return names


def given_attacks(names: Sequence[str]) -> list[Choice]:
    """Return attacks of these names, without settings."""
    return [Choice("attacks", name, {}, {}, 0, given_score) for name in names]


def given_score() -> None:
    """Stand for the attack that another tool ran; it is never called."""


def _mapping(part: str, i: int, item: Any) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise DataError(f"{part} text '{i}': the type is {type(item).__name__}. Write a record with its scores.")
    return cast("Mapping[str, Any]", item)


def run_scores_audit(
    texts: Mapping[str, Sequence[AuditedText]], settings: AuditSettings, name: str, *, higher_means_member: bool
) -> Audit:
    """Return the audit of scored records by part ("member", "nonmember").

    Without `higher_means_member`, the records have their scores negated already, and a warning says so.
    """
    start_time = time.monotonic()
    _check_records(texts)
    has_texts = texts["member"][0].has_text
    if settings.pass_below and not has_texts:
        raise DataError("--pass-below: requires the texts of the records, for the split check. Add them.")
    comparison = audit_comparison(
        texts,
        None,
        settings.metrics,
        max_texts=settings.max_texts,
        max_tokens=settings.max_tokens,
        fpr=settings.fpr,
        has_texts=has_texts,
    )
    check_pass_bounds(settings.pass_below, comparison.record_labels, settings.attacks, fpr=settings.fpr)
    by_id = {f"{part}/{text.name}": text.scores for part, items in texts.items() for text in items}
    scores = _scores([by_id[i] for i in comparison.split.audited.ids], tuple(settings.attacks))
    doubts = () if has_texts else (NO_TEXTS_DOUBT,)
    doubts += _base_doubts([n for n in settings.attacks if n not in scores.get(BASE_EPOCH, {})])
    model = AuditedModel(
        name or "scores of another tool",
        "base model",
        GIVEN_SCORES,
        {},
        (ORIGIN_DOUBT if higher_means_member else ORIGIN_DOUBT + NEGATED_DOUBT, *doubts),
    )
    most = min(settings.max_texts, max(map(len, texts.values())))
    recipe = {**settings.recipe_without_model, "max_texts": most, "higher_means_member": higher_means_member}
    results = AttackResults(settings.attacks, {}, scores, {}, {}, 0, lambda _: [])
    audit = build_audit(model, comparison, results, texts, recipe, start_time)
    if audit.ruling.word == "reversed" and higher_means_member:
        audit = dataclasses.replace(audit, doubts=(*audit.doubts, REVERSED_DOUBT))
    return audit if has_texts else dataclasses.replace(audit, ruling=_without_texts(audit.ruling))


def _base_doubts(attacks: Sequence[str]) -> tuple[str, ...]:
    """Return the warning about attacks without scores of the base model."""
    if not attacks:
        return ()
    fields = ", ".join(quoted_name(BASE_PREFIX + name) for name in attacks)
    return (
        f"without scores of the base model (fields {fields}), leakage cannot be distinguished from what the model knew before fine-tuning",
    )


def _check_records(texts: Mapping[str, Sequence[AuditedText]]) -> None:
    """Raise `DataError` for an empty part, and for records that differ in their fields of scores or in having a text."""
    for part in AUDITED:
        if not texts.get(part):
            raise DataError(f"{part} texts: the list is empty. Add records with their scores.")
    first = texts["member"][0]
    for part, items in texts.items():
        for text in items:
            different = sorted(text.scores.keys() ^ first.scores.keys())
            if different or text.has_text != first.has_text:
                missing = quoted_name(different[0]) if different else "a text"
                location = f"{part} text {quoted_name(text.name)}"
                raise DataError(f"{location}: only some records have {missing}. Add it to all of them.")
    if not first.has_text:
        _check_different_records(texts)


def _check_different_records(texts: Mapping[str, Sequence[AuditedText]]) -> None:
    """Raise `DataError` for records without texts that are in both classes: with one id, or with all scores of the other class."""
    members, nonmembers = (texts[part] for part in AUDITED)
    ids, others = ([t.name for t in texts[part] if t.scored == f"{part} {t.name}"] for part in AUDITED)
    if shared := [name for name in others if name in set(ids)]:
        raise DataError(
            f"nonmember text {quoted_name(shared[0])}: a member has the same id. Give each record its own id."
        )
    if [t.scores for t in members] == [t.scores for t in nonmembers]:
        raise DataError("nonmember texts: the same scores as those of the members. Name the records of non-members.")


def _scores(records: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[int, dict[str, Scores]]:
    """Return the scores by epoch and attack; the base model's if the records have them."""
    prefixes = {BASE_EPOCH: BASE_PREFIX, FINETUNED_EPOCH: ""}
    by_epoch = {
        epoch: {n: np.array([r[prefix + n] for r in records]) for n in names if prefix + n in records[0]}
        for epoch, prefix in prefixes.items()
    }
    return {epoch: by_name for epoch, by_name in by_epoch.items() if by_name}


def _without_texts(ruling: Ruling) -> Ruling:
    """Return the ruling that the records' texts are missing for, in place of a leak."""
    if ruling.word not in {"leaks", "reversed"}:
        return ruling
    order = " in reverse order" if ruling.word == "reversed" else ""
    sentence = (
        f"no leak shown: {ruling.attack} separates members from non-members{order}, but the texts are missing, and a difference between "
        "the texts may be the cause"
    )
    return Ruling("differs", sentence, ruling.attack)
