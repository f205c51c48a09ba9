"""Preregistration: what an audit will do, written before a model is looked at, and whether the audit did it.

The file has the attacks with their settings, the bounds, the number of texts and hashes of their content and of their groups by
part (which also fix who is a member), the hash of the manifest of planted canaries (which has their coins), a date and a seal.
The date is this machine's clock: commit the file, or have it time-stamped, to prove it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from byheart.auditing.attack_evidence import KIND_REASONS, available_inputs, runnable_attacks
from byheart.auditing.audited_split import split_of_given_parts
from byheart.auditing.pass_bounds import check_pass_bounds
from byheart.auditing.settings import AuditSettings
from byheart.auditing.texts import AuditedText
from byheart.core.atomic_file import atomic_write
from byheart.core.errors import StoreError
from byheart.core.json_shapes import as_declared
from byheart.core.types import Table, digest
from byheart.store.seal import SEAL, read_sealed, sealed_json

KIND = "byheart preregistration"
PLANNED_SETTINGS = ("max_texts", "max_tokens", "fpr", "precision", "end_token", "tokenization")
"""Settings that affect the numbers. A server's audit has fewer, and the missing ones are not compared."""


@dataclass(frozen=True)
class Plan:
    """The fields of a plan that are compared; a plan of a former version has no groups and no canaries."""

    attacks: dict[str, Any]
    settings: dict[str, Any]
    pass_below: list[str]
    fail_above: list[str]
    texts: dict[str, int]
    data: dict[str, str]
    canaries: dict[str, str]
    groups: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class PlanFile:
    """The fields of a preregistration's file that are read."""

    at: str
    plan: Plan


class Preregistration(NamedTuple):
    """A preregistration that an audit was compared with: its seal, its date, and the deviations; () if it was followed.

    `untested` are planned bounds that the audit did not test, as options: they are neither met nor failed.
    """

    seal: str
    at: str
    deviations: tuple[str, ...]
    untested: tuple[str, ...] = ()


def preregistration_text(
    texts: Mapping[str, Sequence[AuditedText]],
    settings: AuditSettings,
    fail_above: Sequence[str],
    canaries: Mapping[str, str],
) -> str:
    """Return the sealed JSON of a plan; no model is needed. `canaries` is the hash of their manifest, which has the coins.

    Attacks that no audit of these texts can run, such as those with shadow models, are left out. Raises `DataError` if none
    can run, and for too few texts to pass a bound; chats are checked by the audit, which has a tokenizer.
    """
    text_counts, inputs = available_inputs(texts, settings.max_texts, has_base=True, method="lora")
    attacks, _ = runnable_attacks(settings.attacks, inputs, text_counts)
    if not any(t.chat for items in texts.values() for t in items):
        _, labels = split_of_given_parts(texts, None, settings.max_texts)
        check_pass_bounds(settings.pass_below, labels, attacks, fpr=settings.fpr)
    plan = {
        "attacks": {name: attack.recipe for name, attack in attacks.items()},
        "settings": {name: getattr(settings, name) for name in PLANNED_SETTINGS},
        "pass_below": [str(bound) for bound in settings.pass_below],
        "fail_above": list(fail_above),
        "canaries": dict(canaries),
        "texts": {part: len(items) for part, items in texts.items()},
        "data": {part: digest([t.content] for t in items) for part, items in texts.items()},
        "groups": group_hashes(texts),
    }
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return sealed_json({"kind": KIND, "at": at, "byheart": metadata.version("byheart"), "plan": plan})


def group_hashes(texts: Mapping[str, Sequence[AuditedText]]) -> dict[str, str]:
    """Return the hash of the texts' groups by part: groups affect intervals, and the sample of `max_texts`."""
    return {part: digest([t.group] for t in items) for part, items in texts.items()}


def write_preregistration(path: Path, text: str) -> None:
    """Write a preregistration to a new file; raises `StoreError` if the file exists or cannot be written."""
    try:
        if path.exists():
            raise StoreError(f"--preregister {path}: the file already exists. Choose a new file, or keep this plan.")
        with atomic_write(path) as temporary_path:
            temporary_path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"--preregister {path}: cannot be written ({error.strerror}). Choose another file.") from error


