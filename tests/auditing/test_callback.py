"""The callback does not change training (bit-equal weights), logs the results of attacks, and warns only of significant ones."""

import json
import os
import random
import re
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

import byheart
from byheart.auditing.training.callback import MemorizationWarning
from byheart.auditing.training.monitor import TrainingMonitor
from byheart.core.types import Row
from byheart.lm.preserve_state import preserve_training_state
from testing.pairs import some_of
from testing.training import MEMBERS, NONMEMBERS, TEXTS, arguments, gpt2, halves, lora, plain, tokenizer, watched

pytestmark = pytest.mark.usefixtures("training_folders")

QUIET = pytest.mark.filterwarnings("ignore::byheart.auditing.training.callback.MemorizationWarning")


def prompt(model):
    torch.manual_seed(1)
    return get_peft_model(model, PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"))


def prefix(model):
    torch.manual_seed(1)
    return get_peft_model(model, PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"))


def sft(folder, model, callbacks, *, pairs=False, **how):
    rows = [dict(zip(("prompt", "completion"), halves(t), strict=True)) if pairs else {"text": t} for t in MEMBERS]
    args = arguments(folder, SFTConfig, max_length=32, **how)
    return SFTTrainer(
        model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer(), callbacks=callbacks
    )


RUNS = {
    "full, accumulated": (plain, gpt2, {"gradient_accumulation_steps": 2}),
    "full, bfloat16, checkpointed": (plain, gpt2, {"bf16": True, "gradient_checkpointing": True}),
    "full, bfloat16 weights": (plain, lambda: gpt2(dtype=torch.bfloat16), {}),
    "lora": (plain, lambda: lora(gpt2()), {}),
    "lora, bfloat16": (plain, lambda: lora(gpt2()), {"bf16": True}),
    "prompt, bfloat16": (plain, lambda: prompt(gpt2()), {"bf16": True}),
    "prefix": (plain, lambda: prefix(gpt2()), {}),
    "sft, packed": (sft, lambda: lora(gpt2()), {"packing": True, "packing_strategy": "wrapped"}),
    "sft, completions": (sft, gpt2, {"pairs": True, "completion_only_loss": True}),
}
IN_EVERY_RUN = ("full, accumulated",)
ALL_KINDS = [
    "loss",
    "reference",
    "lowercase",
    "discoverable",
]  # scored once, compared with the base, scored otherwise, generated


@QUIET
@pytest.mark.parametrize("run", some_of(RUNS, IN_EVERY_RUN))
def test_the_final_weights_are_bit_equal(run, tmp_path):
    trainer, model, how = RUNS[run]
    found = []
    for callbacks in ([], [watched(every=2, validation=TEXTS[1:6:2], attacks=ALL_KINDS)]):
        module = model()
        trains = {n: p.requires_grad for n, p in module.named_parameters()}
        own = set(vars(module))
        made = trainer(tmp_path, module, callbacks, **how)
        made.train()
        assert {n: p.requires_grad for n, p in module.named_parameters()} == trains
        found.append((set(vars(module)) - own, {n: p.detach().clone() for n, p in module.state_dict().items()}))
        losses = [h["loss"] for h in made.state.log_history if "loss" in h]
        found[-1] += (losses, torch.get_rng_state())
    assert len(callbacks[0].evaluations) > 2
    (attributes, without, losses, state), (more, with_it, same_losses, same_state) = found
    assert any((w != v).any() for w, v in zip(without.values(), model().state_dict().values(), strict=True))
    assert attributes == more
    assert losses == same_losses
    assert torch.equal(state, same_state)
    for name, weight in without.items():
        assert torch.equal(weight, with_it[name]), name


def test_random_states_gradients_and_modes_are_restored():
    model = lora(gpt2())
    model.train()
    model.base_model.model.transformer.h[1].eval()
    weight = next(p for p in model.parameters() if p.requires_grad)
    weight.grad = torch.ones_like(weight)
    modes = [m.training for m in model.modules()]
    states = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # noqa: NPY002
    with preserve_training_state(model):
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
        byheart.token_stats(model, tokenizer(), MEMBERS[:3])
        weight.requires_grad_(False)
        model.stray = 1
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]
    assert modes == [m.training for m in model.modules()]
    assert weight.requires_grad
    assert weight.grad.eq(1).all()
    assert "stray" not in vars(model)


def auc_by_loops(scores):
    ours, theirs = scores[: len(MEMBERS)], scores[len(MEMBERS) :]
    return np.mean([(a > b) + (a == b) / 2 for a in ours for b in theirs])


@QUIET
@pytest.mark.parametrize("wrap", [lambda m: m, lora, prompt], ids=["full", "lora", "prompt"])
def test_the_last_evaluation_is_of_the_final_model_and_the_reference_is_the_base(wrap, tmp_path):
    model, base = wrap(gpt2()), gpt2().eval()
    watch = watched(validation=NONMEMBERS[:5], output=tmp_path / "rows.parquet")
    plain(tmp_path, model, [watch]).train()

    def means(module, texts):
        stats = byheart.token_stats(module, tokenizer(), texts)
        return np.array([x.mean() for x in np.split(stats.logp, stats.starts[1:-1])]), stats.logp.mean()

    after, before = (means(m, MEMBERS + NONMEMBERS)[0] for m in (model, base))
    last = watch.evaluations[-1]
    assert last.scores["loss"] == pytest.approx(after, abs=1e-5)
    assert last.scores["reference"] == pytest.approx(after - before, abs=1e-5)
    assert last.value("auc", "loss") == pytest.approx(auc_by_loops(last.scores["loss"]))
    assert last.value("perplexity") == pytest.approx(np.exp(-means(model, NONMEMBERS[:5])[1]), rel=1e-4)
    assert watch.evaluations[0].scores["loss"] == pytest.approx(
        before, abs=1e-5
    )  # the base, not a fresh prompt before it
    assert [r.epoch for r in watch.rows if r.attack == "loss"] == [0, 1, 2]
    assert {r.method for r in watch.rows} == {
        "full" if wrap(gpt2()).__class__.__name__.startswith("GPT2") else wrap.__name__
    }
    import pandas as pd

    assert pd.read_parquet(tmp_path / "rows.parquet")["value"].tolist() == [r.value for r in watch.rows]


class Recorder(TrainerCallback):
    def __init__(self):
        self.seen = []

    def on_log(self, _args, state, _control, logs=None, **_kwargs):
        self.seen.append((state.global_step, dict(logs)))


@QUIET
@pytest.mark.parametrize("trainer", [plain, sft])
def test_numbers_reach_all_loggers_and_do_not_replace_the_trainers(trainer, tmp_path):
    logs = []
    for callbacks in ([Recorder()], [Recorder(), watched(every=3)]):
        made = trainer(tmp_path, gpt2(), callbacks)
        made.train()
        logs.append(callbacks[0].seen)
    ours = [(step, found) for step, found in logs[1] if any("memorization" in n for n in found)]
    assert [step for step, _ in ours] == [0, 3, 6, 9, 10]
    assert all({"eval_memorization/auc/loss", "eval_memorization/auc_low/loss", "epoch"} <= set(f) for _, f in ours)
    assert not any("mean_token_accuracy" in found for _, found in ours)
    timed = ("runtime", "second", "flos")

    def lasting(seen):
        return [
            (step, {n: v for n, v in found.items() if not any(t in n for t in timed)})
            for step, found in seen
            if not any("memorization" in n for n in found)
        ]

    assert lasting(logs[0]) == lasting(logs[1])
    stored = [h for h in made.state.log_history if "eval_memorization/auc/loss" in h]
    assert [h["step"] for h in stored] == [0, 3, 6, 9, 10]
    assert [h["eval_memorization/auc/loss"] for h in stored] == [
        x.value("auc", "loss") for x in callbacks[1].evaluations
    ]


@QUIET
def test_tensorboard_receives_the_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    os.environ["TENSORBOARD_LOGGING_DIR"] = str(tmp_path / "board")
    try:
        plain(tmp_path, gpt2(), [watched()], report_to=["tensorboard"]).train()
    finally:
        del os.environ["TENSORBOARD_LOGGING_DIR"]
    written = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [e.step for e in written.Scalars("eval/memorization/auc/loss")] == [0, 5, 10]


def test_it_warns_once_per_attack_and_stops_at_the_bound(tmp_path, monkeypatch):
    # Places separate these members from non-members, so the split check is broken and there would be no warning.
    monkeypatch.setattr(TrainingMonitor, "gate", None)
    watch = watched(stop_above=0.6, attacks=["loss"])
    made = plain(tmp_path, gpt2(), [watch], num_train_epochs=8, learning_rate=2e-2)
    with pytest.warns(MemorizationWarning) as reported:
        made.train()
    texts = [str(w.message) for w in reported]
    assert sum("leaks its training texts" in t and ": loss has AUC" in t for t in texts) == 1
    assert sum("training stops" in t and "above 0.6" in t for t in texts) == 1
    assert sum("100 non-members" in t for t in texts) == 1
    assert made.state.global_step == watch.evaluations[-1].step < 40
    assert watch.leaking == ["loss"]


@QUIET
def test_a_resumed_training_warns_that_the_base_model_is_missing(tmp_path):
    plain(tmp_path, gpt2(), [], save_strategy="epoch").train()
    watch = watched()
    with pytest.warns(MemorizationWarning, match="step 5"):
        plain(tmp_path, gpt2(), [watch], save_strategy="epoch").train(str(tmp_path / "checkpoint-5"))
    assert [x.step for x in watch.evaluations] == [10]
    plain(tmp_path / "lora", lora(gpt2()), [], save_strategy="epoch").train()
    watch = watched()
    plain(tmp_path / "lora", lora(gpt2()), [watch], save_strategy="epoch").train(
        str(tmp_path / "lora" / "checkpoint-5")
    )
    assert [x.step for x in watch.evaluations] == [0, 10]  # an adapter can be disabled, so the base is available
    assert not any(watch.evaluations[0].scores["reference"])


@QUIET
def test_a_diverged_model_does_not_fail_in_the_callback(tmp_path):
    class Poison(TrainerCallback):
        def on_step_end(self, _args, state, _control, model=None, **_kwargs):
            if state.global_step == 7:
                with torch.no_grad():
                    model.transformer.wte.weight.fill_(float("nan"))

    watch = watched()
    with pytest.warns(MemorizationWarning, match="step 10"):
        plain(tmp_path, gpt2(), [Poison(), watch]).train()
    assert [x.step for x in watch.evaluations] == [0, 5]


@QUIET
def test_outputs_are_complete_and_a_notebook_shows_the_curve(tmp_path, monkeypatch):
    shown = []
    place = types.SimpleNamespace(update=shown.append)
    kernel = type("ZMQInteractiveShell", (), {})()
    display = types.ModuleType("IPython.display")
    display.SVG = lambda data: data
    display.display = lambda picture, **_: shown.append(picture) or place
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: kernel
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    watch = watched(output=tmp_path / "rows.jsonl", plot=tmp_path / "curve.svg", max_texts=12, every=4)
    plain(tmp_path / "out", gpt2(), [watch]).train()
    assert len(shown) == len(watch.evaluations) == 4
    assert shown[-1].startswith(b"<svg")
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["curve.svg", "rows.jsonl"]
    assert [Row(**json.loads(line)) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == watch.rows
    assert {r.members for r in watch.rows} == {12}
    assert not {"_monitor", "_trainer"} & set(vars(watch))  # stored rows do not reference the model
    assert [r.training_settings for r in watch.rows[::2]] == ["step=0", "step=4", "step=8", "step=10"]
    assert 0 < watch.overhead < 1


ROOT = Path(__file__).parents[2]


@QUIET
def test_the_python_of_the_tutorial_runs(tmp_path):
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/tutorials/watch_training.md").read_text(), re.MULTILINE | re.DOTALL
    )
    names = {
        "model": lora(gpt2()),
        "tokenizer": tokenizer(),
        "train_dataset": Dataset.from_dict({"text": MEMBERS}),
        "args": arguments(tmp_path, SFTConfig, max_length=32),
        "members": MEMBERS,
        "nonmembers": NONMEMBERS[5:],
        "validation": NONMEMBERS[:5],
    }
    for block in blocks:
        exec(block, names)  # noqa: S102 - the tutorial's own code
    reported = (ROOT / "docs/tutorials/watch_training.md").read_text()
    for name in ("auc/loss", "auc_low/loss", "perplexity", "seconds"):
        assert f"eval_memorization/{name}" in reported
        assert f"eval_memorization/{name}" in names["trainer"].state.log_history[0]
    assert len(names["watch"].evaluations) == 3


def test_the_example_runs(tiny_folder, tmp_path, monkeypatch, capsys):
    words = ["--model", str(tiny_folder("llama")), "--output", str(tmp_path / "out"), "--texts", "20", "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["watch_training.py", *words])
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    runpy.run_path(str(ROOT / "examples/watch_training.py"), run_name="__main__")
    assert re.search(r"^ +0 +0\.\d\d \[", capsys.readouterr().out, re.MULTILINE)
    assert {"rows.jsonl", "curve.svg", "adapter"} <= {p.name for p in (tmp_path / "out").iterdir()}
