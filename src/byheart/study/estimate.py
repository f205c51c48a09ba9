"""Estimate the remaining work of a study: training, observations, minutes, and whether its base models can be loaded."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from typing import NamedTuple

from byheart.analysis.row_values import format_count
from byheart.core.config import Machine
from byheart.core.errors import SettingError
from byheart.core.registry import module_constant
from byheart.core.types import Table
from byheart.lm.base_models import parameter_count
from byheart.lm.devices import torch_device
from byheart.lm.load import causal_config, check_chat_template
from byheart.lm.multimodal import check_trainable
from byheart.stats.dp_accounting import missing_package, privacy_settings
from byheart.store.store import Store
from byheart.study.base_formats import check_bitsandbytes
from byheart.study.learning_rate_search import with_pending_trials
from byheart.study.memory_estimate import WorkerMemory, check_fits, worker_memory
from byheart.study.plan import plan
from byheart.study.planned_cell import PlannedCell
from byheart.study.reference_models import reference_cell
from byheart.study.remaining_work import remaining_steps, remaining_work_by_cell
from byheart.study.study_file import Study

MATMUL_EFFICIENCY = 0.7
"""Share of the matrix product's FLOP rate that training and scoring reach; measured on two cores in bfloat16."""


BENCHMARK_SECONDS = 0.1
"""Seconds of the benchmark that measures the processor's speed."""


ALWAYS_AVAILABLE_DEVICES = frozenset({"auto", "cpu"})
"""Devices that every machine has; checking any other device imports torch, which takes seconds."""


def check_device_and_bases(machine: Machine, planned: Sequence[PlannedCell], remaining: Sequence[float]) -> None:
    """Raise an error for a device that this machine lacks and for a base model that cannot be loaded.

    Only cells with remaining work count. Reads the config of each of their base models: the model must be causal, and
    have a chat template if texts are chats.
    """
    unfinished = [p for p, work in zip(planned, remaining, strict=True) if work]
    if unfinished and machine.device not in ALWAYS_AVAILABLE_DEVICES:
        torch_device(machine.device)
    for base in dict.fromkeys(p.cell.base for p in unfinished):
        check_trainable(base, causal_config(base))
    for base in dict.fromkeys(p.cell.base for p in unfinished if p.has_chats):
        check_chat_template(base)


def check_method_packages(planned: Sequence[PlannedCell], remaining: Sequence[float]) -> None:
    """Raise `SettingError` for a cell with remaining work whose method or metric needs a package that is not installed.

    A metric's file names its package in `PACKAGE`, and the extra of byheart that installs it in `EXTRA`.
    """
    for cell, work in zip(planned, remaining, strict=True):
        if work:
            check_bitsandbytes(cell)
        if work and (problem := missing_package(cell.cell.method)):
            raise SettingError(f"methods {cell.cell.method.name}: {problem}")
        for metric in cell.metrics if work else ():
            package = module_constant(metric.function, "PACKAGE", "")
            if package and importlib.util.find_spec(package) is None:
                extra = module_constant(metric.function, "EXTRA", package)
                raise SettingError(
                    f"metrics {metric.name}: the package {package} is not installed. Run pip install 'byheart[{extra}]'."
                )


_NO_MEMORY = WorkerMemory(0.0, has_activations=True)


class CellEstimate(NamedTuple):
    """Remaining work of a cell; `minutes` is None if the model's size is unknown before it is downloaded.

    `shadow_epochs` is the sum over its shadow models, and observations include theirs; `reference_epochs` is the sum over its
    reference models, one for each observed state. `epsilon` is the epsilon of
    private training at its end; None for other training, or if opacus, which computes it, is not installed. `lacks`
    names the package to install before the cell can run. `is_trial` marks a trial of a search of the learning rate.
    `memory` is that of a worker while it trains; with `shard` above 1, of one device.
    """

    cell: str
    training_texts: int
    epochs_to_train: int
    observations_to_make: int
    minutes: float | None
    shadow_epochs: int = 0
    reference_epochs: int = 0
    epsilon: float | None = None
    private: bool = False
    lacks: str = ""
    is_trial: bool = False
    memory: WorkerMemory | None = None
    shard: int = 1


def cell_estimates(study: Study, store: Store) -> list[CellEstimate]:
    """Return the remaining work of each cell, and the approximate minutes on this processor.

    A matrix product measures the processor's speed; a GPU is not considered. Shared work is counted for the first cell
    that needs it.
    """
    planned = with_pending_trials(plan(study, store), store)
    return estimates_of(planned, store, study.machine, measured_flops_per_second())