def read_preregistration(path: Path) -> dict[str, Any]:
    """Return a preregistration; raises `StoreError` for a file that was changed, and for another file."""
    content = read_sealed(path)
    if content.get("kind") != KIND:
        raise StoreError(
            f"--preregistered {path}: is not a preregistration. Name a file of byheart audit --preregister."
        )
    try:
        as_declared(PlanFile, content)
    except ValueError as error:
        raise StoreError(
            f"--preregistered {path}: is not as byheart wrote it ({error}). Name a file of byheart audit --preregister."
        ) from error
    return content


def compare_with_plan(
    content: Mapping[str, Any],
    provenance: Mapping[str, Any],
    left_out: Mapping[str, str],
    fail_above: Sequence[str],
    groups: Mapping[str, str],
) -> Preregistration:
    """Return whether an audit with this provenance followed a preregistration.

    `left_out` are attacks that did not run, `groups` the audit's `group_hashes`.
    """
    as_read = json.loads(json.dumps(provenance, default=str))  # tuples become lists, as in the plan's file
    plan = content["plan"]
    deviations = [*_deviations(plan, as_read, left_out, fail_above)]
    # A plan of a former version has no groups. Other texts have other groups, and are named already.
    same_texts = [part for part, planned in plan["data"].items() if provenance["data"].get(part) == planned]
    changed = [part for part in same_texts if plan.get("groups", groups).get(part) != groups.get(part)]
    deviations += [f"the groups of the {part} texts are not those of the plan" for part in changed]
    tested = {"pass_below": as_read["settings"].get("pass_below", []), "fail_above": [*fail_above]}
    untested = [
        f"--{name.replace('_', '-')} {bound}"
        for name, used in tested.items()
        for bound in plan[name]
        if bound not in used
    ]
    return Preregistration(content[SEAL], content["at"], tuple(deviations), tuple(untested))


def _deviations(
    plan: Mapping[str, Any], provenance: Mapping[str, Any], left_out: Mapping[str, str], fail_above: Sequence[str]
) -> Iterator[str]:
    settings: Mapping[str, Any] = provenance["settings"]
    attacks: Mapping[str, Any] = settings["attacks"]
    yield from (f"attack {n} was added" for n in attacks if n not in plan["attacks"] and n not in left_out)
    yield from (f"attack {n} was left out" for n in plan["attacks"] if n not in attacks)
    # A plan names no model, so it cannot know which attacks the kind of the model excludes.
    not_run = [n for n in plan["attacks"] if n in attacks and left_out.get(n, "") not in {"", *KIND_REASONS}]
    yield from (f"attack {n} did not run: {left_out[n]}" for n in not_run)
    yield from (f"attack {n} has other settings" for n, a in attacks.items() if plan["attacks"].get(n, a) != a)
    for name, planned in plan["settings"].items():
        if name in settings and settings[name] != planned:
            yield f"{name} is {settings[name]}, and the plan has {planned}"
    for name, used in (("pass_below", settings.get("pass_below", [])), ("fail_above", fail_above)):
        if sorted(used) != sorted(plan[name]):
            yield f"{name} is {', '.join(used) or 'not set'}, and the plan has {', '.join(plan[name]) or 'none'}"
    if sorted(provenance["inputs"].get("canaries", {}).values()) != sorted(plan["canaries"].values()):
        yield "the manifest of canaries, with their coins, is not that of the plan"
    data: Mapping[str, str] = provenance["data"]
    for part in dict.fromkeys((*plan["data"], *data)):
        if data.get(part) != plan["data"].get(part):
            yield f"the {part} texts are not those of the plan"


def preregistration_table(preregistration: Preregistration) -> Table:
    """Return a table of one line: seal, date, and whether the plan was followed."""
    result = "followed" if not preregistration.deviations else f"not followed: {'; '.join(preregistration.deviations)}"
    if preregistration.untested:
        result += f"; planned bounds that were not tested, so they are undecided: {', '.join(preregistration.untested)}"
    line = (preregistration.seal[:16], preregistration.at, result)
    note = "The date is the clock of the machine that wrote the plan. Compare the seal with the one that was published."
    return Table("Preregistration", ("seal", "dated", "result"), (line,), note)
