"""The callback leaves training bit for bit as it was, logs what the attacks find, and says no more than they show."""

import ast
import json
import os
import random
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

import byheart
from byheart.auditing.texts import render_texts, texts_by_part
from byheart.auditing.training.alarms import Evaluation, leaking_attacks, rising_attacks, separable_on_base
from byheart.auditing.training.callback import MemorizationCallback, MemorizationWarning
from byheart.core.errors import DataError, ModelError, SettingError, UnknownNameError
from byheart.core.types import Row
from byheart.lm.preserve_state import check_not_sharded, preserve_training_state
from byheart.stats.leakage_tests import ALPHA, RecordLabels, p_value_auc_above, significant_attacks
from byheart.stats.roc_auc import auc_interval
from testing.made_up import WHERE, WHO

TEXTS = [f"{who} {where} in {n}." for n, (who, where) in enumerate((a, b) for a in WHO for b in WHERE)]
MEMBERS, NONMEMBERS = TEXTS[::2], TEXTS[1::2]
QUIET = pytest.mark.filterwarnings("ignore::byheart.auditing.training.callback.MemorizationWarning")


FOLDERS = {}


@pytest.fixture(autouse=True, scope="module")
def folders(tiny_folder):
    FOLDERS.update({name: str(tiny_folder(name)) for name in ("gpt2", "gemma")})


def tokenizer(**how):
    made = AutoTokenizer.from_pretrained(FOLDERS["gpt2"])
    made.pad_token = made.eos_token
    for name, value in how.items():
        setattr(made, name, value)
    return made


