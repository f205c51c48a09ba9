"""An audit of a finished model: the numbers are those of the model, bad input is one line, a result is whole or not there."""

import importlib.util
import json
import math
import re
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from peft import (
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.attacks.loss import loss
from byheart.attacks.reference import reference
from byheart.auditing.settings import AuditSettings
from byheart.auditing.texts import parse_texts
from byheart.auditing.thresholds import Bound, crossed_bounds
from byheart.auditing.verdict import Ruling, holm_adjusted, ruling, smallest_detectable_auc
from byheart.cli.main import main
from byheart.core import registry
from byheart.core.errors import DataError, ModelError, SettingError, UnknownNameError
from byheart.core.types import Row
from byheart.lm import memory_check
from byheart.lm.finetuned import model_files
from byheart.lm.forward import Scorer
from byheart.stats.leakage_tests import RecordLabels
from testing.stand_in_server import StandIn

WHO = ("The old sailor wrote", "A young doctor sang", "My tall painter ran", "One quiet pilot fell", "Her nurse slept")
WHERE = (
    "to the queen",
    "for a baker",
    "near Lisbon",
    "with the judge",
    "at the sea",
    "by Minsk",
    "over Oslo",
    "in Cairo",
)
TEXTS = [f"{who} {where}, {what}." for who in WHO for where in WHERE for what in ("alone", "at noon")]
ORDER = np.random.default_rng(0).permutation(len(TEXTS))
MEMBERS, NONMEMBERS = [TEXTS[i] for i in ORDER[:32]], [TEXTS[i] for i in ORDER[32:64]]
VALIDATION = [TEXTS[i] for i in ORDER[64:]]
ADAPTERS = {
    "lora": (LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"), 3e-2),
    "prefix": (PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"), 1e-1),
    "prompt": (PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"), 1e-1),
    "p_tuning": (PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=16, task_type="CAUSAL_LM"), 1e-2),
}
SHORT = ("loss", "reference")


@pytest.fixture(scope="module")
def base(tiny_folder):
    return str(tiny_folder("llama"))


def trained(module, tokenizer, rate, steps=12):
    """Train as anybody would: plain torch, all members in one batch."""
    torch.manual_seed(0)
    tokenizer.pad_token = tokenizer.eos_token
    batch = tokenizer(MEMBERS, return_tensors="pt", padding=True)
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    optimiser = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=rate)
    for _ in range(steps):
        module(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return module


@pytest.fixture(scope="module")
def saved(base, tmp_path_factory):
    """A folder of finished models, saved by plain transformers and peft: full, lora, prefix, prompt, p_tuning."""
    folder, tokenizer = tmp_path_factory.mktemp("finished"), AutoTokenizer.from_pretrained(base)
    trained(AutoModelForCausalLM.from_pretrained(base), tokenizer, 1e-2, 60).save_pretrained(folder / "full")
    tokenizer.save_pretrained(folder / "full")
    for name, (config, rate) in ADAPTERS.items():
        torch.manual_seed(1)
        trained(get_peft_model(AutoModelForCausalLM.from_pretrained(base), config), tokenizer, rate).save_pretrained(
            folder / name
        )
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Members and non-members as JSONL with ids."""
    folder = tmp_path_factory.mktemp("texts")
    for name, texts in (("members", MEMBERS), ("nonmembers", NONMEMBERS), ("validation", VALIDATION)):
        records(folder / f"{name}.jsonl", [{"id": f"{name[0]}-{i}", "text": t} for i, t in enumerate(texts)])
    return folder


def records(path, items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return str(path)


def opened(base, saved, name):
    if name == "full":
        return AutoModelForCausalLM.from_pretrained(saved / "full")
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), saved / name)


@pytest.fixture
def command(typed_audit, files):
    """A function that runs `byheart audit` as a person types it, and gives exit code, output and complaints."""

    def run(*words, members="members.jsonl", nonmembers="nonmembers.jsonl", device="cpu"):
        sides = ["--members", str(files / members), "--nonmembers", str(files / nonmembers)]
        return typed_audit(*words, *sides, "--device", device)

    return run


def refusal(told):
    """The one line that a refusal is."""
    code, _, complaints = told
    lines = [line for line in complaints.splitlines() if line.startswith("byheart:")]
    assert code == 2
    assert len(lines) == 1
    assert "Traceback" not in complaints
    return lines[0]


@pytest.mark.parametrize("name", ["full", *ADAPTERS])
def test_scores_are_those_of_the_model_and_of_its_base(base, saved, files, command, name):
    words = ["--base", base] if name == "full" else []
    code, out, _ = command("--model", saved / name, *words, "--attacks", "loss,reference", "--json")
    told = json.loads(out)
    assert code == 0

    tokenizer = AutoTokenizer.from_pretrained(base)
    own = byheart.token_stats(opened(base, saved, name), tokenizer, MEMBERS + NONMEMBERS)
    plain = byheart.token_stats(AutoModelForCausalLM.from_pretrained(base), tokenizer, MEMBERS + NONMEMBERS)
    in_memory = byheart.audit(
        opened(base, saved, name),
        tokenizer,
        MEMBERS,
        NONMEMBERS,
        base=AutoModelForCausalLM.from_pretrained(base) if name == "full" else None,
        attacks=SHORT,
    )
    np.testing.assert_allclose(in_memory.scores[1]["loss"], loss(own), atol=1e-5)
    np.testing.assert_allclose(in_memory.scores[0]["loss"], loss(plain), atol=1e-5)  # the adapter switched off
    np.testing.assert_allclose(in_memory.scores[1]["reference"], reference(own, plain), atol=1e-5)
    assert not in_memory.scores[0]["reference"].any()
    aucs = {(r["attack"], r["epoch"]): r["value"] for r in told["rows"] if r["metric"] == "auc"}
    ours = {(r.attack, r.epoch): r.value for r in in_memory.rows if r.metric == "auc"}
    assert aucs == pytest.approx(ours)
    assert {r.method for r in in_memory.rows} == {r["method"] for r in told["rows"]} == {name}


def test_a_model_in_memory_is_left_as_it_was(base, saved):
    model = opened(base, saved, "lora").train()
    model.base_model.model.model.layers[0].eval()
    frozen = next(p for n, p in model.named_parameters() if "lora_A" in n)
    frozen.requires_grad_(True)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    states = [(p.training, n) for n, p in model.named_modules()], [p.requires_grad for p in model.parameters()]
    torch.manual_seed(5)
    byheart.audit(model, AutoTokenizer.from_pretrained(base), MEMBERS, NONMEMBERS, attacks=SHORT)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert states == (
        [(p.training, n) for n, p in model.named_modules()],
        [p.requires_grad for p in model.parameters()],
    )


def test_one_pass_over_the_base_and_one_over_the_model_serve_all_plain_attacks(base, saved, monkeypatch):
    passes, call = [], Scorer.__call__
    monkeypatch.setattr(Scorer, "__call__", lambda self, tokens: passes.append(len(tokens)) or call(self, tokens))
    attacks = ["loss", "reference", "zlib_ratio", "min_k", "min_k_plus_plus", "wbc"]
    byheart.audit(
        opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base), MEMBERS, NONMEMBERS, attacks=attacks
    )
    assert passes == [64, 64]


def test_all_runs_every_attack_whose_evidence_can_be_made(saved, command):
    done = command("--model", saved / "lora", "--attacks", "all", "--json")
    assert done[0] == 0, done
    told = json.loads(done[1])
    run = {r["attack"] for r in told["rows"] if r["attack"]}
    assert run | set(told["not_run"]) == set(registry.entry_names("attacks"))
    assert {"loss", "reference", "min_k", "lowercase", "wbc"} <= run

    alone = json.loads(command("--model", saved / "full", "--attacks", "all", "--json")[1])
    assert "tuned from" in alone["not_run"]["reference"]
    assert {r["epoch"] for r in alone["rows"]} == {1}
    assert "without its base" in alone["warnings"][0]


def test_it_says_that_a_model_leaks_only_where_it_does(base, saved, command):
    assert command("--model", saved / "full", "--base", base)[1].startswith("leaks: ")
    calm = command("--model", base, "--attacks", "loss,min_k")
    assert calm[1].startswith(
        "no leakage detectable by these attacks at this power (smallest AUC told from chance: 0.7"
    )


def test_a_bound_that_is_crossed_exits_with_3(base, saved, command):
    words = ("--model", saved / "full", "--base", base, "--attacks", "loss")
    code, _, complaints = command(*words, "--fail-above", "auc=0.6")
    assert code == 3
    assert "failed: auc of loss is" in complaints
    assert "above 0.6" in complaints
    assert command(*words, "--fail-above", "auc=0.99999")[0] == 0
    assert command(*words, "--fail-above", "auc=0.6", "--fail-above", "auc=0.99")[0] == 3
    code, _, complaints = command(*words, "--fail-above", "tpr_at_fpr=0.01", "--fpr", "0.2")
    assert code in (0, 3)


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        ("perplexity=3", "choices: auc, tpr_at_fpr"),
        ("auc", "write a number"),
        ("auc=2", "write a number"),
        ("auc=nan", "write a number"),
        ("tpr_at_fpr=0.05", "need 100 non-members and there are 32"),
    ],
)
def test_a_bound_that_cannot_be_judged_is_refused(saved, command, bound, says):
    assert says in refusal(command("--model", saved / "lora", "--fail-above", bound))


def test_a_bound_counts_by_the_lower_end_of_the_interval():
    class Found:
        rows = (_row("auc", 0.8, 0.61, 0.9), _row("auc", 0.7, 0.55, 0.8, attack="min_k"))
        ruling = Ruling("leaks", "", "loss")

    over, near = crossed_bounds(Found(), [Bound("auc", 0.6)])
    assert [t.split(" is ")[0] for t in over] == ["auc of loss"]
    assert [t.split(" is ")[0] for t in near] == ["auc of min_k"]


def test_the_folder_holds_everything_and_no_text_unless_asked(base, saved, command, tmp_path):
    words = ("--model", saved / "full", "--base", base, "--validation", "v")
    words = (*words[:-1], str(records(tmp_path / "v.jsonl", [{"text": t} for t in VALIDATION])))
    assert command(*words, "-o", tmp_path / "out")[0] == 0
    out = tmp_path / "out"
    names = {
        "report.html",
        "rows.json",
        "rows.parquet",
        "scores.parquet",
        "exposed.csv",
        "manifest.json",
        "model_card.md",
    }
    assert {p.name for p in out.iterdir()} == names
    everything = b"".join(p.read_bytes() for p in out.iterdir() if p.suffix != ".parquet").decode()
    assert not any(text in everything for text in TEXTS)
    assert "perplexity" in everything

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["command"].startswith("byheart audit --model")
    assert set(manifest["made"]["weights"]) == {"model", "base"}
    assert set(manifest["made"]["data"]) == {"member", "nonmember", "validation"}
    assert manifest["made"]["versions"]["torch"] == metadata.version("torch")
    scores = pyarrow.parquet.read_table(out / "scores.parquet").to_pydict()
    assert scores["id"][0] == "member/m-0"
    assert {"loss", "base/loss", "reference", "member", "group"} <= set(scores)
    exposed = (out / "exposed.csv").read_text().splitlines()
    assert len(exposed) == 1 + len(MEMBERS)
    assert exposed[1].startswith("m-")
    page = (out / "report.html").read_text()
    answer = page.partition('<section id="answer"')[2].partition("</section>")[0]
    assert "Leaks: " in answer  # the audit's own verdict, and no other beside it
    assert page.count('id="summary"') == 1
    assert "A method is said to leak" not in page

    assert "there already" in refusal(command(*words, "-o", out))
    assert command(*words, "-o", tmp_path / "shown", "--show-text")[0] == 0
    assert any(text in (tmp_path / "shown" / "exposed.csv").read_text() for text in MEMBERS)


def test_a_folder_is_written_whole_or_not_at_all(base, saved, tmp_path, monkeypatch):
    found = byheart.audit(
        opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base), MEMBERS, NONMEMBERS, attacks=["loss"]
    )
    write = Path.write_bytes

    def watched(path, content):
        assert not (tmp_path / "whole").exists()
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", watched)
    assert found.save(tmp_path / "whole") == tmp_path / "whole"
    shutil.rmtree(tmp_path / "whole")
    monkeypatch.setattr("byheart.auditing.save.model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        found.save(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_notebook_shows_it_and_labels_are_inert(base, saved):
    texts = [{"id": f"<b>{i}|", "text": t} for i, t in enumerate(MEMBERS)]
    found = byheart.audit(
        opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base), texts, NONMEMBERS, attacks=SHORT
    )
    assert found._repr_html_().startswith("<p><b>")
    assert "Attacks" in found._repr_markdown_()
    assert repr(found) == f"Audit({found.verdict})"
    scores = found.scores[1][found.ranking_attack][: len(MEMBERS)]
    first = found.exposed_members(3)
    assert [e.id for e in first] == [f"<b>{i}|" for i in np.argsort(-scores, kind="stable")[:3]]
    assert first[0].above == (found.scores[1][found.ranking_attack][len(MEMBERS) :] < first[0].score).mean()


def test_chat_and_alpaca_records_are_scored_on_what_was_answered(base, saved):
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    chats = [
        [{"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": t}]} for t in side]
        for side in (MEMBERS, NONMEMBERS)
    ]
    alpaca = [[{"instruction": "Say it.", "input": "now", "output": t} for t in side] for side in (MEMBERS, NONMEMBERS)]
    model = opened(base, saved, "lora")
    for sides in (chats, alpaca):
        found = byheart.audit(model, tokenizer, *sides, attacks=["loss"])
        assert found.texts.scored == (*MEMBERS, *NONMEMBERS)
        np.testing.assert_allclose(
            found.scores[1]["loss"], loss(byheart.token_stats(model, tokenizer, found.texts, max_tokens=128)), atol=1e-5
        )
    assert found.texts.prompts[0].startswith("Below is an instruction that describes a task, paired with an input")
    assert found.texts.prompts[0].endswith("### Instruction:\nSay it.\n\n### Input:\nnow\n\n### Response:")
    (plain,) = parse_texts("member", [{"instruction": "Say it.", "input": "", "output": "a"}])
    assert "Input" not in plain.prompt
    assert "paired" not in plain.prompt


def test_files_of_every_kind_read_alike(saved, files, command, tmp_path):
    import csv

    with (files / "members.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([["id", "text"], *([f"m-{i}", t] for i, t in enumerate(MEMBERS))])
    (files / "nonmembers.txt").write_text("\n".join(NONMEMBERS))
    pyarrow.parquet.write_table(pyarrow.table({"key": list(range(32)), "text": MEMBERS}), files / "members.parquet")
    words = ("--model", saved / "lora", "--attacks", "loss", "--json")
    as_jsonl, as_csv, as_parquet = (
        json.loads(command(*words, *extra, members=m, nonmembers=n)[1])
        for m, n, extra in (
            ("members.jsonl", "nonmembers.jsonl", ()),
            ("members.csv", "nonmembers.txt", ()),
            ("members.parquet", "nonmembers.txt", ()),
        )
    )
    assert as_jsonl["rows"] == as_csv["rows"] == as_parquet["rows"]
    assert as_jsonl["exposed"][0]["id"].startswith("m-")
    assert as_parquet["exposed"][0]["id"].startswith("row ")


def test_somebody_elses_attack_is_named_as_it_was_asked_for(base, saved, tmp_path, monkeypatch):
    (tmp_path / "ours.py").write_text(
        "def odd(target, *, power=1):\n    return target.logp[target.starts[:-1]] * power\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    attacks = ["loss", {"ours:odd": {"power": 2}}]
    model, tokenizer = opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base)
    found = byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=attacks)
    assert set(found.scores[1]) == {"loss", "ours:odd(power=2)"}
    assert "ours:odd(power=2)" in {line[0] for line in found.table().rows}


def test_groups_of_a_file_widen_the_interval_and_are_found_on_both_sides(saved, files, command):
    records(files / "owned.jsonl", [{"user": i % 24, "text": t} for i, t in enumerate(MEMBERS)])
    records(files / "others.jsonl", [{"user": 100 + i % 24, "text": t} for i, t in enumerate(NONMEMBERS)])
    records(files / "shared.jsonl", [{"user": i % 24, "text": t} for i, t in enumerate(NONMEMBERS)])
    words = ("--model", saved / "lora", "--attacks", "loss", "--json", "--group", "user")
    apart = json.loads(command(*words, members="owned.jsonl", nonmembers="others.jsonl")[1])
    assert apart["gate"] == "doubtful"
    shared = json.loads(command(*words, members="owned.jsonl", nonmembers="shared.jsonl")[1])
    assert shared["verdict"] == "broken"
    assert shared["sentence"].startswith("these numbers cannot be read as leakage: 32 of 32 non-members are of a group")
    assert "has no field 'user'" in refusal(command(*words))


def bad(name):
    """Files that are wrong, by name, each with what the refusal says."""
    first = {"text": MEMBERS[0]}
    return {
        "fields": ([{"a": "1", "body": "x"}], "line 1' has the fields a, body"),
        "both": ([*({"text": t} for t in NONMEMBERS), first], "is member text"),
        "empty": ([first, {"text": " "}], "line 2' is empty"),
        "twice": ([{"id": 1, "text": "One."}, {"id": 1, "text": "Two."}], "the id '1' is used twice"),
        "chat": ([{"messages": [{"role": "assistant", "content": "x y"}]}] * 2, "chat template"),
        "half": ('{"text": "\\ud800 half"}', "half a surrogate pair"),
        "number": ([{"text": 3}], "has the fields text"),
        "json": ("{", "is not JSON"),
        "none": ("", "holds no texts"),
    }[name]


@pytest.mark.parametrize("name", ["fields", "both", "empty", "twice", "chat", "half", "number", "json", "none"])
def test_bad_texts_are_refused_in_one_line(saved, files, command, tmp_path, name):
    content, says = bad(name)
    path = files / f"bad-{name}.jsonl"
    path.write_text(content) if isinstance(content, str) else records(path, content)
    told = command("--model", saved / "lora", "-o", tmp_path / "out", nonmembers=path.name)
    assert says in refusal(told)
    assert not list(tmp_path.iterdir())


def test_bad_models_are_refused_in_one_line(base, saved, command, tmp_path, tiny_folder):
    lora = tmp_path / "lora"

    def broken(change):
        shutil.rmtree(lora, ignore_errors=True)
        shutil.copytree(saved / "lora", lora)
        change(lora / "adapter_config.json")
        return refusal(command("--model", lora, "--attacks", "loss", "-o", tmp_path / "out"))

    def recorded(place, **values):
        place.write_text(json.dumps({**json.loads(place.read_text()), **values}))

    assert "names no base" in broken(lambda p: recorded(p, base_model_name_or_path=None))
    assert "its base '/gone/away' is not here; name it with --base" in broken(
        lambda p: recorded(p, base_model_name_or_path="/gone/away")
    )
    assert "does not fit" in broken(lambda p: recorded(p, base_model_name_or_path=str(tiny_folder("gpt2"))))
    assert "does not fit" in broken(lambda p: recorded(p, r=7))
    assert "does not fit" in broken(lambda p: recorded(p, peft_type="NO_SUCH"))
    assert "cannot be read" in broken(lambda p: p.write_text("{"))
    assert "a pickle is not loaded" in broken(lambda p: (p.parent / "adapter_model.safetensors").unlink())

    fresh = get_peft_model(AutoModelForCausalLM.from_pretrained(base), ADAPTERS["lora"][0])
    fresh.save_pretrained(tmp_path / "fresh")
    assert "changes nothing" in refusal(command("--model", tmp_path / "fresh"))

    assert "the same weights" in refusal(command("--model", base, "--base", base))
    assert "name the one it was tuned from" in refusal(
        command("--model", saved / "full", "--base", tiny_folder("gpt2"))
    )
    assert "is the base" in refusal(command("--model", base, "--adapter", saved / "lora", "--base", saved / "full"))
    assert "has no adapter_config.json" in refusal(command("--model", base, "--adapter", saved / "full"))
    assert "is an adapter itself" in refusal(command("--model", saved / "lora", "--adapter", saved / "lora"))
    assert "does not exist" in refusal(command("--model", "/gone/away"))
    assert "none of the attacks can be run" in refusal(command("--model", base, "--attacks", "reference"))
    assert "choices: " in refusal(command("--model", base, "--attacks", "los"))
    (tmp_path / "file").touch()
    assert "cannot be made" in refusal(command("--model", base, "-o", tmp_path / "file" / "out"))
    assert "no config.json" in refusal(command("--model", tmp_path))
    assert "no config.json" in refusal(command("--model", ""))
    assert "the Hub did not give it" in refusal(command("--model", "no-owner-of/this"))
    assert "write auto, cpu, cuda" in refusal(command("--model", base, device="nonsense"))
    assert "fpr = 0" in refusal(command("--model", base, "--fpr", "0"))
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_trained_biases_has_no_base_inside_it(tiny_folder, tmp_path, command):
    gpt2 = str(tiny_folder("gpt2"))
    config = LoraConfig(r=4, target_modules=["c_attn"], task_type="CAUSAL_LM", bias="all")
    tokenizer = AutoTokenizer.from_pretrained(gpt2)
    model = trained(get_peft_model(AutoModelForCausalLM.from_pretrained(gpt2), config), tokenizer, 3e-2)
    model.save_pretrained(tmp_path / "biased")
    assert "also when it is switched off" in refusal(command("--model", tmp_path / "biased"))
    found = byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=SHORT)
    assert set(found.scores) == {1}
    assert set(found.left_out) == {"reference"}
    assert "trained biases" in found.warnings[0]
    own = AutoModelForCausalLM.from_pretrained(gpt2)
    assert set(byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, base=own, attacks=SHORT).scores) == {0, 1}


def test_another_base_than_the_adapters_own_is_said_first(base, saved, command):
    told = json.loads(command("--model", saved / "lora", "--base", saved / "full", "--attacks", "loss", "--json")[1])
    assert f"was trained on {base}" in told["warnings"][0]
    same = json.loads(command("--model", base, "--adapter", saved / "lora", "--attacks", "loss", "--json")[1])
    assert not any("was trained on" in w for w in same["warnings"])


def test_a_model_that_memory_cannot_hold_is_refused_before_it_is_loaded(saved, command, monkeypatch):
    monkeypatch.setattr(memory_check, "_free_ram", lambda: 100_000)
    told = refusal(command("--model", saved / "lora"))
    assert "billion parameters and needs about" in told
    assert "take --precision bfloat16, --quantize 8, a smaller model or a larger machine" in told


def test_a_model_in_memory_that_says_what_its_base_says_is_refused(base):
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), ADAPTERS["lora"][0])
    with pytest.raises(ModelError, match="exactly what its base says"):
        byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=["loss"])


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ({"attacks": "los"}, UnknownNameError),
        ({"attacks": []}, SettingError),
        ({"attacks": ["loss", "loss"]}, SettingError),
        ({"max_texts": 0}, SettingError),
        ({"fpr": 2}, SettingError),
        ({"precision": "int4"}, SettingError),
    ],
)
def test_wrong_settings_are_refused_when_asked(how, kind):
    with pytest.raises(kind):
        AuditSettings(**how)


def test_in_memory_what_is_no_model_or_no_texts_is_refused(base):
    tokenizer = AutoTokenizer.from_pretrained(base)
    with pytest.raises(ModelError, match="takes a causal language model"):
        byheart.audit("path", tokenizer, MEMBERS, NONMEMBERS)
    with pytest.raises(DataError, match="is member text"):
        byheart.audit(AutoModelForCausalLM.from_pretrained(base), tokenizer, MEMBERS, MEMBERS)


def test_few_texts_give_numbers_and_no_verdict(base, saved, files, command):
    records(files / "ten.jsonl", [{"text": t} for t in MEMBERS[:10]])
    records(files / "nine.jsonl", [{"text": t} for t in NONMEMBERS[:9]])
    words = ("--model", saved / "full", "--base", base, "--json")
    told = json.loads(command(*words, members="ten.jsonl", nonmembers="nine.jsonl")[1])
    assert told["verdict"] == "refused"
    assert "tell only an AUC above 0." in told["sentence"]
    assert told["gate"] is None
    assert told["rows"]
    limit = (*words, "--fail-above", "auc=0.5")
    assert "cannot be judged" in refusal(command(*limit, members="ten.jsonl", nonmembers="nine.jsonl"))


def test_copies_and_cut_texts_are_said_first(base, saved):
    found = byheart.audit(
        opened(base, saved, "lora"),
        AutoTokenizer.from_pretrained(base),
        [*MEMBERS, MEMBERS[0]],
        NONMEMBERS,
        attacks=["loss"],
        max_tokens=12,
    )
    assert found.warnings[0] == "1 of 33 member texts are copies of others there; copies count as one group"
    assert "are longer than 12 tokens" in found.warnings[1]
    assert "TPR at 1 % FPR needs 100 non-members" in found.warnings[2]


def test_the_same_texts_are_audited_each_time_and_no_more_than_asked(base, saved):
    model, tokenizer = opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base)
    one, two = (byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=["loss"], max_texts=24) for _ in range(2))
    assert one.ids == two.ids
    assert int(one.record_labels.membership.sum()) == 24
    assert one.rows == two.rows
    assert one.provenance["data"] == two.provenance["data"]


ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs/tutorials/audit.md").read_text()


def test_the_python_of_the_tutorial_runs(base, saved, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"model": opened(base, saved, "lora"), "tokenizer": AutoTokenizer.from_pretrained(base)}
    block, served = re.findall(r"^```python\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
    exec(block, {**names, "members": MEMBERS, "nonmembers": NONMEMBERS})  # noqa: S102 - the tutorial's own code
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert (tmp_path / "audited" / "report.html").exists()
    with StandIn({"my-model": base}) as server:
        words = served.replace("http://localhost:8000/v1", server.url)
        exec(words, held := {"byheart": byheart, "members": MEMBERS, "nonmembers": NONMEMBERS})  # noqa: S102 - the same
    assert set(held["audit"].scores) == {1}


def test_the_commands_of_the_tutorial_run(base, tmp_path, monkeypatch, capsys):
    """The first five minutes, on a tiny model and few texts."""
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("finetune", ROOT / "examples" / "finetune.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)[:2]
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        if words[0] == "python":
            monkeypatch.setattr(sys, "argv", [*words[1:], "--model", base, "--texts", "20", "--epochs", "1"])
            example.main()
        else:
            monkeypatch.setattr(sys, "argv", [*words, "--device", "cpu"])
            with pytest.raises(SystemExit) as ended:
                main()
            assert ended.value.code == 0
    assert capsys.readouterr().out.count("20 members against 20 non-members") == 2
    assert (tmp_path / "audit" / "report.html").exists()


def test_the_files_of_a_result_are_those_that_the_tutorial_names(base, saved, tmp_path):
    found = byheart.audit(
        opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base), MEMBERS, NONMEMBERS, attacks=["loss"]
    )
    for path in found.save(tmp_path / "out").iterdir():
        assert f"`{path.name}`" in TUTORIAL


def _row(metric, value, low, high, attack="loss", epoch=1, settings=""):
    names = ("base", "dataset", "dataset_settings", "method", "method_settings", "training_settings", "cell", "scores")
    return Row(
        **dict.fromkeys(names, ""),
        seed=0,
        epoch=epoch,
        attack=attack,
        attack_settings="",
        metric=metric,
        metric_settings=settings,
        value=value,
        low=low,
        high=high,
        members=1,
        nonmembers=1,
    )


def sides_of(members, nonmembers):
    total = members + nonmembers
    return RecordLabels(np.arange(total) < members, tuple(map(str, range(total))))


def judged(shift, base_shift, *, size=200, attacks=("loss",), tpr=None):
    sides = sides_of(size, size)
    drawn = np.random.default_rng(3).normal(size=(len(attacks), 2 * size))
    now = {n: drawn[i] + shift * sides.membership for i, n in enumerate(attacks)}
    before = {} if base_shift is None else {n: drawn[i] + base_shift * sides.membership for i, n in enumerate(attacks)}
    rows = [_row("auc", 0.8, 0.7, 0.9, attack=n) for n in attacks]
    rows += [] if tpr is None else [_row("tpr_at_fpr", *tpr, attack=n) for n in attacks]
    return ruling(now, before, rows, sides, None)


def test_the_rules_of_the_verdict():
    assert judged(1.0, 0.0).word == "leaks"
    assert judged(1.0, None).word == "leaks"
    assert judged(1.0, 1.0).word == "differs"  # the base tells them apart as well
    assert judged(0.0, 0.0).word == "nothing"
    assert judged(3.0, 0.0, size=19).word == "refused"
    told = judged(1.0, 0.0, tpr=(0.23, 0.18, 0.29)).sentence
    assert told.startswith(
        "leaks: an attacker at 1 % false alarms finds 23 % (18\N{EN DASH}29 %) of the members; loss ranks"
    )
    weak = judged(1.0, 0.0, tpr=(0.02, 0.0, 0.06)).sentence
    assert (
        weak == "leaks: loss ranks a member above a non-member 80 % (70\N{EN DASH}90 %) of the time, and 50 % is chance"
    )
    for word in ("private", "safe"):
        assert all(word not in judged(*how).sentence for how in ((1.0, 0.0), (1.0, 1.0), (0.0, 0.0)))


def test_many_attacks_at_chance_raise_few_alarms():
    """Twelve attacks that know nothing: at most 2.5 % of audits may say that a model leaks."""
    sides, chance = sides_of(40, 40), np.random.default_rng(0)
    names = [f"a{i}" for i in range(12)]
    rows = [_row("auc", 0.6, 0.5, 0.7, attack=n) for n in names]
    alarms = sum(
        ruling({n: chance.normal(size=80) for n in names}, {}, rows, sides, None).word == "leaks" for _ in range(200)
    )
    assert alarms <= 10  # Binomial(200, .025) is above 10 once in 80


def test_the_power_told_is_that_of_corrected_tests():
    sides = sides_of(50, 50)
    assert smallest_detectable_auc(sides, 10) > smallest_detectable_auc(sides, 1)
    together = RecordLabels(sides.membership, tuple(str(i // 2) for i in range(100)))
    assert smallest_detectable_auc(together, 1) > smallest_detectable_auc(sides, 1)
    assert holm_adjusted({"a": 0.01, "b": 0.04}) == {"a": 0.02, "b": 0.04}
    assert math.isclose(
        smallest_detectable_auc(sides, 1), 0.5 + (1.959964 + 0.8416212) * math.sqrt(101 / (12 * 2500)), rel_tol=1e-6
    )


def test_what_its_files_say_of_a_model(base, saved):
    assert model_files(str(saved / "full"), None, base).method == "full"
    found = model_files(str(saved / "prefix"), None, None)
    assert (found.weights, found.method, found.adapter) == (base, "prefix", saved / "prefix")
    assert set(found.hashes) == {"base", "adapter"}