def estimates_of(
    planned: Sequence[PlannedCell], store: Store, machine: Machine, flops_per_second: float
) -> list[CellEstimate]:
    """Return the remaining work of planned cells and trials, and their minutes at this number of operations per second."""
    remaining = remaining_work_by_cell(planned, store)
    check_device_and_bases(machine, planned, remaining)
    check_fits(machine, planned, remaining)
    claimed_keys: set[str] = set()
    estimates: list[CellEstimate] = []
    for cell, work in zip(planned, remaining, strict=True):
        size, memory = parameter_count(cell.cell.base), worker_memory(cell, machine) if work else _NO_MEMORY
        (_, epochs, observations), *others = remaining_steps(cell, store, claimed_keys)
        shadows = [step for step in others if step[0] is not reference_cell(cell)]
        lacks = missing_package(cell.cell.method)
        estimates.append(
            CellEstimate(
                cell=cell.label,
                training_texts=len(cell.texts["train"]),
                epochs_to_train=epochs,
                observations_to_make=len(observations) + sum(len(of_shadow) for _, _, of_shadow in shadows),
                minutes=work * 2 * size / flops_per_second / 60 if size else None,
                shadow_epochs=sum(shadow_epochs for _, shadow_epochs, _ in shadows),
                reference_epochs=sum(n for other, n, _ in others if other is reference_cell(cell)),
                epsilon=None if lacks or cell.spending is None else cell.spending.epsilon(cell.cell.training.epochs),
                private=privacy_settings(cell.cell.method) is not None,
                lacks=lacks if work else "",
                is_trial=cell.is_trial,
                memory=memory,
                shard=machine.shard,
            )
        )
    return estimates


def plan_table(name: str, cells: Sequence[CellEstimate]) -> Table:
    """Return the remaining work of the cells as a table."""
    total = sum(c.minutes or 0.0 for c in cells)
    has_private = any(c.private for c in cells)
    lines = tuple(
        (
            c.cell,
            str(c.training_texts),
            _training(c),
            str(c.observations_to_make),
            "unknown" if c.minutes is None else f"{c.minutes:.1f}",
            _gibibytes(c.memory),
            *([_epsilon(c)] if has_private else []),
        )
        for c in cells
    )
    header = ("cell", "training texts", "training to do", "observations to make", "minutes (estimate)", "memory (GiB)")
    header += ("epsilon after training",) if has_private else ()
    minutes = f"about {format_count(round(total), 'minute')}" if total >= 1 else "less than a minute"
    note = (
        f"Total: {minutes} on this processor under its current load. Observations are forward passes over texts, or texts "
        "that the models generate; each is stored. The base model's observations are made with the first cell and shared. "
        f"Memory is that of {_memory_place(cells)}: weights (with gradients and AdamW for trained base weights), activations and "
        "libraries. A process keeps freed memory while the machine has more."
    )
    if not any(c.minutes is None or c.minutes for c in cells):
        note = "All results are in the store."
    for problem in dict.fromkeys(c.lacks for c in cells if c.lacks):
        note += f" Before byheart run: {problem}."
    trials = sum(c.is_trial for c in cells)
    title = f"{name}: {format_count(len(cells) - trials, 'cell')}"
    if trials:
        title += f" and {format_count(trials, 'trial')} of learning rates"
        note += " A search tries further rates if its best rate is an end of the default grid."
    return Table(title, header, lines, note)


def _gibibytes(memory: WorkerMemory | None) -> str:
    if memory is None:
        return "unknown"
    return f"{'' if memory.has_activations else 'over '}{memory.size / 2**30:.1f}"


def _memory_place(cells: Sequence[CellEstimate]) -> str:
    shard = max((c.shard for c in cells), default=1)
    return f"each of the {shard} devices that share a model" if shard > 1 else "one worker"


def _epsilon(cell: CellEstimate) -> str:
    if not cell.private:
        return "no bound"
    return "unknown" if cell.epsilon is None else f"{cell.epsilon:.2f}"


def _training(cell: CellEstimate) -> str:
    target = [format_count(cell.epochs_to_train, "epoch")] if cell.epochs_to_train else []
    shadows = [f"{format_count(cell.shadow_epochs, 'epoch')} of shadow models"] if cell.shadow_epochs else []
    references = [f"{format_count(n, 'epoch')} of reference models"] if (n := cell.reference_epochs) else []
    return ", ".join((*target, *references, *shadows)) or "none"


def measured_flops_per_second() -> float:
    """Return the operations per second that training and scoring reach on this processor (`MATMUL_EFFICIENCY`).

    A float32 matrix product is timed for `BENCHMARK_SECONDS`.
    """
    import numpy as np

    matrix = np.ones((1024, 1024), dtype=np.float32)
    np.matmul(matrix, matrix)
    products, start = 0, time.perf_counter()
    while time.perf_counter() - start < BENCHMARK_SECONDS:
        np.matmul(matrix, matrix)
        products += 1
    return MATMUL_EFFICIENCY * products * 2 * 1024**3 / (time.perf_counter() - start)
