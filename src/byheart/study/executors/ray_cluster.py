"""Executor `ray`: every task is a task of a Ray cluster (`pip install 'byheart[ray]'`).

Ray starts a task again whose worker or node dies; the store keeps what the task had finished, up to its last epoch.
"""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from byheart.core.config import Machine
from byheart.core.errors import SettingError, StoreError
from byheart.store.probe import ask, check_answers, withdraw
from byheart.store.store import Store
from byheart.study.executors._task_futures import run_by_futures
from byheart.study.remote_tasks import Surroundings, answer_probe, run_remote_task, surroundings
from byheart.study.tasks import CellOutcome, Task

MAX_RETRIES = 5
"""A task is started again this many times after its worker or node died."""
CONNECT_SECONDS = 10.0
"""Ray itself waits for minutes for an address that does not answer."""
FRAME_HEADER_BYTES = 9
SETTINGS_FRAME = b"\x04"
"""Type of the first frame of each side of HTTP/2, on which gRPC is built (RFC 9113, sections 3.4 and 6.5)."""
HTTP2_START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS_FRAME + b"\0\0\0\0\0"
"""What a client sends first: the preface, and settings without a value."""


def run_ray_tasks(
    tasks: Sequence[Task],
    store: Store,
    machine: Machine,
    study: str,
    on_task_end: Callable[[Task, CellOutcome], None],
) -> dict[str, CellOutcome]:
    """Run all tasks on the cluster at `machine.ray_address` and return their outcomes by key.

    Raises `SettingError` without Ray or for an address that does not answer, and `StoreError` if a node cannot write the store.
    """
    place = surroundings(store, study)
    with _connected(machine) as ray:
        _check_nodes(ray, store, place)
        remote = ray.remote(max_retries=MAX_RETRIES, **_resources(ray, machine))(run_remote_task)
        shared = ray.put(place)
        references: dict[str, Any] = {}

        def submit(task: Task) -> Future[CellOutcome | None]:
            references[task.key] = remote.remote(shared, task.key, task.label)
            return references[task.key].future()

        try:
            return run_by_futures(tasks, submit, on_task_end, _worker_error)
        except KeyboardInterrupt:
            for reference in references.values():
                ray.cancel(reference, force=True)
            raise


def check_ray(machine: Machine) -> None:
    """Raise `SettingError` without Ray, or for an address at which nothing listens, before a study is planned."""
    if not _ray().is_initialized():
        _check_address(machine.ray_address)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise SettingError(
            "machine.executor = ray: Ray is not installed. Install it: pip install 'byheart[ray]'"
        ) from error


@contextmanager
def _connected(machine: Machine) -> Generator[Any]:
    """Yield Ray, connected to the cluster; an earlier connection of this process is used and stays."""
    check_ray(machine)
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    cores = machine.workers * machine.task_cpus
    workers = {} if machine.ray_address else {"num_cpus": cores, "include_dashboard": False}
    try:
        ray.init(address=machine.ray_address or "local", log_to_driver=False, logging_level="error", **workers)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SettingError(
            f"machine.ray_address = {machine.ray_address}: no Ray cluster answers ({' '.join(str(error).split())[:150]}). "
            "Start one: ray start --head"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str | None) -> None:
    """Raise `SettingError` for a HOST:PORT at which nothing listens, or another server, such as Ray's dashboard."""
    if not address or address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS) as connection:
            problem = "" if _is_grpc(connection) else "another server listens there"
    except (OSError, ValueError, OverflowError) as error:  # OverflowError: a port above 65535
        problem = str(error)
    if problem:
        raise SettingError(
            f"machine.ray_address = {address}: no Ray cluster answers ({problem}). Write auto, or the HOST:PORT that ray start prints."
        )


def _is_grpc(connection: socket.socket) -> bool:
    """Whether a server answers as gRPC does, which Ray speaks. With encryption the answer would follow a handshake: True."""
    if os.environ.get("RAY_USE_TLS", "0") not in {"", "0"}:
        return True
    connection.sendall(HTTP2_START)
    return connection.recv(FRAME_HEADER_BYTES)[3:4] == SETTINGS_FRAME


def _check_nodes(ray: Any, store: Store, place: Surroundings) -> None:
    """Raise `StoreError` unless every node of the cluster sees and writes the store, with this version of byheart."""
    strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
    question = ask(store)
    probe = ray.remote(answer_probe)
    nodes = [n["NodeID"] for n in ray.nodes() if n["Alive"]]
    answers = [
        probe.options(
            num_cpus=0, scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(place, question, node)
        for node in nodes
    ]
    try:
        problem = next((p for p in ray.get(answers) if p), "")
    except ray.exceptions.RayError as error:
        problem = f"store {store.root}: a node of the cluster cannot run byheart ({' '.join(str(error).split())[-200:]}). Install it there."
    if problem:
        withdraw(store, question)
        raise StoreError(problem)
    check_answers(store, question, nodes)


def _resources(ray: Any, machine: Machine) -> dict[str, float]:
    """Return the resources of a task: one GPU, if the cluster has any, unless the study says otherwise.

    Raises `SettingError` if no node has them, because Ray would wait for such a node.
    """
    gpus = machine.task_gpus
    if gpus is None:
        gpus = 1.0 if machine.device != "cpu" and ray.cluster_resources().get("GPU", 0) else 0.0
    needed = {"CPU": machine.task_cpus, "GPU": gpus, "memory": int((machine.task_memory_gb or 0) * 2**30)}
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    if not any(all(node.get(name, 0) >= number for name, number in needed.items()) for node in nodes):
        wanted = ", ".join(f"{number:g} {name}" for name, number in needed.items() if number)
        raise SettingError(
            f"machine: no node of the Ray cluster has {wanted}. Lower task_cpus, task_gpus or task_memory_gb."
        )
    return {"num_cpus": needed["CPU"], "num_gpus": gpus, **({"memory": needed["memory"]} if needed["memory"] else {})}


def _worker_error(error: Exception) -> str:
    ray: Any = importlib.import_module("ray")
    if not isinstance(error, ray.exceptions.RayError):
        raise error
    return f"the Ray worker died ({type(error).__name__}: {' '.join(str(error).split())[:200]}). Run again to resume."
