"""The command `byheart check`: whether a split is comparable, and how many texts a bound to pass takes."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byheart.cli.options import DEFAULT_STORE, JsonOutput, Overrides, StoreFolder, check_fpr
from byheart.cli.text_options import check_different_sources, shape_field_names
from byheart.core.errors import SettingError
from byheart.core.split_check import Gate

if TYPE_CHECKING:
    from byheart.auditing.settings import AuditSettings

DEFAULT_FPR = 0.01
_BOUND_HELP = (
    "Also show how many texts this bound of byheart audit --pass-below takes; this requires neither a study nor files."
)


def check(  # noqa: PLR0913 - options of a command
    study: Annotated[Path | None, typer.Argument(metavar="[STUDY.yaml]", help="The study file.")] = None,
    *,
    members: Annotated[Path | None, typer.Option(metavar="FILE", help="Training texts, instead of a study.")] = None,
    nonmembers: Annotated[Path | None, typer.Option(metavar="FILE", help="Texts that were not trained on.")] = None,
    group: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Field with a record's group in these files.")
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Names of other fields in these files, as in byheart audit: text=input."),
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    overrides: Overrides = None,
    pass_below: Annotated[list[str] | None, typer.Option(metavar="METRIC=VALUE", help=_BOUND_HELP)] = None,
    attacks: Annotated[str, typer.Option(metavar="NAMES", help="Attacks of the audit, for --pass-below.")] = "default",
    fpr: Annotated[float, typer.Option(help="False positive rate of the audit, for --pass-below.")] = DEFAULT_FPR,
    json: JsonOutput = False,
) -> None:
    """Check without a model whether members and non-members are comparable: sound, doubtful, or broken (exit 1)."""
    from byheart.study.check import gates_json, gates_text, requested_gates

    for option, has_default in (("--attacks", attacks == "default"), ("--fpr", fpr == DEFAULT_FPR)):
        if not pass_below and not has_default:
            raise SettingError(f"{option}: this option requires --pass-below. Add it, such as --pass-below auc=0.55.")
    settings = _audit_settings(pass_below, attacks, fpr) if pass_below else None
    check_different_sources(members, nonmembers)
    gates: dict[str, Gate] = {}
    if settings is None or any(option is not None for option in (study, members, nonmembers)) or group or fields:
        gates = requested_gates(
            study,
            members,
            nonmembers,
            group=group,
            fields=shape_field_names(fields),
            store=store,
            overrides=overrides or [],
        )
    content: dict[str, Any] = json_module.loads(gates_json(gates)) if gates else {}
    lines = [gates_text(gates)] if gates else []
    if settings is not None:
        plans, tables = _pass_plans(settings, gates)
        content["pass_below"] = plans
        lines += tables
    typer.echo(json_module.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) if json else "\n".join(lines))
    raise typer.Exit(1 if any(g.verdict == "broken" for g in gates.values()) else 0)


def _audit_settings(pass_below: list[str], attacks: str, fpr: float) -> AuditSettings:
    from byheart.auditing.pass_bounds import count_membership_attacks
    from byheart.auditing.settings import AuditSettings

    check_fpr(fpr)
    names = attacks if attacks in {"default", "all"} else [name.strip() for name in attacks.split(",")]
    settings = AuditSettings(attacks=names, fpr=fpr, pass_below=pass_below)
    count_membership_attacks(settings.attacks)
    return settings


def _pass_plans(settings: AuditSettings, gates: Mapping[str, Gate]) -> tuple[list[dict[str, Any]], Sequence[str]]:
    """Return the texts that bounds take for each split, or without a split, for programs and as tables."""
    from byheart.analysis.formats import as_text
    from byheart.auditing.pass_plan import pass_plan, pass_plan_table

    counts = {name: (gate.members, gate.nonmembers) for name, gate in gates.items()} or {"": (None, None)}
    plans = [{"dataset": name, "bounds": pass_plan(settings, *n)} for name, n in counts.items()]
    return plans, [as_text(pass_plan_table(settings, *n)) for n in counts.values()]
