"""What a task costs besides its work (docs/scale.md): `PYTHONPATH=tests python -m benchmarks.tasks`, with or without Ray.

Prints the store's milliseconds a task, at more and more tasks and workers, and the seconds a task of executors.
"""

import importlib.util
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from byheart.store import store as store_module
from byheart.store.store import Store

CELLS = 8


def main(pieces: list[str]) -> None:
    """Print the numbers of `store` and `executors`, or of one of them."""
    if "executors" in pieces:
        _print_executors()
    if "store" not in pieces:
        return
    store_module.result_provenance = lambda _seconds: {}  # it asks git, once a process
    for tasks, workers in ((100, 1), (1000, 1), (10_000, 1), (10_000, 2), (10_000, 50)):
        seconds, executions = store_seconds(tasks, workers)
        print(
            f"store: {tasks} tasks, {workers} workers: {1000 * seconds / tasks:.2f} ms a task, {executions} executions"
        )


def _print_executors() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for executor in ("local", *(["ray"] if importlib.util.find_spec("ray") else [])):
            for name, seconds in executor_seconds(Path(folder), executor).items():
                print(f"{executor}: {name}: {seconds:.2f} s")


def store_seconds(tasks: int, workers: int) -> tuple[float, int]:
    """Return the seconds in which workers claim, make and release all tasks, and how many were executed."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        Store.open(Path(folder))
        counts = context.Array("i", workers)
        processes = [context.Process(target=_work, args=(Path(folder), tasks, i, counts)) for i in range(workers)]
        started = time.perf_counter()
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return time.perf_counter() - started, sum(counts)


def _work(root: Path, tasks: int, worker: int, counts: Any) -> None:
    store = Store(root)
    pending = list(range(tasks))
    random.Random(worker).shuffle(pending)
    while pending:
        deferred = []
        for task in pending:
            key = f"{task}"
            if store.has("rows", key):
                continue
            with store.claim(key, wait=False) as is_claimed:
                if not is_claimed:
                    deferred.append(task)
                elif not store.has("rows", key):
                    store.get_or_make("rows", key, {}, lambda _: None)
                    counts[worker] += 1
        pending = deferred


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