def gpt2(**how):
    """A model with dropout in training: whoever draws one number too many from torch changes its weights."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(FOLDERS["gpt2"]), **how)


def lora(model):
    torch.manual_seed(1)
    made = get_peft_model(model, LoraConfig(r=4, lora_dropout=0.2, target_modules=["c_attn"], task_type="CAUSAL_LM"))
    for name, weight in made.named_parameters():
        if "h.0" in name and "lora_A" in name:
            weight.requires_grad_(False)  # a part of the adapter is frozen by hand
    return made


def prompt(model):
    torch.manual_seed(1)
    return get_peft_model(model, PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"))


def prefix(model):
    torch.manual_seed(1)
    return get_peft_model(model, PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"))


def arguments(folder, kind=TrainingArguments, **how):
    usual = {
        "output_dir": str(folder),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "bf16": False,
    }
    return kind(**{**usual, **how})


def plain(folder, model, callbacks, **how):
    made = tokenizer()
    rows = Dataset.from_list([dict(made(t)) for t in MEMBERS])
    return Trainer(
        model=model,
        args=arguments(folder, **how),
        train_dataset=rows,
        data_collator=DataCollatorForLanguageModeling(made, mlm=False),
        processing_class=made,
        callbacks=callbacks,
    )


def sft(folder, model, callbacks, *, pairs=False, **how):
    rows = [dict(zip(("prompt", "completion"), halves(t), strict=True)) if pairs else {"text": t} for t in MEMBERS]
    args = arguments(folder, SFTConfig, max_length=32, **how)
    return SFTTrainer(
        model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer(), callbacks=callbacks
    )


def halves(text):
    words = text.split(" ")
    return " ".join(words[:3]), " " + " ".join(words[3:])


def watched(**how):
    return MemorizationCallback(MEMBERS, NONMEMBERS, **{"attacks": ["loss", "reference"], **how})


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


ALL_KINDS = ["loss", "reference", "lowercase", "discoverable"]  # read once, against the base, otherwise, written


@QUIET
@pytest.mark.parametrize("run", list(RUNS))
def test_the_final_weights_are_the_same_bit_for_bit(run, tmp_path):
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


def test_random_states_gradients_and_modes_are_put_back():
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
def test_the_last_look_is_of_the_final_model_and_the_reference_of_the_untuned_one(wrap, tmp_path):
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
def test_numbers_reach_loggers_that_come_first_and_take_nothing_from_the_trainers_own(trainer, tmp_path):
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
    held = [h for h in made.state.log_history if "eval_memorization/auc/loss" in h]
    assert [h["step"] for h in held] == [0, 3, 6, 9, 10]
    assert [h["eval_memorization/auc/loss"] for h in held] == [x.value("auc", "loss") for x in callbacks[1].evaluations]


@QUIET
def test_tensorboard_is_written_to(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    os.environ["TENSORBOARD_LOGGING_DIR"] = str(tmp_path / "board")
    try:
        plain(tmp_path, gpt2(), [watched()], report_to=["tensorboard"]).train()
    finally:
        del os.environ["TENSORBOARD_LOGGING_DIR"]
    written = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [e.step for e in written.Scalars("eval/memorization/auc/loss")] == [0, 5, 10]


def test_it_warns_once_of_each_attack_and_stops_where_told(tmp_path):
    watch = watched(stop_above=0.6, attacks=["loss"])
    made = plain(tmp_path, gpt2(), [watch], num_train_epochs=8, learning_rate=2e-2)
    with pytest.warns(MemorizationWarning) as told:
        made.train()
    texts = [str(w.message) for w in told]
    assert sum("knows its training texts: loss" in t for t in texts) == 1
    assert sum("training stops" in t and "above 0.6" in t for t in texts) == 1
    assert sum("needs 100 non-members" in t for t in texts) == 1
    assert made.state.global_step == watch.evaluations[-1].step < 40
    assert watch.leaking == ["loss"]


@QUIET
def test_a_resumed_training_says_that_the_untuned_model_is_not_here(tmp_path):
    plain(tmp_path, gpt2(), [], save_strategy="epoch").train()
    watch = watched()
    with pytest.warns(MemorizationWarning, match="goes on from step 5"):
        plain(tmp_path, gpt2(), [watch], save_strategy="epoch").train(str(tmp_path / "checkpoint-5"))
    assert [x.step for x in watch.evaluations] == [10]
    plain(tmp_path / "lora", lora(gpt2()), [], save_strategy="epoch").train()
    watch = watched()
    plain(tmp_path / "lora", lora(gpt2()), [watch], save_strategy="epoch").train(
        str(tmp_path / "lora" / "checkpoint-5")
    )
    assert [x.step for x in watch.evaluations] == [0, 10]  # an adapter is switched off, and the base is there
    assert not any(watch.evaluations[0].scores["reference"])


@QUIET
def test_a_model_that_diverges_is_not_the_callbacks_to_judge(tmp_path):
    class Poison(TrainerCallback):
        def on_step_end(self, _args, state, _control, model=None, **_kwargs):
            if state.global_step == 7:
                with torch.no_grad():
                    model.transformer.wte.weight.fill_(float("nan"))

    watch = watched()
    with pytest.warns(MemorizationWarning, match="no numbers after step 10"):
        plain(tmp_path, gpt2(), [Poison(), watch]).train()
    assert [x.step for x in watch.evaluations] == [0, 5]


@QUIET
def test_outputs_are_whole_and_a_notebook_shows_the_curve(tmp_path, monkeypatch):
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
    assert not {"_watch", "_trainer"} & set(vars(watch))  # rows that are kept keep no model
    assert [r.training_settings for r in watch.rows[::2]] == ["step=0", "step=4", "step=8", "step=10"]
    assert 0 < watch.overhead < 1


CHAT = [
    {"role": "user", "content": "Who wrote letters?"},
    {"role": "assistant", "content": "im"},
    {"role": "user", "content": "To whom?"},
    {"role": "assistant", "content": " The queen of Lisbon. "},
]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_of_a_chat_only_what_the_assistant_says_is_scored():
    held = {"messages": CHAT}, {"prompt": CHAT[:3], "completion": CHAT[3:]}
    texts, groups = render_texts(
        "member", texts_by_part(held, MEMBERS, None)["member"], 9, tokenizer(chat_template=TEMPLATE)
    )
    assert texts.scored == ("im", "The queen of Lisbon.", "The queen of Lisbon.")
    assert texts.prompts[0] == "<|im_start|>user\nWho wrote letters?<|im_end|>\n<|im_start|>assistant\n"
    assert texts.prompts[1] == texts.prompts[2]
    assert texts.prompts[1].startswith(texts.prompts[0] + "im<|im_end|>")
    assert groups[0] == groups[1] != groups[2]
    with_bos = AutoTokenizer.from_pretrained(FOLDERS["gemma"])
    with_bos.chat_template = "<s>" + TEMPLATE
    assert render_texts("m", texts_by_part(held, MEMBERS, None)["member"], 9, with_bos)[0].prompts == texts.prompts
    most = render_texts("m", texts_by_part(held * 9, MEMBERS, None)["member"], 4, tokenizer(chat_template=TEMPLATE))
    assert len(most[0]) <= 4
    for template, said in (
        (None, "no chat template"),
        ("{{ raise_exception('no') }}", "refuses it"),
        ("x", "leaves out"),
    ):
        with pytest.raises(DataError, match=said):
            render_texts("m", texts_by_part(held, MEMBERS, None)["member"], 9, tokenizer(chat_template=template))


def test_copies_are_one_group_and_other_shapes_are_the_same_texts():
    pair = halves(MEMBERS[0])
    record = {"prompt": pair[0], "completion": pair[1], "id": 3}
    given = texts_by_part([pair, list(pair), record, {"text": "x y"}], byheart.Texts(("a",), ("b",), ("c",)), None)
    texts, groups = render_texts("member", given["member"], 9, None)
    assert texts.scored == (pair[1], pair[1], pair[1], "x y")
    assert groups[0] == groups[1] == groups[2] != groups[3]
    assert render_texts("n", given["nonmember"], 9, None)[0] == byheart.Texts(("n/a",), ("b",), ("c",))


REFUSED = {
    "no Texts": (DataError, "there are no texts", (byheart.Texts((), ()), NONMEMBERS), {}),
    "no texts": (DataError, "there are no texts", ([], NONMEMBERS), {}),
    "one string": (DataError, "is one string", ("text", NONMEMBERS), {}),
    "empty": (DataError, "nonmember text '1' is empty", (MEMBERS, ["a", " "]), {}),
    "both sides": (DataError, "nonmember text '1' is member text '0' too", (MEMBERS, ["a", MEMBERS[0]]), {}),
    "trained on": (DataError, "validation text '0' is member", (MEMBERS, NONMEMBERS), {"validation": MEMBERS[:1]}),
    "fields": (DataError, "has the fields body, id", ([{"body": "a", "id": 1}], NONMEMBERS), {}),
    "number": (DataError, "is a int", ([3], NONMEMBERS), {}),
    "silent": (DataError, "no words of the assistant", ([{"messages": CHAT[:1]}], NONMEMBERS), {}),
    "message": (DataError, "needs a `role`", ([{"messages": ["hi"]}], NONMEMBERS), {}),
    "attack": (UnknownNameError, "did you mean 'loss'", (MEMBERS, NONMEMBERS), {"attacks": ["los"]}),
    "setting": (SettingError, "attacks min_k: k", (MEMBERS, NONMEMBERS), {"attacks": [{"min_k": {"k": 2}}]}),
    "twice": (SettingError, "named twice", (MEMBERS, NONMEMBERS), {"attacks": ["loss", "loss"]}),
    "all": (SettingError, "a study does", (MEMBERS, NONMEMBERS), {"attacks": "all"}),
    "none": (SettingError, "none is named", (MEMBERS, NONMEMBERS), {"attacks": []}),
    "every": (SettingError, "every = 0: write a whole number above 0, or epoch", (MEMBERS, NONMEMBERS), {"every": 0}),
    "max_texts": (SettingError, "max_texts = 0", (MEMBERS, NONMEMBERS), {"max_texts": 0}),
    "fpr": (SettingError, "tpr_at_fpr: fpr", (MEMBERS, NONMEMBERS), {"fpr": 2.0}),
    "bound": (SettingError, "stop_above = 1.0", (MEMBERS, NONMEMBERS), {"stop_above": 1.0}),
    "rises": (SettingError, "pass validation", (MEMBERS, NONMEMBERS), {"stop_when_leakage_rises": True}),
    "ending": (SettingError, "end it in .jsonl", (MEMBERS, NONMEMBERS), {"output": "rows.pickle"}),
    "folder": (SettingError, "make it first", (MEMBERS, NONMEMBERS), {"plot": "/nowhere/at/all.svg"}),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_bad_request_is_refused_in_one_line_before_any_training(case):
    kind, said, texts, how = REFUSED[case]
    with pytest.raises(kind, match=said) as caught:
        MemorizationCallback(*texts, **how)
    assert "\n" not in str(caught.value)


def test_what_only_the_trainer_shows_is_refused_before_the_first_step(tmp_path):
    made = plain(tmp_path, gpt2(), [watched()])
    made.processing_class = made.callback_handler.processing_class = None
    with pytest.raises(DataError, match="no tokenizer"):
        made.train()
    assert made.state.global_step == 0
    with pytest.warns(MemorizationWarning, match="of 40 texts are longer than 5 tokens"):
        plain(tmp_path, gpt2(), [watched(max_tokens=5)], max_steps=1).train()
    foreign = tokenizer()
    foreign.add_tokens([MEMBERS[0][:9]])
    with pytest.raises(ModelError, match=r"gives token 3.., and the model knows 300"):
        plain(tmp_path, gpt2(), [watched(tokenizer=foreign)]).train()


def test_few_texts_give_numbers_and_no_verdict(tmp_path):
    watch = MemorizationCallback(MEMBERS[:19], NONMEMBERS, attacks=["loss"], stop_above=0.5)
    made = plain(tmp_path, gpt2(), [watch], num_train_epochs=6)
    with pytest.warns(MemorizationWarning, match="fewer than 20 texts a side") as told:
        made.train()
    assert len(told) == 2  # the other: 1 % cannot be resolved
    assert watch.evaluations[-1].value("auc", "loss") > 0.95
    assert made.state.global_step == 30


def test_shared_out_weights_are_refused(monkeypatch):
    from torch.distributed.fsdp import fully_shard

    model = gpt2()
    check_not_sharded(model)
    with monkeypatch.context() as patched:
        patched.setattr("transformers.integrations.deepspeed.is_deepspeed_zero3_enabled", lambda: True)
        with pytest.raises(ModelError, match="ZeRO-3 keeps a share"):
            check_not_sharded(model)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(ModelError, match="FSDP2 keeps a share"):
            check_not_sharded(fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (1,))))
    finally:
        torch.distributed.destroy_process_group()


def looks_of(generator, *, texts, count, attacks=3, gain=0.0, perplexities=()):
    """Looks at scores that depend on each other across looks and attacks, as one model's on the same texts do."""
    members = np.arange(2 * texts) < texts
    shared, past = generator.normal(size=2 * texts), []
    for k in range(count + 1):
        found = {
            str(a): 0.6 * shared + 0.8 * generator.normal(size=2 * texts) + gain * k * members for a in range(attacks)
        }
        useful = [perplexity_row(perplexities[k])] if perplexities else []
        past.append(Evaluation(k, float(k), found, tuple(useful)))
    return past, RecordLabels(members, tuple(map(str, range(2 * texts))))


