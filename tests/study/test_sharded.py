"""Studies of two and four processes that share each model's weights: rows, losses and stored files of one process."""

import json
import time

import numpy as np
import pytest
from safetensors.torch import load_file

from byheart.core.errors import SettingError
from byheart.store.rows import study_rows
from byheart.store.store import Store
from byheart.study import memory_estimate
from byheart.study.plan import plan, plan_cells
from byheart.study.study_file import parse_study
from testing import processes
from testing.made_up import tiny_study
from testing.preferences import pair_file, pairs
from testing.trained_studies import one_step

FEW = {"virtual_tokens": 4}
HALF = ["lora", "head"]
METHODS = ["full", "lora", {"prefix": FEW}]
ALL_METHODS = ["full", "head", "lora", {"prefix": FEW}, {"prompt": FEW}, {"p_tuning": FEW}]
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import byheart
studies, folder, stop = json.loads(sys.argv[1]), sys.argv[2], "".join(sys.argv[3:])
rank, shard = os.environ.get("RANK", "0"), int(os.environ.get("WORLD_SIZE", 1))
Path(folder + rank).write_text(str(os.getpid()))
def tell(event):
    if stop and stop in event.text:
        if shard == 1:
            raise KeyboardInterrupt
        os.kill(int(Path(folder + "1").read_text()), signal.SIGKILL)
try:
    for study in studies:
        study["machine"]["shard"] = shard
        assert not byheart.run(study, store=folder, tell=tell).failed
except KeyboardInterrupt:
    assert stop
"""


def content(folder, **changes):
    """A study of some methods on GPT-2, whose head is tied and which has dropout, with evidence of every kind of pass."""
    data = {"train": 6, "members": 4, "nonmembers": 4, "validation": 4, "max_tokens": 32}
    training = {"epochs": 2, "batch_size": 3}
    attacks = ["loss", "grad_norm", "gradient_alignment", "gradient_alignment_initial", "discoverable"]
    plain = {"data": data, "training": training, "methods": METHODS, "attacks": attacks, "metrics": ["auc", "drift"]}
    return tiny_study(folder, **{**plain, "machine": {"device": "cpu", "precision": "float32"}, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run studies in some processes, and return their store's folder; `stop` ends them at the event with this text."""
    root = tmp_path_factory.mktemp("sharded")
    (root / "study.py").write_text(SCRIPT)

    def run_studies(name, studies, *stop, count):
        place = root / f"{name}{len(list(root.iterdir()))}"
        place.mkdir()
        arguments = [json.dumps(studies), root / name, *stop]
        if count > 1:
            processes.ranks(root / "study.py", arguments, place, count=count, within=240)
        else:
            processes.ended(processes.started(root / "study.py", arguments, place), place, within=240)
        return root / name

    return run_studies


@pytest.fixture(
    scope="module", params=[METHODS, pytest.param(ALL_METHODS, marks=pytest.mark.slow)], ids=["some", "all"]
)
def methods(request):
    return request.param


@pytest.fixture(scope="module")
def stores(tiny_folder, run, methods):
    """Stores of one process and of two, with studies of a base model in float32 and in bfloat16."""
    machine = {"device": "cpu", "base_precision": "bfloat16"}
    changes = {"training": {"epochs": 1, "batch_size": 3}, "attacks": ["loss", "grad_norm"], "machine": machine}
    half = content(tiny_folder("gpt2"), name="half", methods=HALF, **changes)
    studies = [content(tiny_folder("gpt2"), methods=methods), half]
    return [run(f"{name}_{len(methods)}", studies, count=count) for name, count in (("one", 1), ("two", 2))]


def named(rows):
    """Rows by everything but their numbers."""
    return {
        (r.method, r.training_settings, r.attack, r.metric, r.metric_settings, r.epoch, r.initialized, r.precision): r
        for r in rows
        if r.metric != "seconds"
    }


def weights(folder):
    return {(p.name, n): w for p in sorted(folder.rglob("*.safetensors")) for n, w in load_file(p).items()}


def test_rows_equal_those_of_one_process(stores):
    one, two = (named(study_rows(Store(s))) for s in stores)
    assert one.keys() == two.keys()
    assert len(one) > 50
    for key, row in one.items():
        for number in ("value", "low", "high"):
            assert getattr(two[key], number) == pytest.approx(getattr(row, number), abs=1e-4), key


