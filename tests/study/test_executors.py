"""Ray and Slurm: the rows of a run on this machine, a node that is killed, hosts and requests that are refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import byheart
from byheart.core.errors import SettingError, StoreError
from byheart.store.probe import answer, ask, check_answers
from byheart.store.rows import study_rows
from byheart.store.store import Store
from byheart.study.executors.ray_cluster import _check_address
from byheart.study.status import task_states
from byheart.study.study_file import parse_study
from byheart.study.submit import submit
from testing.stores import shadow_study


@pytest.fixture(scope="module")
def asked(tiny_folder):
    return shadow_study(
        tiny_folder("llama"),
        attacks=["loss", "lira"],
        observations=[{"shadows": {"models": 4}}],
        data={"train": 16, "members": 10, "nonmembers": 12, "validation": 6, "known": 0, "max_tokens": 40},
        training={"epochs": 2, "batch_size": 8, "learning_rate": 0.01},
        methods=["lora", "head"],
    )


def rows_of(store):
    """Return the rows as bytes, without measured seconds."""
    rows = [r for r in study_rows(store) if r.metric != "seconds"]
    return json.dumps([vars(r) if hasattr(r, "__dict__") else r._asdict() for r in rows]).encode()


@pytest.fixture(scope="module")
def whole(asked, tmp_path_factory):
    store = Store.open(tmp_path_factory.mktemp("whole"))
    assert not byheart.run(asked, store=store).failed
    return rows_of(store)


# ray


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()


def test_three_ray_nodes_give_the_rows_of_this_machine_though_one_is_killed(asked, whole, cluster, tmp_path):
    import ray

    cluster, nodes = cluster
    store = Store.open(tmp_path / "store")
    killed = []

    def kill_a_node_that_works():
        """Kill a node, with its workers, while it trains: it holds a claim, and a first epoch is stored."""
        place = {n["NodeID"]: n for n in ray.nodes()}
        while not killed:
            time.sleep(0.05)
            for state in task_states(store) if (store.root / "tasks").exists() else ():
                node = node_of(state.process) if state.state == "running" and store.keys("states") else None
                for known in nodes:
                    if node == known.node_id and node in place:
                        cluster.remove_node(known, allow_graceful=False)
                        killed.append(state.task)
                        return

    killer = threading.Thread(target=kill_a_node_that_works, daemon=True)
    killer.start()
    results = byheart.run({**asked, "machine": {"executor": "ray"}}, store=store)
    assert not results.failed, results.failed
    assert killed
    assert rows_of(store) == whole
    assert {s.state for s in task_states(store)} == {"done"}
    assert not list((store.root / "probes").iterdir())


def node_of(process):
    """Return the id of the Ray node of a worker process, from its arguments; None for an ended process."""
    try:
        parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        words = Path(f"/proc/{parent}/cmdline").read_text().split("\0")
    except (OSError, ValueError):
        return None
    return next((w.partition("=")[2] for w in words if w.startswith("--node_id=")), None)


def test_ctrl_c_ends_the_tasks_on_ray(asked, tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "tiny.yaml").write_text(json.dumps(asked))
    store = tmp_path / "store"
    words = ["run", tmp_path / "tiny.yaml", "--store", store, "--executor", "ray"]
    run = subprocess.Popen(
        [sys.executable, "-m", "byheart", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(s.state == "running" for s in task_states(Store(store))):
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal sends it
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert err.splitlines()[-1].startswith("byheart: interrupted.")
    assert "Traceback" not in err
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(s.state == "running" for s in task_states(Store(store))):
        time.sleep(0.1)
    assert {s.state for s in task_states(Store(store))} <= {"done", "waiting"}


def test_a_store_that_a_ray_node_cannot_write_is_refused_before_any_work(asked, cluster, tmp_path, monkeypatch):
    store = Store.open(tmp_path / "store")
    monkeypatch.setattr("byheart.study.executors.ray_cluster.ask", lambda _: "a-question-of-another-folder")
    monkeypatch.setattr("byheart.study.executors.ray_cluster.withdraw", lambda *_: None)
    with pytest.raises(StoreError, match="does not see this folder"):
        byheart.run({**asked, "machine": {"executor": "ray"}}, store=store)
    assert not store.keys("training")


def test_a_task_that_no_ray_node_can_run_is_refused(asked, cluster, tmp_path):
    machine = {"executor": "ray", "task_cpus": 64}
    with pytest.raises(SettingError, match=r"no node of the Ray cluster has 64 CPU\. Lower task_cpus"):
        byheart.run({**asked, "machine": machine}, store=tmp_path)


def test_a_ray_address_that_does_not_answer_is_refused(asked, tmp_path):
    pytest.importorskip("ray")
    code = (
        "import json, sys, byheart; byheart.run({**json.loads(sys.argv[1]), "
        "'machine': {'executor': 'ray', 'ray_address': '127.0.0.1:9'}}, store=sys.argv[2])"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asked), tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert "machine.ray_address = 127.0.0.1:9: no Ray cluster answers" in made.stderr


@pytest.mark.parametrize(("executor", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_executor_that_is_not_installed_is_refused_with_its_extra(asked, tmp_path, monkeypatch, executor, package):
    monkeypatch.setitem(sys.modules, package, None)
    content = {**asked, "machine": {"executor": executor}}
    run = byheart.run if executor == "ray" else lambda c, store: submit(parse_study(c), Store.open(store))
    with pytest.raises(SettingError, match=rf"executor = {executor}: .*pip install 'byheart\[{executor}\]'"):
        run(content, store=tmp_path)
    assert not (tmp_path / "gates").exists()  # before any work


def test_an_address_without_ray_and_a_port_that_does_not_exist_are_refused(asked, tmp_path):
    (tmp_path / "tiny.yaml").write_text(json.dumps(asked))
    made = typed("run", tmp_path / "tiny.yaml", "--store", tmp_path / "store", "--ray-address", "auto")
    assert made.returncode == 2
    assert made.stderr == "byheart: --ray-address: the executor is local. Add --executor ray.\n"
    with pytest.raises(SettingError, match=r"ray_address = 127\.0\.0\.1:99999: no Ray cluster answers"):
        _check_address("127.0.0.1:99999")


def test_a_part_of_a_gpu_is_refused_by_slurm(asked, tmp_path):
    machine = {"executor": "slurm", "task_gpus": 0.5, "slurm": {"cluster": "local"}}
    with pytest.raises(SettingError, match=r"task_gpus = 0\.5: a Slurm job has whole GPUs"):
        submit(parse_study({**asked, "machine": machine}), Store.open(tmp_path))
    assert not (tmp_path / "gates").exists()


# the probe


def test_a_worker_that_sees_another_folder_or_cannot_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("byheart.store.probe.VISIBLE_WITHIN_SECONDS", 0.1)
    store, other = Store.open(tmp_path / "a"), Store.open(tmp_path / "b")
    question = ask(store)
    answer(store.root, question, "w1")
    check_answers(store, question, ["w1"])
    question = ask(store)
    with pytest.raises(StoreError, match="worker w1 does not see this folder"):
        answer(other.root, question, "w1")
    with pytest.raises(StoreError, match="worker w1 writes to another folder"):
        check_answers(store, question, ["w1"])
    question = ask(store)
    monkeypatch.setattr("pathlib.Path.touch", lambda _: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    with pytest.raises(StoreError, match=r"worker w1 cannot write it \(Read-only file system\)"):
        answer(store.root, question, "w1")


# slurm: a real one of one node where it is installed, and jobs as processes of this machine


@pytest.fixture
def slurm(tmp_path_factory, monkeypatch):
    """A Slurm of one node. Debian: apt-get install slurmd slurmctld slurm-client munge."""
    if not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "sbatch"))):
        pytest.skip("Slurm is not installed")
    folder = tmp_path_factory.mktemp("slurm")
    script = Path(__file__).parents[1] / "testing" / "one_node_slurm.sh"
    started = subprocess.run(
        ["/bin/bash", script, "start", folder], capture_output=True, text=True, check=False, timeout=60
    )
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    if started.returncode:
        pytest.skip(f"Slurm does not start here: {started.stderr.strip()[-200:]}")
    yield folder
    subprocess.run(["/bin/bash", script, "stop", folder], check=False, timeout=30)


def typed(*words):
    command = [sys.executable, "-m", "byheart", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def submitted(asked, tmp_path, cluster):
    changes = {"machine": {"executor": "slurm", "workers": 2, "slurm": {"cluster": cluster}}}
    (tmp_path / "tiny.yaml").write_text(json.dumps({**asked, **changes}))
    words = ["run", tmp_path / "tiny.yaml", "--store", tmp_path / "store", "--json"]
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:  # local jobs would keep pipes open
        made = subprocess.run(
            [sys.executable, "-m", "byheart", *map(str, words)], stdout=out, stderr=err, check=False, timeout=120
        )
    assert made.returncode == 0, (tmp_path / "err").read_text()
    return json.loads((tmp_path / "out").read_text())


def ended_with_interruption(store, interrupt):
    """Interrupt the first of two workers; return it when all tasks are done."""
    interrupted, deadline = None, time.monotonic() + 240
    while time.monotonic() < deadline:
        states = task_states(Store(store))
        running = [s for s in states if s.state == "running"]
        if interrupted is None and running:
            interrupted = running[0]
            interrupt(interrupted)
        if states and all(s.state == "done" for s in states):
            assert {s["state"] for s in json.loads(typed("status", store, "--json").stdout)["tasks"]} == {"done"}
            return interrupted
        time.sleep(0.05)
    pytest.fail(f"not done: {states}")


def test_jobs_share_the_tasks_and_one_takes_over_from_a_killed_one(asked, whole, tmp_path):
    pytest.importorskip("submitit")
    jobs = submitted(asked, tmp_path, "local")
    assert len(jobs["jobs"]) == 2
    killed = ended_with_interruption(tmp_path / "store", lambda s: os.kill(s.process, signal.SIGKILL))
    assert killed.log.startswith(jobs["logs"])
    store = Store.open(tmp_path / "store")
    assert not byheart.run(asked, store=store).failed  # reads what the jobs made
    assert rows_of(store) == whole
    assert any("trained" in p.read_text() for p in (store.root / "logs").glob("*/*.err"))


def test_a_slurm_job_at_its_time_limit_is_queued_again_and_the_study_ends(asked, whole, slurm, tmp_path):
    pytest.importorskip("submitit")
    jobs = submitted(asked, tmp_path, "slurm")
    assert len(jobs["jobs"]) == 2

    def reach_time_limit(state):
        os.kill(state.process, signal.SIGUSR2)  # as Slurm does before the limit

    interrupted = ended_with_interruption(tmp_path / "store", reach_time_limit)
    log = Path(interrupted.log)
    assert "equeu" in log.read_text() + log.with_suffix(".out").read_text()
    store = Store.open(tmp_path / "store")
    assert not byheart.run(asked, store=store).failed
    assert rows_of(store) == whole


def test_a_partition_that_does_not_exist_is_refused(asked, slurm, tmp_path):
    pytest.importorskip("submitit")
    changes = {"machine": {"executor": "slurm", "slurm": {"partition": "nowhere"}}}
    (tmp_path / "tiny.yaml").write_text(json.dumps({**asked, **changes}))
    made = typed("run", tmp_path / "tiny.yaml", "--store", tmp_path / "store")
    assert made.returncode == 2
    assert made.stderr.splitlines()[-1].startswith("byheart: machine.slurm: Slurm refused the jobs (")  # after sbatch's
    assert "Invalid partition name" in made.stderr
    assert "Traceback" not in made.stderr


def test_slurm_is_submitted_and_not_waited_for(asked, tmp_path):
    with pytest.raises(SettingError, match=r"byheart run STUDY\.yaml --executor slurm"):
        byheart.run({**asked, "machine": {"executor": "slurm"}}, store=tmp_path)