def perplexity_row(value):
    kinds = {"str": "", "int": 0, "int | None": 0, "float | None": None, "float": value}
    return Row(**{**{name: kinds[kind] for name, kind in Row.__annotations__.items()}, "metric": "perplexity"})


def test_a_p_value_is_that_of_the_interval_it_belongs_to():
    generator = np.random.default_rng(0)
    for gain in (0.3, 1.0, 9.0):  # the last separates without exception: Hoeffding's
        past, sides = looks_of(generator, texts=40, count=1, gain=gain)
        scores = past[1].scores["0"]
        _, (low, _) = auc_interval(scores, *sides)
        assert p_value_auc_above(scores, sides, low) == pytest.approx(0.025, rel=1e-3)
    assert p_value_auc_above(-scores, sides, 0.5) > 0.99


def test_a_p_value_holds_over_all_attacks_and_looks():
    p_values = {"a": 0.004, "b": 0.0009, "c": 0.5, "d": 0.0024}
    for looks in (1, 4, 10):
        kept, left = set(), len(p_values)
        for name in sorted(p_values, key=p_values.get):  # Holm, step by step
            if p_values[name] * left * looks > ALPHA:
                break
            kept.add(name)
            left -= 1
        assert set(significant_attacks(p_values, looks)) == kept
    assert significant_attacks(p_values, 1) == ("a", "b", "d")
    assert significant_attacks(p_values, 10) == ("b",)


