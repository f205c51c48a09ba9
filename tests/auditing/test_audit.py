"""An audit of a finished model: its numbers equal the model's, errors are one line, a result is complete or does not exist."""

import json

import numpy as np
import pyarrow.parquet
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.attacks.loss import loss
from byheart.attacks.reference import reference
from byheart.auditing.texts import parse_texts
from byheart.core import registry
from byheart.lm.finetuned import model_files
from byheart.lm.forward import Scorer
from testing.audited import ADAPTERS, MEMBERS, NONMEMBERS, SHORT, opened, records, refusal


@pytest.mark.parametrize("name", ["full", *ADAPTERS])
def test_scores_equal_those_of_the_model_and_its_base(base, saved, files, command, name):
    words = ["--base", base] if name == "full" else []
    code, out, _ = command("--model", saved / name, *words, "--attacks", "loss,reference", "--json")
    reported = json.loads(out)
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
    np.testing.assert_allclose(in_memory.scores[0]["loss"], loss(plain), atol=1e-5)  # the adapter disabled
    np.testing.assert_allclose(in_memory.scores[1]["reference"], reference(own, plain), atol=1e-5)
    assert not in_memory.scores[0]["reference"].any()
    aucs = {(r["attack"], r["epoch"]): r["value"] for r in reported["rows"] if r["metric"] == "auc"}
    ours = {(r.attack, r.epoch): r.value for r in in_memory.rows if r.metric == "auc"}
    assert aucs == pytest.approx(ours)
    assert {r.method for r in in_memory.rows} == {r["method"] for r in reported["rows"]} == {name}


def test_a_model_in_memory_is_not_changed(base, saved):
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


def test_all_likelihood_attacks_share_one_pass_of_each_model(base, saved, monkeypatch):
    passes, call = [], Scorer.__call__
    monkeypatch.setattr(Scorer, "__call__", lambda self, tokens: passes.append(len(tokens)) or call(self, tokens))
    attacks = ["loss", "reference", "zlib_ratio", "min_k", "min_k_plus_plus", "wbc"]
    byheart.audit(
        opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base), MEMBERS, NONMEMBERS, attacks=attacks
    )
    assert passes == [64, 64]


def test_all_selects_every_attack_with_available_evidence(saved, command):
    done = command("--model", saved / "lora", "--attacks", "all", "--json")
    assert done[0] == 0, done
    reported = json.loads(done[1])
    run = {r["attack"] for r in reported["rows"] if r["attack"]}
    assert run | set(reported["not_run"]) == set(registry.entry_names("attacks"))
    assert {"loss", "reference", "min_k", "lowercase", "wbc"} <= run

    alone = json.loads(command("--model", saved / "full", "--attacks", "all", "--json")[1])
    assert "base model" in alone["not_run"]["reference"]
    assert {r["epoch"] for r in alone["rows"]} == {1}
    assert "without a base model" in alone["warnings"][0]


def test_chat_and_alpaca_records_are_scored_on_their_answers(base, saved):
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


def test_equal_texts_in_every_file_format_have_equal_scores(saved, files, command, tmp_path):
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


def test_an_external_attack_has_its_requested_name(base, saved, tmp_path, monkeypatch):
    (tmp_path / "ours.py").write_text(
        "def odd(target, *, power=1):\n    return target.logp[target.starts[:-1]] * power\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    attacks = ["loss", {"ours:odd": {"power": 2}}]
    model, tokenizer = opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base)
    found = byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=attacks)
    assert set(found.scores[1]) == {"loss", "ours:odd(power=2)"}
    assert "ours:odd(power=2)" in {line[0] for line in found.table().rows}


def test_groups_of_a_file_widen_the_interval_and_are_compared_between_classes(saved, files, command):
    records(files / "owned.jsonl", [{"user": i % 24, "text": t} for i, t in enumerate(MEMBERS)])
    records(files / "others.jsonl", [{"user": 100 + i % 24, "text": t} for i, t in enumerate(NONMEMBERS)])
    records(files / "shared.jsonl", [{"user": i % 24, "text": t} for i, t in enumerate(NONMEMBERS)])
    words = ("--model", saved / "lora", "--attacks", "loss", "--json", "--group", "user")
    apart = json.loads(command(*words, members="owned.jsonl", nonmembers="others.jsonl")[1])
    assert apart["gate"] == "doubtful"
    shared = json.loads(command(*words, members="owned.jsonl", nonmembers="shared.jsonl")[1])
    assert shared["verdict"] == "broken"
    assert shared["sentence"].startswith("these numbers cannot be read as leakage: 32 of 32 non-members")
    assert "'user'" in refusal(command(*words))


def test_the_sample_is_fixed_and_at_most_max_texts(base, saved):
    model, tokenizer = opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base)
    one, two = (byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=["loss"], max_texts=24) for _ in range(2))
    assert one.ids == two.ids
    assert int(one.record_labels.membership.sum()) == 24
    assert one.rows == two.rows
    assert one.provenance["data"] == two.provenance["data"]


def test_a_models_method_is_read_from_its_files(base, saved):
    assert model_files(str(saved / "full"), None, base).method == "full"
    found = model_files(str(saved / "prefix"), None, None)
    assert (found.weights, found.method, found.adapter) == (base, "prefix", saved / "prefix")
    assert set(found.hashes) == {"base", "adapter"}
