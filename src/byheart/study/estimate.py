"""What a study would take: what is left to train and observe, about how long it takes, and whether its bases will do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from byheart.analysis.row_values import format_count
from byheart.core.config import Machine
from byheart.core.errors import SettingError
from byheart.core.types import Table
from byheart.lm.base_models import parameter_count
from byheart.lm.load import causal_config, check_chat_template, torch_device
from byheart.stats.dp_accounting import missing_package, privacy_settings
from byheart.store.store import Store
from byheart.study.plan import plan, remaining_work_by_cell
from byheart.study.planned_cell import PlannedCell
from byheart.study.remaining_work import remaining_steps
from byheart.study.study_file import Study

MATMUL_EFFICIENCY = 0.7
"""The share of a processor's matrix product that training and scoring reach, seen on two cores in bfloat16."""


BENCHMARK_SECONDS = 0.1
"""Seconds that a plan spends on finding out how fast the processor is."""


ALWAYS_AVAILABLE_DEVICES = frozenset({"auto", "cpu"})
"""Devices that every machine has, so that torch, which takes seconds to load, is not asked."""


def check_device_and_bases(machine: Machine, planned: Sequence[PlannedCell], left: Sequence[float]) -> None:
    """Refuse here, for all cells, what would end each that anything is left of: a device that this machine lacks, a base.

    The config of every base that is still to be loaded is read: one that is not causal is refused, and one that cannot
    write chats, where texts are chats.
    """
    wanted = [p for p, effort in zip(planned, left, strict=True) if effort]
    if wanted and machine.device not in ALWAYS_AVAILABLE_DEVICES:
        torch_device(machine.device)
    for base in dict.fromkeys(p.cell.base for p in wanted):
        causal_config(base)
    for base in dict.fromkeys(p.cell.base for p in wanted if p.has_chats):
        check_chat_template(base)


def check_method_packages(planned: Sequence[PlannedCell], left: Sequence[float]) -> None:
    """Raise `SettingError` for a method of which anything is left to make, and of which a package is not installed."""
    for one, effort in zip(planned, left, strict=True):
        if effort and (lack := missing_package(one.cell.method)):
            raise SettingError(f"methods {one.cell.method.name}: {lack}")


class CellEstimate(NamedTuple):
    """What is left to do for a cell; `minutes` is None where the model's size is not known before it is fetched.

    `shadow_epochs` are those of its shadow models together, whose observations are counted too. `epsilon` is what private
    training will have spent at its end, None where it is not private or opacus, which reckons it, is not installed.
    `lacks` says what must be installed before the cell can be made.
    """

    cell: str
    training_texts: int
    epochs_to_train: int
    observations_to_make: int
    minutes: float | None
    shadow_epochs: int = 0
    epsilon: float | None = None
    private: bool = False
    lacks: str = ""


def cell_estimates(study: Study, store: Store) -> list[CellEstimate]:
    """Return what would be made for each cell, and about how long it takes on this processor.

    The estimate multiplies two matrices to see how fast the processor is; it does not know of a GPU. What cells share
    is counted for the first that needs it.
    """
    planned = plan(study, store)
    efforts = remaining_work_by_cell(planned, store)
    check_device_and_bases(study.machine, planned, efforts)
    speed = _flops_per_second()
    known: set[str] = set()
    found: list[CellEstimate] = []
    for one, effort in zip(planned, efforts, strict=True):
        size = parameter_count(one.cell.base)
        minutes = effort * 2 * size / (MATMUL_EFFICIENCY * speed) / 60 if size else None
        (_, epochs, made), *shadows = remaining_steps(one, store, known)
        observations = len(made) + sum(len(o) for _, _, o in shadows)
        theirs = sum(e for _, e, _ in shadows)
        texts, lacks = len(one.texts["train"]), missing_package(one.cell.method)
        spent = None if lacks or one.spending is None else one.spending.epsilon(one.cell.training.epochs)
        private = privacy_settings(one.cell.method) is not None
        told = (one.cell.label, texts, epochs, observations, minutes, theirs, spent, private)
        found.append(CellEstimate(*told, lacks=lacks if effort else ""))
    return found


def plan_table(name: str, cells: Sequence[CellEstimate]) -> Table:
    """Return what is left to do as a table."""
    total = sum(c.minutes or 0.0 for c in cells)
    public = not any(c.private for c in cells)
    lines = tuple(
        (
            c.cell,
            str(c.training_texts),
            _training(c),
            str(c.observations_to_make),
            "not known" if c.minutes is None else f"{c.minutes:.1f}",
            *([] if public else [_epsilon(c)]),
        )
        for c in cells
    )
    header = ("cell", "texts", "training", "observations to make", "minutes, about")
    header += () if public else ("epsilon spent",)
    minutes = f"about {format_count(round(total), 'minute')}" if total >= 1 else "less than a minute"
    told = (
        f"In all {minutes} on this processor as busy as it is now. Observations are passes over texts and what models write, "
        "each kept; the untuned model's are made with the first cell, and shared."
    )
    if not any(c.minutes is None or c.minutes for c in cells):
        told = "All is in the store."
    for lack in dict.fromkeys(c.lacks for c in cells if c.lacks):
        told += f" Before byheart run: {lack}."
    return Table(f"{name}: {format_count(len(cells), 'cell')}", header, lines, told)


def _epsilon(cell: CellEstimate) -> str:
    if not cell.private:
        return "no bound"
    return "not known" if cell.epsilon is None else f"{cell.epsilon:.2f}"


def _training(cell: CellEstimate) -> str:
    own = [format_count(cell.epochs_to_train, "epoch")] if cell.epochs_to_train else []
    theirs = [f"{format_count(cell.shadow_epochs, 'epoch')} of shadows"] if cell.shadow_epochs else []
    return ", ".join((*own, *theirs)) or "in the store"


def _flops_per_second() -> float:
    """Return floating-point operations a second of a float32 matrix product, measured for a tenth of a second."""
    import numpy as np

    matrix = np.ones((1024, 1024), dtype=np.float32)
    np.matmul(matrix, matrix)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < BENCHMARK_SECONDS:
        np.matmul(matrix, matrix)
        done += 1
    return done * 2 * 1024**3 / (time.perf_counter() - began)