def test_looks_do_not_wear_chance_out():
    generator = np.random.default_rng(4)
    alarms = naive = 0
    for _ in range(150):
        past, sides = looks_of(generator, texts=40, count=8)
        alarms += any(leaking_attacks(past[: k + 1], sides, 8) for k in range(1, 9))
        naive += any(p_value_auc_above(s, sides, 0.5) < 0.025 for look in past[1:] for s in look.scores.values())
    assert alarms <= 14  # 5 % of 150 with room
    assert naive > 30


def test_a_leak_must_rise_above_what_the_untuned_model_shows():
    past, sides = looks_of(np.random.default_rng(5), texts=80, count=2, attacks=1)
    skewed = [x._replace(scores={"0": x.scores["0"] + 2.0 * sides.membership}) for x in past]
    assert separable_on_base(skewed[0], sides) == ("0",)
    assert leaking_attacks(skewed, sides, 2) == ()
    assert leaking_attacks(skewed[1:], sides, 2) == ("0",)  # without the untuned look nothing is known of that
    more = [*skewed[:2], skewed[2]._replace(scores={"0": skewed[2].scores["0"] + 9.0 * sides.membership})]
    assert leaking_attacks(more, sides, 2) == ("0",)


@pytest.mark.parametrize(
    ("perplexities", "stops"), [((9.0, 8.0, 8.5), True), ((8.0, 8.0, 8.5), True), ((9.0, 8.0, 7.5), False), ((), False)]
)
def test_leakage_rises_only_where_the_validation_perplexity_no_longer_improves(perplexities, stops):
    past, sides = looks_of(np.random.default_rng(6), texts=80, count=2, gain=1.0, perplexities=perplexities)
    assert bool(rising_attacks(past, sides, 2)) == stops
    still, sides = looks_of(np.random.default_rng(7), texts=80, count=2, perplexities=(9.0, 8.0, 8.5))
    assert rising_attacks(still, sides, 2) == ()


