"""What an audit measured, by attack class: one line per number of an attack or bound, and one per reason without a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from byheart.analysis import row_values
from byheart.analysis.labels import attack_label, metric_name
from byheart.auditing.annex.contexts import Context, counts
from byheart.auditing.canaries.table import METRICS as CANARY_METRICS
from byheart.auditing.result import FINETUNED_EPOCH, GIVEN_SCORES
from byheart.auditing.verdict import ROUNDS_TO_ONE, smallest_detectable_auc
from byheart.core.adversary import default_adversary_label
from byheart.core.attack_output import is_extraction_attack
from byheart.core.defaults import EXTRACTION_METRICS
from byheart.core.errors import RequestError
from byheart.core.registry import choose, entry_names
from byheart.core.row import adversary_label
from byheart.core.types import Estimate, Row
from byheart.stats.leakage_tests import CHANCE_AUC, RecordLabels

MEMBERSHIP, EXTRACTION, CANARIES, ATTRIBUTES, INVERSION = (
    "membership",
    "extraction",
    "canaries",
    "attributes",
    "inversion",
)
CLASS_LABELS: Mapping[str, str] = {
    MEMBERSHIP: "membership inference",
    EXTRACTION: "extraction (regurgitation)",
    CANARIES: "planted canaries",
    ATTRIBUTES: "inference of private attributes",
    INVERSION: "model inversion and reconstruction",
}
"""Attack classes in the order of the annex."""

_CLASS_OPTIONS: Mapping[str, str] = {
    MEMBERSHIP: "--attacks default",
    EXTRACTION: "--attacks discoverable,approximate",
    CANARIES: "--canaries MANIFEST",
    ATTRIBUTES: "byheart run",
    INVERSION: "another tool",
}
"""What runs a class that was not run."""
_MODEL_OPTION = "audit the model"
"""What runs a class of attacks that an audit of scores cannot run."""

_CLASS_REASONS: Mapping[str, str] = {
    CANARIES: "plant canaries before the training with byheart canaries plant, and audit the model with --canaries MANIFEST",
    ATTRIBUTES: "only a study measures it: byheart run, with a data set that names private attributes",
    INVERSION: "byheart has no attack of this class; use another tool",
}
"""Why a class without selectable attacks has no number, and what to do."""


class AuditFacts(NamedTuple):
    """An audit as the annex reads it, in memory or from its folder: rows, `as_dict` or manifest, labels of the texts."""

    rows: Sequence[Row]
    manifest: Mapping[str, Any]
    record_labels: RecordLabels

    @property
    def selected(self) -> tuple[str, ...]:
        """Names of the attacks that were selected, with their settings."""
        return tuple(self.manifest["made"]["settings"]["attacks"])

    @property
    def is_of_scores(self) -> bool:
        """Whether another tool ran the attacks, so that this audit could run none."""
        return self.manifest["made"]["method"] == GIVEN_SCORES

    @property
    def left_out(self) -> Mapping[str, str]:
        """The selected attacks that did not run, and why."""
        return self.manifest["not_run"]


class Line(NamedTuple):
    """A number of a test, or the reason without one (`estimate` is None).

    `attack_class` is a key of `CLASS_LABELS`. `is_counted` is whether the adversary counts in the context.
    """

    attack_class: str
    test: str
    adversary: str = ""
    is_counted: bool = True
    metric: str = ""
    estimate: Estimate | None = None
    power: str = ""
    reason: str = ""


def evidence_lines(facts: AuditFacts, context: Context) -> tuple[Line, ...]:
    """Return the lines of all attack classes in the order of `CLASS_LABELS`."""
    lines: list[Line] = []
    for attack_class in CLASS_LABELS:
        own = [*_measured(facts, attack_class, context)]
        own += _bounds(facts) if attack_class == MEMBERSHIP else ()
        own += _not_run(facts, attack_class, context, has_numbers=bool(own))
        lines += own
    return tuple(lines)


def _measured(facts: AuditFacts, attack_class: str, context: Context) -> Iterator[Line]:
    """Yield a line per number of the fine-tuned model, in the order of the attacks."""
    power = _membership_power(facts) if attack_class == MEMBERSHIP else ""
    for row in facts.rows:
        if row.epoch != FINETUNED_EPOCH or _row_class(row) != attack_class or "estimate=" in row.metric_settings:
            continue
        adversary = adversary_label(row) if row.attack else ""
        yield Line(
            attack_class,
            attack_label(row) if row.attack else "canaries of the manifest",
            adversary,
            counts(adversary, context),
            _metric_text(row),
            Estimate(row.value, row.low, row.high, row.members, row.nonmembers),
            power if row.metric == "auc" else "",
        )


def _row_class(row: Row) -> str:
    if row.metric in CANARY_METRICS:
        return CANARIES
    if not row.attack:
        return ""
    return EXTRACTION if row.metric in EXTRACTION_METRICS else MEMBERSHIP


def _metric_text(row: Row) -> str:
    """Return a metric's name with what its settings mean: "TPR at 1 % FPR", "Exposure, trained on 4 times"."""
    settings = row_values.parse_settings(row.metric_settings)
    name = metric_name(row.metric)
    if row.metric in {"tpr_at_fpr", "canary_tpr"}:
        name = f"TPR at {100 * float(settings.get('fpr', '0.01')):g} % FPR"
    if row.metric == "epsilon_lower_bound":
        return "epsilon, at least (95 % confidence)"
    if row.metric in {"exposure", "canary_tpr"}:
        return f"{name}, trained on {row_values.format_times(int(settings.get('repeated', '1')))}"
    return name


