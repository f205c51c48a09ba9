"""Check the folder of an audit, or of an unpacked study: its files, its inputs, and the numbers that its scores give.

Of a store, the checksums of its results (`byheart.store.check_store`). Of the other folders, three checks, each independent of the others:

- every file has the SHA-256 that the manifest names, and the manifest has its own seal;
- named inputs (texts, weights) have the SHA-256 that the audit recorded;
- AUC and TPR of every attack, computed again from `scores.parquet`, are those in `rows.json`.

A seal that was noted elsewhere also shows that the manifest was not replaced. The checks do not show that the scores are those of
the named model; repeating the audit with the named inputs does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from byheart.analysis.labels import attack_label
from byheart.auditing.input_hashes import WEIGHT_PARTS, input_hashes
from byheart.auditing.result import FINETUNED_EPOCH
from byheart.auditing.saved import SavedAudit, read_audit, read_audit_manifest
from byheart.core.errors import SettingError, StoreError, UnknownNameError
from byheart.core.json_shapes import as_declared
from byheart.core.registry import choose
from byheart.store.check_store import check_store
from byheart.store.seal import MANIFEST, SEAL, changed_files, missing_manifest, read_sealed

STORE_FILE = "store.json"
STORE_WORK_FOLDERS = (".making",)
"""Folders that opening a store creates."""
RECOMPUTED_METRICS = ("auc", "tpr_at_fpr")
TOLERANCE = 1e-9


class Verification(NamedTuple):
    """What was checked, in words, and what differs; the folder is verified if nothing differs."""

    seal: str
    checked: tuple[str, ...]
    differences: tuple[str, ...]


def verify_folder(folder: Path, inputs: Mapping[str, str], *, seal: str | None = None) -> Verification:
    """Check a folder against its manifest, or a store against its checksums.

    `inputs` are paths by part ("member", "model", ...), `seal` is the seal that was noted elsewhere. Raises `StoreError` for a
    folder without a manifest, `UnknownNameError` for a part that the manifest does not name, and `SettingError` for inputs or a
    seal of a store, and for inputs of a packed study.
    """
    if not (folder / MANIFEST).is_file() and (folder / STORE_FILE).is_file():
        return _verify_store(folder, is_plain=not inputs and seal is None)
    if not (folder / MANIFEST).is_file():
        raise StoreError(
            f"{folder}: {missing_manifest(folder)}. Name a folder of byheart audit -o, the folder of an unpacked study, or a store."
        )
    try:
        manifest = read_sealed(folder / MANIFEST)
    except StoreError as error:
        return Verification("", ("manifest",), (str(error),))
    if "made" in manifest:
        read_audit_manifest(folder)
    try:
        as_declared(dict[str, str], manifest.get("files"))
    except ValueError as error:
        raise StoreError(
            f"{folder}: its {MANIFEST} names no files. Name a folder of byheart audit -o, or the folder of an unpacked study."
        ) from error
    differences = changed_files(folder, manifest["files"], ignored=() if "made" in manifest else STORE_WORK_FOLDERS)
    checked = [f"{len(manifest['files'])} files"]
    if seal is not None:
        checked.append("seal")
        seal = _parse_seal(seal)
        if seal != manifest[SEAL]:
            differences.append(f"{MANIFEST}: its seal is {manifest[SEAL][:16]}, and the noted seal is {seal[:16]}")
    recorded: Mapping[str, Mapping[str, str]] = manifest.get("made", {}).get("inputs", {})
    for part, path in inputs.items():
        differences += _input_differences(part, path, recorded)
        checked.append(f"{part} ({path})")
    if not differences and "made" in manifest:
        audit = read_audit(folder)
        numbers = list(_recomputed(audit))
        checked.append(f"{len(numbers)} numbers, computed again from the scores")
        differences += [message for message in numbers if message]
    return Verification(manifest[SEAL], tuple(checked), tuple(differences))


def _verify_store(folder: Path, *, is_plain: bool) -> Verification:
    if not is_plain:
        raise SettingError(
            f"{folder}: is a store, which has no seal and no recorded inputs. Run byheart verify without --input and --seal."
        )
    count, messages = check_store(folder)
    return Verification("", (f"checksums of {count} results and notes",), tuple(messages))


def _parse_seal(written: str) -> str:
    """Return a seal in lower case; raises `SettingError` for anything but 64 hex digits."""
    seal = written.strip().lower()
    if not re.fullmatch("[0-9a-f]{64}", seal):
        raise SettingError(
            f"--seal {written}: is not a seal of 64 hex digits. Write the whole seal that the audit printed."
        )
    return seal


def _input_differences(part: str, path: str, recorded: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    if not recorded:
        raise SettingError(f"--input {part}: the {MANIFEST} names no inputs. Run byheart verify without --input.")
    if part not in recorded:
        raise UnknownNameError("--input", part, recorded)
    found = input_hashes(*(({}, {part: path}) if part in WEIGHT_PARTS else ({part: path}, {}))).get(part, {})
    if not found:
        raise StoreError(f"--input {part}={path}: the file or folder does not exist. Name what the audit read.")
    expected = recorded[part]
    if sorted(found.values()) == sorted(expected.values()):
        return  # another name of the same content is no difference
    if len(expected) == len(found) == 1:
        yield f"{part}: {path} has another content than {next(iter(expected))}, which the audit read"
        return
    for name in dict.fromkeys((*expected, *found)):
        if found.get(name) != expected.get(name):
            state = "missing" if name not in found else "new" if name not in expected else "changed"
            yield f"{part}: {name} is {state} in {path}"


def _recomputed(audit: SavedAudit) -> Iterator[str]:
    """Yield a message for each number of an attack, "" if its scores give it again."""
    fpr = audit.provenance["settings"]["fpr"]
    for row in audit.rows:
        if row.metric not in RECOMPUTED_METRICS:
            continue
        scores = audit.scores.get(int(row.epoch or 0), {}).get(attack_label(row))
        if scores is None:
            yield f"scores.parquet: has no scores of {attack_label(row)}, and rows.json has its {row.metric}"
            continue
        metric = choose("metrics", row.metric, {"fpr": fpr} if row.metric == "tpr_at_fpr" else {})
        estimate = metric(scores, *audit.record_labels)
        pairs = ((row.value, estimate.value), (row.low, estimate.low), (row.high, estimate.high))
        if all(_is_same(a, b) for a, b in pairs):
            yield ""
        else:
            model = "fine-tuned model" if row.epoch == FINETUNED_EPOCH else "base model"
            yield f"rows.json: {row.metric} of {attack_label(row)} on the {model} is {row.value:.4f}, its scores give {estimate.value:.4f}"


def _is_same(stored: float | None, computed: float | None) -> bool:
    if stored is None or computed is None:
        return stored is computed
    return math.isclose(stored, computed, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