SCRIPT = """
import sys, warnings, torch
sys.path[:0] = sys.argv[1].split(':')
import test_callback as t
t.FOLDERS["gpt2"] = sys.argv[3]
rank = int(__import__("os").environ.get("RANK", 0))
made = []
for callbacks in ([], [t.watched(every=2)], [t.watched(stop_above=0.5, every=2)]):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = t.plain(sys.argv[2], t.gpt2(), callbacks, ddp_backend="gloo", num_train_epochs=6)
        trainer.train()
    assert torch.distributed.get_world_size() == 2
    assert not callbacks or bool(callbacks[0].rows) == (rank == 0)
    made.append((trainer.state.global_step, [p.detach().clone() for p in trainer.model.parameters()]))
assert all(torch.equal(a, b) for a, b in zip(made[0][1], made[1][1], strict=True))
said = [made[1][0], made[2][0]]
class Broken(t.MemorizationCallback):
    def _evaluate_and_warn(self, *_):
        raise KeyError("mine")
try:
    t.plain(sys.argv[2], t.gpt2(), [Broken(t.MEMBERS, t.NONMEMBERS)], ddp_backend="gloo").train()
except Exception as error:
    said.append(type(error).__name__)
open(f"{sys.argv[2]}.{rank}", "w").write(repr(said))
"""


def two_processes(code, tmp_path):
    """What each of two processes that run this code leaves."""
    script = tmp_path / "train.py"
    script.write_text(code)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ran = subprocess.run(
        [
            *start,
            script,
            os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])]),
            tmp_path / "out",
            FOLDERS["gpt2"],
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [(tmp_path / f"out.{rank}").read_text() for rank in (0, 1)]


def test_two_processes_train_as_without_it_stop_together_and_never_wait_for_ever(tmp_path):
    first, second = (ast.literal_eval(told) for told in two_processes(SCRIPT, tmp_path))
    assert first[:2] == second[:2]
    assert first[1] < first[0] == 18
    assert (first[2], second[2]) == ("KeyError", "ModelError")