def _membership_power(facts: AuditFacts) -> str:
    membership = facts.record_labels.membership
    if membership.all() or not membership.any():
        return ""
    attacks = len({attack_label(r) for r in facts.rows if r.metric == "auc" and r.epoch == FINETUNED_EPOCH})
    smallest = smallest_detectable_auc(facts.record_labels, max(1, attacks))
    return "no AUC is detectable" if smallest >= ROUNDS_TO_ONE else f"80 % for an AUC of {smallest:.2f}"


def _bounds(facts: AuditFacts) -> Iterator[Line]:
    """Yield a line per bound of `--pass-below`: the upper end of the closest attack, and the power at chance."""
    for bound in facts.manifest["bounds"]:
        result = f"shown (closest: {bound['attack']})" if bound["is_shown"] else f"not shown: {bound['reason']}"
        yield Line(
            MEMBERSHIP,
            f"bound {bound['bound']}: {result}",
            metric="upper 95 % end",
            estimate=Estimate(bound["high"]),
            power=f"{100 * bound['power']:.0f} % at chance",
        )


def _not_run(facts: AuditFacts, attack_class: str, context: Context, *, has_numbers: bool) -> Iterator[Line]:
    """Yield a line per reason why attacks of a class have no number."""
    measured = {attack_label(r) for r in facts.rows if r.attack}
    for name in facts.selected:
        if _attack_class(name) == attack_class and name not in measured and name not in facts.left_out:
            yield Line(attack_class, name, reason="no rate is defined without non-members; add --nonmembers")
    for name, reason in facts.left_out.items():
        if _attack_class(name) == attack_class:
            yield Line(attack_class, name, default_adversary_label(_shelf_name(name)), reason=reason)
    selected = {_shelf_name(name) for name in facts.selected}
    others = [n for n in entry_names("attacks") if n not in selected and _attack_class(n) == attack_class]
    if counted := [n for n in others if counts(default_adversary_label(n), context)]:
        reason = (
            "the records have no such score; add it, or audit the model"
            if facts.is_of_scores
            else "not selected; add --attacks all"
        )
        yield Line(attack_class, ", ".join(counted), reason=reason)
    if not has_numbers and attack_class in _CLASS_REASONS:
        yield Line(attack_class, "", reason=_CLASS_REASONS[attack_class])


def _shelf_name(label: str) -> str:
    return label.partition("(")[0]


def _attack_class(label: str) -> str:
    try:
        return EXTRACTION if is_extraction_attack(choose("attacks", _shelf_name(label))) else MEMBERSHIP
    except RequestError:  # an attack of a package that is not installed here
        return MEMBERSHIP


def class_summary(lines: Sequence[Line], attack_class: str, *, is_of_scores: bool = False) -> str:
    """Return what was measured of a class in this context: "5 attacks, AUC up to 0.61 (loss)", or "not run" with what runs it."""
    own = [x for x in lines if x.attack_class == attack_class and x.estimate is not None]
    option = _CLASS_OPTIONS[attack_class]
    if is_of_scores and option.startswith("--"):
        option = _MODEL_OPTION
    if not own:
        return f"not run ({option})"
    counted = [x for x in own if x.is_counted and x.adversary]
    bounds = [x.test for x in own if not x.adversary and attack_class == MEMBERSHIP]
    if attack_class == CANARIES:
        return "measured"
    if not counted:
        return "; ".join([f"not run by an adversary of this context ({option})", *bounds])
    count = row_values.format_count(len({x.test for x in counted}), "attack")
    values = [_strongest_value(x) for x in counted if x.metric == counted[0].metric]
    highest, test = max(values, key=lambda pair: pair[0])
    return "; ".join([f"{count}, {counted[0].metric} up to {row_values.format_number(highest)} ({test})", *bounds])


def _strongest_value(line: Line) -> tuple[float, str]:
    """Return a line's value and test; of an AUC below 0.5 those of the reversed score, which an adversary uses as well."""
    value = line.estimate.value if line.estimate else 0.0
    if line.metric == metric_name("auc") and value < CHANCE_AUC:
        return 1 - value, f"{line.test}, reversed"
    return value, line.test