def test_evidence_equals_that_of_one_process(stores):
    one, two = (Store(s) for s in stores)
    assert one.keys("evidence") == two.keys("evidence")
    for key in one.keys("evidence"):
        with (
            np.load(one.folder("evidence", key) / "arrays.npz") as a,
            np.load(two.folder("evidence", key) / "arrays.npz") as b,
        ):
            for name in a.files:
                np.testing.assert_allclose(a[name], b[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_losses_and_stored_weights_equal_those_of_one_process(stores, methods):
    one, two = (Store(s) for s in stores)
    assert len(one.keys("training")) == len(methods) + len(HALF)
    for key in one.keys("training"):
        folders = [s.folder("training", key) for s in (one, two)]
        facts = [json.loads((f / "facts.json").read_text()) for f in folders]
        assert facts[0]["losses"] == pytest.approx(facts[1]["losses"], abs=1e-4)
        assert facts[0]["trained_parameters"] == facts[1]["trained_parameters"]
        names = [sorted(str(p.relative_to(f)) for p in f.rglob("*")) for f in folders]
        assert names[0] == names[1]
        for name in names[0]:
            if name.endswith(".json") and name not in {"facts.json", "recipe.json"}:
                contents = [json.loads((f / name).read_text()) for f in folders]
                for each in contents:  # peft writes a set, in any order
                    each["target_modules"] = sorted(each.get("target_modules") or ())
                assert contents[0] == contents[1], name
        found = [weights(f) for f in folders]
        assert found[0].keys() == found[1].keys()
        for name, weight in found[0].items():
            assert (weight - found[1][name]).abs().max() < 1e-4, name


@pytest.mark.slow
def test_four_processes_give_the_losses_rows_and_weights_of_one(tiny_folder, run, stores, methods):
    """Full fine-tuning, which divides weights, gradients and moments; the other methods are tested with two processes."""
    one = Store(stores[0])
    four = Store(
        run(f"four_{len(methods)}", [content(tiny_folder("gpt2"), methods=["full"], attacks=["loss"])], count=4)
    )
    (key,) = four.keys("training")
    folders = [s.folder("training", key) for s in (one, four)]
    losses = [json.loads((f / "facts.json").read_text())["losses"] for f in folders]
    assert len(losses[1]) >= 2
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    rows, all_rows = (named(study_rows(s)) for s in (four, one))
    assert len(rows) >= 6
    for name, row in rows.items():
        for number in ("value", "low", "high"):
            assert getattr(row, number) == pytest.approx(getattr(all_rows[name], number), abs=1e-4), name
    found = [weights(f) for f in folders]
    assert found[0].keys() == found[1].keys()
    assert all((w - found[1][n]).abs().max() < 1e-4 for n, w in found[0].items())


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_any_number_resumes(tiny_folder, run, stores, methods):
    """One process stops after half an epoch, two resume until one is killed after two epochs, and one process finishes."""
    training = {"epochs": 2, "batch_size": 3, "observe": [0.5, 1, 2]}
    study = content(tiny_folder("gpt2"), methods=["full"], attacks=["loss"], training=training)
    name = f"resumed_{len(methods)}"
    resumed = Store(run(name, [study], "epoch 1 trained", count=1))
    assert len(resumed.keys("states")) == 1
    begun = time.monotonic()
    with pytest.raises(
        AssertionError, match=r"exit code 1: (.*\n)?machine.shard: process 0 of 2 ends: a process has ended"
    ):
        run(name, [study], "epoch 2 trained", count=2)
    assert time.monotonic() - begun < 60
    assert not resumed.keys("training")
    run(name, [study], count=1)
    (key,) = resumed.keys("training")
    assert not resumed.keys("states")
    stored = [s.folder("training", key) for s in (Store(stores[0]), resumed)]
    facts = [json.loads((f / "facts.json").read_text()) for f in stored]
    assert facts[0]["losses"] == pytest.approx(facts[1]["losses"], abs=1e-4)
    found = [weights(f) for f in stored]
    assert all((w - found[1][n]).abs().max() < 1e-4 for n, w in found[0].items())


def test_sharding_is_in_no_key(tiny_folder, tmp_path):
    store, keys = Store.open(tmp_path), []
    for shard in (1, 2):
        study = content(tiny_folder("gpt2"), machine={"device": "cpu", "precision": "float32", "shard": shard})
        keys.append([p.key for p in plan_cells(parse_study(study), store)])
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("changes", "machine", "problem"),
    [
        ({"methods": ["dp_lora"]}, {}, "methods dp_lora: gradients of single texts"),
        ({"methods": ["lora"]}, {"quantize": 4}, "quantized weights are not sharded"),
        ({"methods": ["lora"]}, {"workers": 2}, "Remove machine.executor and machine.workers"),
        ({"methods": ["lora"]}, {"device": "cuda:1"}, "each process uses its own GPU"),
        ({"methods": ["lora"]}, {"precision": "bfloat16"}, "trained in their own format, float32"),
        ({"methods": ["lora"]}, {"base_precision": "float16", "precision": "auto"}, "Write bfloat16 or float32"),
    ],
)
def test_what_does_not_work_is_refused_by_name(tiny_folder, tmp_path, changes, machine, problem):
    machine = {"device": "cpu", "precision": "float32", "shard": 2, **machine}
    with pytest.raises(SettingError, match=problem):
        plan(parse_study(one_step(tiny_folder("llama"), machine=machine, **changes)), Store.open(tmp_path))


def test_preference_tuning_is_refused(tiny_folder, tmp_path):
    path = pair_file(tmp_path / "pairs.jsonl", pairs())
    study = one_step(
        tiny_folder("llama"),
        methods=["lora"],
        datasets=[{"preferences": {"path": str(path)}}],
        data={"train": 8, "members": 4, "nonmembers": 4, "validation": 4, "near_duplicate": 1.0},
        training={"epochs": 1, "objective": "dpo"},
        machine={"device": "cpu", "precision": "float32", "shard": 2},
    )
    with pytest.raises(SettingError, match=r"training.objective = 'dpo': sharded weights are trained with the loss"):
        plan(parse_study(study), Store.open(tmp_path / "store"))


def test_memory_is_that_of_one_device(tiny_folder, tmp_path):
    store, folder = Store.open(tmp_path), tiny_folder("llama")
    numbers = sum(w.numel() for w in weights(folder).values())
    outer = 300 * 32
    block = (numbers - outer) / 2

    def needed(method, shard, **machine):
        machine = {"device": "cpu", "precision": "float32", "shard": shard, **machine}
        study = parse_study(one_step(folder, methods=[method], machine=machine))
        return memory_estimate.memory_bytes(plan_cells(study, store)[0], study.machine)

    assert needed("lora", 4) == pytest.approx(numbers + 4 * (outer + 2 * block))
    assert needed("full", 4) == pytest.approx(4 * numbers + 4 * (outer + 2 * block) + 4 * (outer + block))
    half = {"base_precision": "bfloat16", "precision": "auto"}
    assert needed("lora", 4, **half) == pytest.approx(2 * numbers / 4 + 2 * (outer + 2 * block))
