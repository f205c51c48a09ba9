"""`byheart plan`: the remaining work of a study, its tasks, and the hours that workers take."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from byheart.cli.options import DEFAULT_STORE, JsonOutput, Overrides, StoreFolder, StudyFile


def plan(
    study: StudyFile,
    *,
    store: StoreFolder = DEFAULT_STORE,
    overrides: Overrides = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of workers, to estimate their hours.")] = None,
    tflops: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1_000_000,
            help="Speed that a worker's device reaches, in 10^12 operations per second. Default: this processor's.",
        ),
    ] = None,
    json: JsonOutput = False,
) -> None:
    """Show what a run would train and observe, which results are cached, and the estimated time."""
    from byheart.analysis.formats import as_text
    from byheart.store.store import Store
    from byheart.study.estimate import estimates_of, measured_flops_per_second, plan_table
    from byheart.study.learning_rate_search import with_pending_trials
    from byheart.study.plan import plan as plan_cells
    from byheart.study.plan_schedule import schedule, schedule_table
    from byheart.study.study_file import read_study
    from byheart.study.tasks import tasks_of

    changes = [*(overrides or []), *([] if workers is None else [f"machine.workers={workers}"])]
    parsed, opened = read_study(study, changes), Store.open(store)
    planned = with_pending_trials(plan_cells(parsed, opened), opened)
    speed = measured_flops_per_second()
    cells = estimates_of(planned, opened, parsed.machine, speed)
    found = schedule(tasks_of(planned, opened), opened, parsed.machine, speed if tflops is None else tflops * 1e12)
    if json:
        minutes = round(sum(c.minutes or 0 for c in cells), 1)
        content = {"cells": [c._asdict() for c in cells], "minutes": minutes, "schedule": found._asdict()}
        typer.echo(json_module.dumps(content, indent=1))
        return
    typer.echo(as_text(plan_table(parsed.name, cells)))
    if found.tasks and (parsed.machine.workers > 1 or tflops is not None):
        typer.echo(as_text(schedule_table(found, parsed.machine)))
