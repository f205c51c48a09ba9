"""byheart as a process: what it imports, Ctrl-C, a reader who leaves, a worker that dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from campaign.inputs.stores import forget_checksums
from testing.command_line import byheart

FREE = """
import importlib, pkgutil, sys
import byheart.attacks, byheart.metrics, byheart.figures, byheart.tables
for shelf in (byheart.attacks, byheart.metrics, byheart.figures, byheart.tables):
    for found in pkgutil.iter_modules(shelf.__path__):
        importlib.import_module(f"{shelf.__name__}.{found.name}")
for name in (
    "core.ragged", "core.registry", "core.types", "stats.roc_auc", "study.study_file", "store.rows", "store.store", "report.page",
    "analysis.formats", "cli.describe", "lm.base_models",
):
    importlib.import_module(f"byheart.{name}")
heavy = [m for m in ("torch", "transformers", "peft", "datasets") if m in sys.modules]
assert not heavy, heavy
from byheart.cli.main import main
for words in (["--help"], ["rows", "--store", sys.argv[1]], ["shelf", "attacks", "min_k"]):
    sys.argv[1:], kept = words, sys.argv[1:]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, ended.code
    sys.argv[1:] = kept
    heavy = [m for m in ("torch", "transformers", "peft", "datasets") if m in sys.modules]
    assert not heavy, (words, heavy)
"""


def test_help_rows_and_numeric_commands_do_not_load_torch(store):
    made = subprocess.run([sys.executable, "-c", FREE, store], capture_output=True, text=True, check=False, timeout=120)
    assert made.returncode == 0, made.stderr


def test_a_closed_pipe_causes_no_traceback(store):
    note = json.loads((store / "studies" / "tiny.json").read_text())
    rows = store / "rows" / note["rows"][0] / "rows.json"
    rows.write_text(json.dumps(json.loads(rows.read_text()) * 600))  # more than a pipe holds
    forget_checksums([rows.parent / "recipe.json"])
    # Unbuffered, Python loses the end of a broken write without a word.
    buffered = {n: v for n, v in os.environ.items() if n != "PYTHONUNBUFFERED"}
    reading = byheart("rows", "--store", store, "--format", "json", env=buffered)
    assert reading.stdout.readline() == "[\n"
    reading.stdout.close()
    assert reading.wait(timeout=60) == 1
    assert reading.stderr.read() == ""


def interrupted(running, number=signal.SIGINT):
    # A terminal sends Ctrl-C to every process; `timeout` and schedulers send SIGTERM to the first one.
    (os.killpg if number == signal.SIGINT else os.kill)(running.pid, number)
    _, err = running.communicate(timeout=30)
    assert running.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert err.splitlines()[-1] == "byheart: interrupted. Finished results are stored; run the same command to resume."
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_prints_one_line_and_keeps_complete_results(theirs, study, tmp_path, number):
    st = tmp_path / "st"
    running = byheart("run", study(attacks=["theirs:slow"]), "--store", st, start_new_session=True)
    for line in running.stderr:
        if "epoch 1 observed: validation" in line:
            break
    time.sleep(0.3)
    interrupted(running, number)
    assert len(list(st.glob("evidence/*/recipe.json"))) == 4


def test_ctrl_c_ends_every_worker_at_every_step(theirs, study, tmp_path):
    place = study(attacks=["theirs:slow"], seeds=[0, 1, 2])
    running = byheart("run", place, "--store", tmp_path / "st", "--workers", "2", start_new_session=True)
    assert running.stderr.readline() == "3 cells\n"
    time.sleep(1)  # the workers are still importing
    listed = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    for child in listed.read_text().split() if listed.exists() else ():
        os.kill(int(child), signal.SIGINT)  # reaches them before the first process can end them
    time.sleep(0.5)
    interrupted(running)


@pytest.mark.slow
def test_a_worker_that_dies_is_a_failed_cell(theirs, typed, study, tmp_path):
    place = study(attacks=["theirs:dies"], seeds=[0, 1])
    code, _, err = typed("run", place, "--store", tmp_path / "st", "--workers", "2")
    assert code == 1, err
    assert "Traceback" not in err
    assert "worker process" in err
