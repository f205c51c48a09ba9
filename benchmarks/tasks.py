"""What a task costs besides its work (docs/scale.md): `PYTHONPATH=tests python -m benchmarks.tasks`, with or without Ray.

Prints the store's milliseconds a task, at more and more tasks and workers, and the seconds a task of executors. Workers run the
loop of Slurm jobs, on tasks whose results are empty folders.
"""

import importlib.util
import multiprocessing
import resource
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from byheart.store import store as store_module
from byheart.store.store import Store
from byheart.study.executors._task_sequence import run_in_sequence
from byheart.study.task_share import Share
from byheart.study.tasks import CellOutcome, Task, run_claimed

CELLS = 8
SIZES = ((100, 1), (1000, 1), (10_000, 1), (10_000, 2), (1000, 50), (10_000, 50), (10_000, 500))


def main(pieces: list[str]) -> None:
    """Print the numbers of `store` and `executors`, or of one of them."""
    if "executors" in pieces:
        _print_executors()
    if "store" not in pieces:
        return
    store_module.result_provenance = lambda _seconds: {}  # it asks git, once a process
    for tasks, workers in SIZES:
        cost = store_cost(tasks, workers)
        print(
            f"store: {tasks} tasks, {workers} workers: {1000 * cost.seconds / tasks:.2f} ms a task, "
            f"{1000 * cost.cpu_seconds / tasks:.2f} ms of processors, {cost.executions} executions"
        )


def _print_executors() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for executor in ("local", *(["ray"] if importlib.util.find_spec("ray") else [])):
            for name, seconds in executor_seconds(Path(folder), executor).items():
                print(f"{executor}: {name}: {seconds:.2f} s")


class StoreCost(NamedTuple):
    """Seconds in which workers claim, make and release all tasks; seconds of processors; and how many tasks were executed."""

    seconds: float
    cpu_seconds: float
    executions: int


class EmptyTask(Task):
    """A task whose result is an empty folder. `planned` is its number."""

    @property
    def label(self) -> str:
        """Name of the task."""
        return f"task {self.planned}"

    @cached_property
    def results(self) -> tuple[tuple[str, str], ...]:
        """Stage and key of the result."""
        return (("rows", self.key),)

    @cached_property
    def key(self) -> str:
        """Key of the task, and of its result."""
        return str(self.planned)


def store_cost(tasks: int, workers: int) -> StoreCost:
    """Return what the store costs when `workers` processes share `tasks` tasks."""
    context = multiprocessing.get_context("fork")
    numbered: list[Any] = list(range(tasks))
    made = [EmptyTask("base", n) for n in numbered]
    with tempfile.TemporaryDirectory(dir=".") as folder:
        store = Store.open(Path(folder))
        counts: Any = context.Array("i", workers)
        processes = [
            context.Process(target=_work, args=(store, made, Share(i, workers), counts)) for i in range(workers)
        ]
        started, before = time.perf_counter(), _children_seconds()
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        stored = len(store.keys("rows"))
        if stored != tasks or any(p.exitcode for p in processes):
            raise SystemExit(f"store: {stored} of {tasks} tasks have a result.")
        return StoreCost(time.perf_counter() - started, _children_seconds() - before, sum(counts))


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _work(store: Store, tasks: list[EmptyTask], share: Share, counts: Any) -> None:
    def make(task: Task) -> CellOutcome:
        def count(_: Path) -> None:
            counts[share.number] += 1

        store.get_or_make("rows", task.key, {}, count)
        return CellOutcome(task.label, "", ())

    def run(task: Task) -> CellOutcome | None:
        return run_claimed(task, store, lambda: make(task), wait=False)

    run_in_sequence(tasks, store, share, run, lambda _task: None, lambda _task, _outcome: None)


def executor_seconds(folder: Path, executor: str) -> dict[str, float]:
    """Return the seconds of a study of small cells: trained, and read again when all results are stored.

    Ray stays started, and so do its two workers, which loaded their libraries with the first cells.
    """
    import byheart
    from testing.stores import lora_study
    from testing.tiny_models import save_tiny_model

    model = folder / "model"
    if not model.exists():
        model.mkdir()
        save_tiny_model("llama", model)
    machine = {"executor": executor, "workers": 2 if executor == "ray" else 1}
    study = lora_study(model, methods=["head"], seeds=list(range(CELLS)), attacks=["loss"], machine=machine)
    seconds = {}
    if executor == "ray":
        started = time.perf_counter()
        importlib.import_module("ray").init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error"
        )
        seconds["Ray started"] = time.perf_counter() - started
    for name in (f"{CELLS} small cells trained", f"{CELLS} stored cells read"):
        started = time.perf_counter()
        if failed := byheart.run(study, store=folder / executor).failed:
            raise SystemExit(f"{executor} failed: {failed[0].error} {failed[0].trace}")
        seconds[name] = time.perf_counter() - started
    return seconds


if __name__ == "__main__":
    main(sys.argv[1:] or ["executors", "store"])
