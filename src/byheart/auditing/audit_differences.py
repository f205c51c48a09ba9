"""Compare two audits of the same texts: two fine-tunes, before and after a defense, an adapter and its merged or GGUF export.

Each attack that ran in both audits is compared on the same texts in pairs: the difference of the two AUCs with DeLong's variance,
clustered by group (`byheart.stats.roc_auc.auc_difference`). A difference is shown if its p-value, corrected over the attacks
(Holm), is at most 5 %. The intervals are plain 95 % intervals. A difference that is not shown is no evidence of equality: the
interval says how large it may be.

Audits of different texts are refused by the hashes of their data, and by the ids, members and groups of their scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from byheart.analysis import row_values
from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.auditing.saved import SavedAudit, read_audit, read_audit_manifest
from byheart.core.errors import DataError, StoreError
from byheart.core.types import Estimate, Scores, Table
from byheart.stats.intervals import holm_by_name
from byheart.stats.leakage_tests import ALPHA, MIN_GROUPS_FOR_VERDICT
from byheart.stats.rank_correlation import rank_correlation
from byheart.stats.roc_auc import AucDifference, auc_difference, auc_interval
from byheart.store.seal import changed_files

SETTINGS_THAT_MATTER = ("max_tokens", "precision", "end_token", "tokenization")
COMPARED_PARTS = ("member", "nonmember")
EQUAL_ORDER_TOLERANCE = 1e-12


class AttackDifference(NamedTuple):
    """One attack in both audits: the AUCs, the second minus the first, its corrected p-value, and whether it is shown.

    `rank_correlation` is Spearman's correlation of the two models' scores; 1 for scores in the same order. `is_identical`: every text
    has the same score in both audits.
    """

    attack: str
    first: Estimate
    second: Estimate
    difference: AucDifference
    p_value: float
    rank_correlation: float
    is_identical: bool

    @property
    def is_shown(self) -> bool:
        """Whether the AUCs are shown to differ."""
        return self.p_value <= ALPHA

    @property
    def has_equal_order(self) -> bool:
        """Whether the scores of both models have the same order."""
        return self.difference.value == 0 and self.rank_correlation > 1 - EQUAL_ORDER_TOLERANCE


class AuditDifferences(NamedTuple):
    """Two audits compared: names, attacks with the largest difference first, reasons for the others, and warnings."""

    names: tuple[str, str]
    attacks: tuple[AttackDifference, ...]
    left_out: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        shown = [a for a in self.attacks if a.is_shown]
        if all(a.is_identical for a in self.attacks):
            return "no difference: every attack has identical scores in both audits"
        if not shown and all(a.has_equal_order for a in self.attacks):
            return "no difference shown: every attack ranks the texts in the same order in both audits"
        if not shown:
            widest = max(self.attacks, key=lambda a: a.difference.high - a.difference.low)
            _, low, high, _ = widest.difference
            return f"no difference shown: the AUC of {widest.attack} changes by {low:+.2f} to {high:+.2f} (the widest 95 % interval)"
        parts = [
            f"{a.attack} {'rises' if a.difference.value > 0 else 'falls'} from AUC {a.first.value:.2f} to {a.second.value:.2f}"
            for a in shown
        ]
        return f"difference shown: {'; '.join(parts)}"


def compare_folders(first: Path, second: Path) -> AuditDifferences:
    """Return the comparison of two audits' folders.

    Raises `StoreError` for a folder that is not an audit's, or whose files were changed, `DataError` as `compare_audits` does.
    """
    for folder in (first, second):
        if changes := changed_files(folder, read_audit_manifest(folder)["files"]):
            raise StoreError(f"{folder}: {changes[0]}. Get the original folder; byheart verify lists all differences.")
    return compare_audits(read_audit(first), read_audit(second))


def compare_audits(first: SavedAudit, second: SavedAudit) -> AuditDifferences:
    """Return the comparison of two audits on the same texts, the second minus the first.

    Raises `DataError` for different texts, for audits without non-members, for too few texts, and without a common attack.
    """
    _check_same_texts(first, second)
    labels = first.record_labels
    now, later = first.scores[FINETUNED_EPOCH], second.scores[FINETUNED_EPOCH]
    left_out = dict(_incomparable_attacks(first, second))
    common = [name for name in now if name in later and name not in left_out]
    if not common:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise DataError(f"{first.folder} and {second.folder}: no attack ran in both ({reasons}). Run the same attacks.")
    differences = {name: auc_difference(later[name], now[name], *labels) for name in common}
    p_values = holm_by_name({name: d.p_value for name, d in differences.items()})
    attacks = [
        AttackDifference(
            name,
            _auc(now[name], first),
            _auc(later[name], second),
            differences[name],
            p_values[name],
            _rank_correlation(now[name], later[name]),
            np.array_equal(now[name], later[name]),
        )
        for name in common
    ]
    names = (str(first.provenance["model"]), str(second.provenance["model"]))
    ordered = sorted(attacks, key=lambda a: -abs(a.difference.value))
    return AuditDifferences(names, tuple(ordered), left_out, tuple(_warnings(first, second)))


def _check_same_texts(first: SavedAudit, second: SavedAudit) -> None:
    where = f"{first.folder} and {second.folder}"
    for part in COMPARED_PARTS:
        hashes = [audit.provenance["data"].get(part) for audit in (first, second)]
        if None in hashes and part == "nonmember":
            raise DataError(f"{where}: an audit without non-members has no AUC. Audit both with --nonmembers.")
        if hashes[0] != hashes[1]:
            raise DataError(
                f"{where}: the {part} texts differ (hashes {str(hashes[0])[:16]} and {str(hashes[1])[:16]}). Audit both models on the "
                "same files."
            )
    if first.ids != second.ids or first.record_labels.groups != second.record_labels.groups:
        raise DataError(
            f"{where}: the audited samples of the same files differ. Audit both with the same --max-texts, --id and --group."
        )
    if not np.array_equal(first.record_labels.membership, second.record_labels.membership):
        raise DataError(f"{where}: the audited members differ. Audit both models on the same files.")
    if not first.record_labels.has_enough_groups:
        raise DataError(
            f"{where}: fewer than {MIN_GROUPS_FOR_VERDICT} independent texts per class are too few to compare. Audit more texts."
        )


def _incomparable_attacks(first: SavedAudit, second: SavedAudit) -> Iterator[tuple[str, str]]:
    recipes: list[Mapping[str, Any]] = [audit.provenance["settings"]["attacks"] for audit in (first, second)]
    extracting = {row.attack for audit in (first, second) for row in audit.rows if row.metric.startswith("extraction")}
    ran = [audit.scores[FINETUNED_EPOCH] for audit in (first, second)]
    for name in dict.fromkeys((*ran[0], *ran[1])):
        if name in extracting:
            yield name, "measures extraction, not membership"
        elif name not in ran[0] or name not in ran[1]:
            yield name, f"ran only in {(first if name in ran[0] else second).folder}"
        elif recipes[0].get(name) != recipes[1].get(name):
            yield name, "ran with different settings"


def _warnings(first: SavedAudit, second: SavedAudit) -> Iterator[str]:
    settings = [audit.provenance["settings"] for audit in (first, second)]
    for name in SETTINGS_THAT_MATTER:
        values = [s.get(name) for s in settings]
        if values[0] != values[1] and None not in values:
            yield f"{name} is {values[0]} in the first audit and {values[1]} in the second"
    later = second.scores[FINETUNED_EPOCH]
    common = {n: (s, later[n]) for n, s in first.scores[FINETUNED_EPOCH].items() if n in later}
    reversed_names = [n for n, (s, other) in common.items() if np.allclose(s, -other) and not np.allclose(s, other)]
    if reversed_names:
        yield (
            f"the scores of {', '.join(reversed_names)} are negated in one of the audits: if a lower score means membership in one file, "
            "audit this file with --lower-is-member"
        )
    base_scores = [audit.scores[BASE_EPOCH] for audit in (first, second)]
    if not reversed_names and any(
        not np.allclose(s, base_scores[1][n]) for n, s in base_scores[0].items() if n in base_scores[1]
    ):
        yield "the base models' scores differ, so the two models were fine-tuned from, or scored with, different base models"
    for audit in (first, second):
        if audit.manifest.get("gate") == "broken":
            yield f"{audit.folder}: the split is broken, so its AUCs cannot be read as leakage"


def _auc(scores: Scores, audit: SavedAudit) -> Estimate:
    value, (low, high) = auc_interval(scores, *audit.record_labels)
    return Estimate(value, low, high)


def _rank_correlation(first: Scores, second: Scores) -> float:
    """Return Spearman's correlation; without one, 1 if all scores of both models are equal, else 0."""
    correlation = rank_correlation(first, second)
    return float(np.ptp(first) == np.ptp(second) == 0) if correlation is None else correlation


