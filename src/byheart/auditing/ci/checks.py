"""The checks of an audit, one per bound and attack, as continuous integration shows them.

`--fail-above` fails where it is exceeded and is undecided where only the point estimate is above. `--pass-below` fails where it is not
shown, as its exit code does: a gate must not be green because there were too few texts. Without bounds nothing is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from byheart.analysis import row_values
from byheart.analysis.labels import attack_label, metric_name
from byheart.auditing.audit import Audit
from byheart.auditing.fail_bounds import Bound, crossed_bounds
from byheart.auditing.result import FINETUNED_EPOCH
from byheart.core.errors import DataError
from byheart.core.types import Estimate

Outcome = Literal["passed", "failed", "undecided", "not judged"]


class Check(NamedTuple):
    """A check: its group, what it asks, its outcome and the numbers behind it, without any text or id of a record."""

    group: str
    name: str
    outcome: Outcome
    message: str

    @property
    def rule(self) -> str:
        """The identifier of the check, the same in every run."""
        return f"{self.group}/{self.name}".replace(" ", "-")


def audit_checks(audit: Audit, limits: Sequence[Bound]) -> tuple[Check, ...]:
    """Return the checks of an audit: `limits` by attack, the bounds to pass, and attacks that did not run or have no bound."""
    checks = [check for bound in limits for check in _limit_checks(audit, bound)]
    checks += [
        Check(
            "pass-below",
            str(r.bound),
            "passed" if r.is_shown else "failed",
            f"{'shown' if r.is_shown else f'not shown: {r.reason}'}; closest attack {r.attack}, upper 95 % end "
            f"{row_values.format_number(r.high)}, power {100 * r.power:.0f} %",
        )
        for r in audit.bounds
    ]
    untested = () if audit.preregistration is None else audit.preregistration.untested
    checks += [Check("preregistration", option, "failed", "planned, and not tested") for option in untested]
    if limits and audit.preregistration is not None and audit.preregistration.deviations:
        message = f"bounds not tested as planned: {'; '.join(audit.preregistration.deviations)}"
        checks.append(Check("preregistration", "plan", "failed", message))
    if not checks:
        checks = [*_unbounded(audit)]
    return (*checks, *(Check("attack", name, "not judged", f"not run: {why}") for name, why in audit.left_out.items()))


def _limit_checks(audit: Audit, bound: Bound) -> Iterator[Check]:
    """Yield a check per attack of a bound; the rule of `crossed_bounds` decides, on the rows of one attack."""
    for row in audit.rows:
        if row.metric != bound.metric or row.epoch != FINETUNED_EPOCH:
            continue
        name = f"{bound} {attack_label(row)}"
        try:
            exceeded, undecided = crossed_bounds(replace(audit, rows=(row,)), (bound,))
        except DataError as error:
            yield Check("fail-above", name, "undecided", str(error))
            continue
        outcome: Outcome = "failed" if exceeded else "undecided" if undecided else "passed"
        value = row_values.format_estimate(Estimate(row.value, row.low, row.high))
        yield Check("fail-above", name, outcome, next(iter([*exceeded, *undecided]), f"{bound.metric} is {value}"))


def _unbounded(audit: Audit) -> Iterator[Check]:
    for row in audit.rows:
        if row.metric in {"auc", "extraction_rate"} and row.epoch == FINETUNED_EPOCH:
            value = row_values.format_estimate(Estimate(row.value, row.low, row.high))
            yield Check(
                "attack", attack_label(row), "not judged", f"{metric_name(row.metric)} {value}; no bound was set"
            )
