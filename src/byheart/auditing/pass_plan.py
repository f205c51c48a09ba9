"""How many texts a bound of `--pass-below` takes, before anything is run."""

from __future__ import annotations

from typing import Any

from byheart.auditing.pass_bounds import count_membership_attacks, pass_power, required_texts
from byheart.auditing.settings import AuditSettings
from byheart.core.types import Table

TITLE = "Texts that a bound takes"


def pass_plan(settings: AuditSettings, members: int | None, nonmembers: int | None) -> list[dict[str, Any]]:
    """Return per bound the texts per class for a power of 80 % at chance (None: above 10 million), and the power of these.

    The power is None without numbers of texts. All texts are taken as independent.
    """
    attacks = count_membership_attacks(settings.attacks)
    plan: list[dict[str, Any]] = []
    for bound in settings.pass_below:
        power = None
        if members and nonmembers:
            power = pass_power(bound, members, nonmembers, fpr=settings.fpr, attacks=attacks)
        texts = required_texts(bound, fpr=settings.fpr, attacks=attacks)
        plan.append({"bound": str(bound), "attacks": attacks, "texts_per_class": texts, "power": power})
    return plan


def pass_plan_table(settings: AuditSettings, members: int | None, nonmembers: int | None) -> Table:
    """Return the plan of the bounds as a table."""
    lines = tuple(
        (
            plan["bound"],
            str(plan["attacks"]),
            "above 10 million" if plan["texts_per_class"] is None else f"{plan['texts_per_class']:,}",
            *([] if plan["power"] is None else [f"{100 * plan['power']:.0f} %"]),
        )
        for plan in pass_plan(settings, members, nonmembers)
    )
    here = [f"power with {members} and {nonmembers}"] if members and nonmembers else []
    note = (
        "Independent texts of each class with which a model at chance passes with 80 %; texts that share a group count less. A model "
        "that leaks, but less than the bound, takes more."
    )
    return Table(TITLE, ("bound", "attacks", "texts per class", *here), lines, note)
