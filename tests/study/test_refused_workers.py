"""Workers that cannot take part in a study, each refused by name; a task without memory fails alone. No cluster is needed."""

import dataclasses
import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from byheart.core.config import Machine
from byheart.core.errors import SettingError, StoreError
from byheart.core.machine_faults import OUT_OF_MEMORY
from byheart.lm.base_models import identity
from byheart.store.store import Store
from byheart.study.executors import ray_cluster
from byheart.study.executors.local import run_local_tasks
from byheart.study.executors.slurm_jobs import submit_jobs
from byheart.study.plan import plan, plan_cells
from byheart.study.planned_inputs import inputs_key
from byheart.study.remote_tasks import answer_probe
from byheart.study.run_study import run_share
from byheart.study.study_file import parse_study
from byheart.study.task_share import Share
from byheart.study.tasks import Task
from testing.trained_studies import one_step


class Queue:
    """An executor that keeps the job, or refuses it with an error."""

    def __init__(self, error=None):
        self.error, self.jobs = error, []

    def map_array(self, job, numbers):
        if self.error:
            raise self.error
        self.jobs = [(job, n) for n in numbers]
        return [SimpleNamespace(job_id=f"7_{n}") for n in numbers]


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store")


@pytest.fixture
def study(tiny_folder, tmp_path):
    """A study of a model whose files the test may change."""
    folder = shutil.copytree(tiny_folder("llama"), tmp_path / "model")
    machine = {"device": "cpu", "workers": 8}
    return parse_study(one_step(folder, methods=["head"], attacks=["loss"], seeds=[0, 1, 2], machine=machine))


def test_jobs_are_no_more_than_tasks_and_know_their_number(study, store):
    queue = Queue()
    assert submit_jobs(study, store, 3, "inputs", queue).jobs == ("7_0", "7_1", "7_2")
    assert [(job.jobs, job.inputs, number) for job, number in queue.jobs] == [(3, "inputs", n) for n in range(3)]


def test_a_partition_that_slurm_does_not_have_is_named(study, store):
    refused = RuntimeError("sbatch: error: invalid partition specified: nowhere\nsbatch: error: Invalid partition name")
    with pytest.raises(SettingError, match=r"Slurm refused the jobs \(.*nowhere.*\)\. Correct partition") as raised:
        submit_jobs(study, store, 3, "inputs", Queue(refused))
    assert "\n" not in str(raised.value)
    assert not list((store.root / "probes").iterdir())


def test_a_worker_with_another_byheart_is_refused(study, store, monkeypatch):
    queue = Queue()
    submit_jobs(study, store, 3, "inputs", queue)
    job, _ = queue.jobs[0]
    older = dataclasses.replace(job.place, version="0.0.1")
    problem = r"worker .* has byheart .*, the run has 0\.0\.1\. Install the same version on every host\."
    with pytest.raises(StoreError, match=problem):
        raise StoreError(answer_probe(older, job.question, "node 1"))
    assert answer_probe(job.place, job.question, "node 1") == ""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(StoreError, match=problem):
        dataclasses.replace(job, place=older)(0)
    assert not (store.root / "tasks").exists()


def test_a_job_that_does_not_see_the_store_is_refused(study, store, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    queue = Queue()
    submit_jobs(study, store, 3, "inputs", queue)
    job, _ = queue.jobs[0]
    elsewhere = dataclasses.replace(job.place, store=tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"worker .*-0 does not see this folder, .* all hosts share with --store"):
        dataclasses.replace(job, place=elsewhere)(0)
    assert not (tmp_path / "elsewhere").exists()


def test_a_job_on_a_host_with_other_model_files_is_refused(study, store):
    key = inputs_key(plan(study, store))
    assert inputs_key(plan(study, store)) == key
    config = Path(study.cells[0].base) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rms_norm_eps": 0.5}))
    identity.cache_clear()  # as in the process of another host
    problem = r"host .* reads other model files or data than the host that started the study\. Use the same model files"
    with pytest.raises(StoreError, match=problem):
        run_share(study, store, Share(1, 3, key), tell=lambda _: None)
    assert not store.keys("training")
    assert not (store.root / "studies").exists()
    assert not (store.root / "tasks").exists()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")])
def test_a_task_without_memory_fails_alone(study, store, monkeypatch, error):
    tasks, ended = [Task("cell", p) for p in plan_cells(study, store)], []

    def cell(planned, *_):
        if planned is tasks[1].planned:
            raise error
        return planned.key, []

    monkeypatch.setattr("byheart.study.tasks.run_cell", cell)
    machine = Machine(device="cpu")
    outcomes = run_local_tasks(
        tasks, store, machine, lambda _: None, lambda t, o: ended.append((t.key, o.error)), Share()
    )
    assert [(k, o.error) for k, o in outcomes.items()] == ended
    assert [e for _, e in ended] == ["", OUT_OF_MEMORY, ""]
    assert not any(o.trace for o in outcomes.values())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", r"another server listens there"),
        (b"", r"another server listens there"),
        (None, r"timed out"),
        (b"\0\0\0\x04\0\0\0\0\0", None),
    ],
)
def test_an_address_of_another_server_than_ray_is_refused(monkeypatch, answer, problem):
    monkeypatch.setattr(ray_cluster, "CONNECT_SECONDS", 0.5)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool, ExitStack() as opened:

        def serve():
            connection = opened.enter_context(server.accept()[0])
            connection.recv(100)
            if answer is not None:
                connection.sendall(answer)
                with suppress(OSError):  # the client may have closed the connection already
                    connection.shutdown(socket.SHUT_WR)

        served = pool.submit(serve)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        expected = pytest.raises(SettingError, match=rf"{address}: no Ray cluster answers \({problem}\)\. Write auto")
        with expected if problem else nullcontext():
            ray_cluster._check_address(address)
        served.result(10)