SHARED = '''
import sys, warnings, torch
sys.path[:0] = sys.argv[1].split(':')
import test_callback as t
import byheart
from torch.distributed.fsdp import fully_shard
from byheart.attacks.loss import loss
t.FOLDERS["gpt2"] = sys.argv[3]
rank = int(__import__("os").environ.get("RANK", 0))
def shared(model, trainer):
    """Share the weights out by hand: on processors without a GPU accelerate would take DistributedDataParallel instead."""
    mesh = torch.distributed.init_device_mesh("cpu", (2,))
    for layer in (model.get_base_model() if hasattr(model, "peft_config") else model).transformer.h:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    trainer.accelerator.prepare_model = lambda model, **_: model
said, weights = [], []
stopping = t.watched(stop_above=0.5, every=2)
for wrap, watches in ((t.gpt2, (None, t.watched(), stopping)), (lambda: t.lora(t.gpt2()), (None, t.watched()))):
    for watch in watches:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = wrap()
            trainer = t.plain(sys.argv[2], model, [watch] if watch else [], num_train_epochs=3, ddp_backend="gloo")
            shared(model, trainer)
            trainer.train()
        whole = {n: p.full_tensor().detach() for n, p in trainer.model.named_parameters()}
        assert any(isinstance(p, torch.distributed.tensor.DTensor) for p in trainer.model.parameters())
        if watch is None:
            weights = whole
        elif watch.stop_above is None:
            assert all(torch.equal(p, weights[n]) for n, p in whole.items())
            assert bool(watch.evaluations) == (rank == 0)
            own = wrap().eval()
            own.load_state_dict(whole, strict=False)
            told = byheart.token_stats(own, t.tokenizer(), [*t.MEMBERS, *t.NONMEMBERS])
            for look in watch.evaluations[-1:]:
                assert abs(look.scores["loss"] - loss(told)).max() < 1e-4
            base = byheart.token_stats(t.gpt2().eval(), t.tokenizer(), [*t.MEMBERS, *t.NONMEMBERS])
            for look in watch.evaluations[:1]:
                assert abs(look.scores["loss"] - loss(base)).max() < 1e-4
        else:
            said.append(trainer.state.global_step)
open(f"{sys.argv[2]}.{rank}", "w").write(repr(said))
'''


def test_weights_that_processes_share_out_are_looked_at_by_all_of_them(tmp_path):
    """FSDP2, full and LoRA: weights as without it, scores those of the whole model, all stop together."""
    said = [ast.literal_eval(told) for told in two_processes(SHARED, tmp_path)]
    assert said[0] == said[1]
    assert said[0][0] < 9


@pytest.mark.parametrize("how", ["FSDP1", "DeepSpeed ZeRO-3", "tensor parallelism"])
def test_weights_shared_out_in_other_ways_are_left_to_the_end_in_plain_words(tmp_path, monkeypatch, how):
    monkeypatch.setattr("byheart.auditing.training.callback.sharing", lambda _: how)
    trained = plain(tmp_path, gpt2(), [watch := watched()])
    with pytest.warns(MemorizationWarning) as said:
        trained.train()
    (told,) = [str(w.message) for w in said if w.category is MemorizationWarning]
    assert told.startswith(f"{how} keeps a share of the weights on each process: nothing is looked at while it trains.")
    assert "byheart audit --model" in told
    assert watch.rows == []
    assert trained.state.global_step > 0
    with pytest.raises(ModelError, match="cannot be watched, nor stopped"):
        plain(tmp_path, gpt2(), [watched(stop_above=0.6)]).train()


def test_importing_byheart_loads_neither_torch_nor_transformers():
    code = "import sys, byheart; assert not {'torch', 'transformers', 'peft'} & set(sys.modules); byheart.MemorizationCallback"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


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
    told = (ROOT / "docs/tutorials/watch_training.md").read_text()
    for name in ("auc/loss", "auc_low/loss", "perplexity", "seconds"):
        assert f"eval_memorization/{name}" in told
        assert f"eval_memorization/{name}" in names["trainer"].state.log_history[0]
    assert len(names["watch"].evaluations) == 3


def test_the_example_runs(tiny_folder, tmp_path):
    ask = [
        sys.executable,
        ROOT / "examples/watch_training.py",
        "--model",
        tiny_folder("llama"),
        "--output",
        tmp_path / "out",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    ran = subprocess.run(
        [*ask, "--texts", "20", "--epochs", "1"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert re.search(r"^ +0 +0\.\d\d \[", ran.stdout, re.MULTILINE)
    assert {"rows.jsonl", "curve.svg", "adapter"} <= {p.name for p in (tmp_path / "out").iterdir()}