def differences_table(differences: AuditDifferences) -> Table:
    """Return a line per attack: both AUCs, the difference, its p-value, and whether it is shown."""
    lines = tuple(
        (
            a.attack,
            row_values.format_estimate(a.first),
            row_values.format_estimate(a.second),
            "identical scores" if a.is_identical else row_values.format_estimate(Estimate(*a.difference[:3])),
            f"{a.p_value:.3f}",
            "shown" if a.is_shown else "not shown",
            f"{a.rank_correlation:.3f}",
        )
        for a in differences.attacks
    )
    header = ("attack", "AUC, first", "AUC, second", "second minus first", "p (Holm)", "difference", "rank correlation")
    note = "DeLong's paired test on the same texts; a group counts as one text. Only the p-values are corrected for the number of attacks."
    note += "".join(f" Not compared: {name} ({reason})." for name, reason in differences.left_out.items())
    return Table(f"{differences.names[0]} and {differences.names[1]}", header, lines, note)


def differences_json(differences: AuditDifferences) -> dict[str, Any]:
    """Return the comparison as plain values, for programs."""
    attacks: Sequence[dict[str, Any]] = [
        {
            "attack": a.attack,
            "first": a.first._asdict(),
            "second": a.second._asdict(),
            "difference": a.difference._asdict(),
            "p_value": a.p_value,
            "is_shown": a.is_shown,
            "rank_correlation": a.rank_correlation,
        }
        for a in differences.attacks
    ]
    return {
        "sentence": differences.sentence,
        "names": list(differences.names),
        "attacks": list(attacks),
        "left_out": dict(differences.left_out),
        "warnings": list(differences.warnings),
    }
