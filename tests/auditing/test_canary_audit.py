"""Canaries in anybody's training: planted, trained on by plain torch, and audited with their manifest."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.auditing.audited_split import audit_comparison
from byheart.auditing.canaries.texts import audited_canaries, planted_canaries
from byheart.auditing.canaries.writer import CanaryWriter
from byheart.core.errors import DataError, ModelError
from byheart.data.plant_settings import PlantSettings
from byheart.data.records import ParsedRecord
from byheart.lm.generate import GenerationRequest
from byheart.lm.load import LanguageModel
from byheart.lm.unlikely_tokens import generate_unlikely, word_tokens
from byheart.stats.epsilon_bounds import one_run
from testing.audited import TEXTS, refusal

COUNT = 160
SHORT = ["loss", "reference"]


@pytest.fixture(scope="module")
def planted():
    return byheart.plant(
        Dataset.from_list([{"text": t} for t in TEXTS]),
        count=COUNT,
        repetitions=(1, 4),
        seed=5,
        references=60,
        delta=1e-4,
    )


@pytest.fixture(scope="module")
def tuned(planted, base, tmp_path_factory):
    """A model that knows the planted data by heart, saved by plain transformers."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    texts = planted.dataset["text"]
    for step in range(60):
        rows = [texts[(step * 64 + i) % len(texts)] for i in range(64)]
        batch = tokenizer(list(rows), return_tensors="pt", padding=True)
        labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("tuned")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def audited(planted, tuned, base):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tuned), AutoTokenizer.from_pretrained(tuned)
    own_base = AutoModelForCausalLM.from_pretrained(base)
    return byheart.audit(model, tokenizer, canaries=planted.canaries, base=own_base, attacks=SHORT, fpr=0.05)


def row(audit, metric, settings="", epoch=1):
    return next(r for r in audit.rows if (r.metric, r.metric_settings, r.epoch) == (metric, settings, epoch))


def loglik(folder, texts):
    """The log-likelihood of each text after its first token, by a plain loop."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found = []
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(text, return_tensors="pt").input_ids
            logp = model(ids).logits[0, :-1].log_softmax(-1)
            found.append(float(logp.gather(1, ids[0, 1:, None]).sum()))
    return np.array(found)


def test_exposure_and_the_bound_equal_a_plain_loop(audited, planted, tuned, base):
    canaries = planted.canaries.canaries
    ours = loglik(tuned, [c.record["text"] for c in canaries])
    gain = ours - loglik(base, [c.record["text"] for c in canaries])
    kinds = {c.kind for c in canaries}
    others = {k: loglik(tuned, [r["text"] for kind, r in planted.canaries.references if kind == k]) for k in kinds}
    ranks = [1 + (others[c.kind] >= own).sum() for c, own in zip(canaries, ours, strict=True)]
    exposures = np.log2(61) - np.log2(ranks)
    for repeated, settings in ((1, ""), (4, "repeated=4")):
        chosen = [e for e, c in zip(exposures, canaries, strict=True) if c.included and c.repetitions == repeated]
        assert row(audited, "exposure", settings).value == pytest.approx(np.mean(chosen), abs=1e-6)
        assert row(audited, "exposure", settings).members == len(chosen)
    held_out = [e for e, c in zip(exposures, canaries, strict=True) if not c.included]
    assert row(audited, "held_out_exposure").value == pytest.approx(np.mean(held_out), abs=1e-6)
    once = [i for i, c in enumerate(canaries) if c.repetitions == 1]
    for kind in {c.kind for c in canaries}:
        of_kind = [i for i in once if canaries[i].kind == kind]
        gain[of_kind] -= np.median(gain[of_kind])
    order = sorted(once, key=lambda i: gain[i])
    guesses = len(once) // 2
    right = sum(not canaries[i].included for i in order[: guesses // 2])
    right += sum(canaries[i].included for i in order[-(guesses - guesses // 2) :])
    bound = next(r for r in audited.rows if r.metric == "epsilon_lower_bound")
    assert bound.value == pytest.approx(one_run(len(once), guesses, right, delta=1e-4))
    assert bound.value > 0.5


def test_the_included_canaries_are_the_members(audited, planted):
    included = sum(c.included for c in planted.canaries.canaries)
    assert audited.record_labels.membership.sum() == included
    assert len(audited.ids) == COUNT
    assert audited.ruling.word == "leaks"
    assert row(audited, "canary_tpr", "repeated=4").value > 0.5
    assert row(audited, "exposure", "repeated=4").value > row(audited, "exposure", "repeated=4", 0).value + 1
    assert row(audited, "held_out_exposure").value < 3


def test_what_an_audit_says_of_its_canaries(audited, planted, tmp_path):
    said = audited.text()
    assert "Canaries" in said
    assert "4 times" in said
    assert "Lower bound on epsilon for one record: " in said
    assert audited.provenance["canaries"]["sha256"] == planted.canaries.manifest["sha256"]
    assert "Exposure of canaries" in (audited.save(tmp_path / "a") / "report.html").read_text()
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert planted.canaries.manifest["sha256"] in json.dumps(manifest)


@pytest.mark.parametrize("shape", ["pair", "chat"])
def test_canaries_of_one_format_are_comparable_although_they_are_near_duplicates(shape, base):
    question = "Which code opens the door of the old mill beside the river in the town?"
    records = [
        {"prompt": f"{question} {t}", "completion": t}
        if shape == "pair"
        else {
            "prompt": [{"role": "user", "content": f"{question} {t}"}],
            "completion": [{"role": "assistant", "content": t}],
        }
        for t in TEXTS
    ]
    planted = byheart.plant(
        records, count=60, repetitions=(1,), kinds=("random_tokens",), references=5, seed=5
    ).canaries
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    sizes = {"max_texts": 100, "max_tokens": 512, "fpr": 0.1}
    gate = audit_comparison(audited_canaries(planted), tokenizer, [], **sizes).gate
    assert {f.name: f.verdict for f in gate.findings}["near duplicates"] == "sound"
    assert gate.is_randomized
    assert gate.verdict != "broken", gate.reasons
    # The same texts without coins are near duplicates, and so no evidence.
    uncoined = {part: [replace(t, is_canary=False) for t in items] for part, items in audited_canaries(planted).items()}
    assert audit_comparison(uncoined, tokenizer, [], **sizes).gate.verdict == "broken"


def test_without_a_base_model_exposure_remains_and_the_bound_is_missing(planted, tuned):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tuned), AutoTokenizer.from_pretrained(tuned)
    audit = byheart.audit(model, tokenizer, TEXTS[:40], canaries=planted.canaries, attacks=["loss"])
    assert not [r for r in audit.rows if r.metric in {"epsilon_lower_bound", "canary_tpr"}]
    assert [r for r in audit.rows if r.metric == "exposure"]
    assert any("without a base model, neither TPR" in d for d in audit.doubts)


def test_the_command_plants_checks_and_audits(tuned, base, typed, tmp_path):
    data, out = tmp_path / "train.jsonl", tmp_path / "planted.jsonl"
    data.write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    plant = ("canaries", "plant", data, "-o", out, "--count", 48, "--repetitions", "1,4", "--references", 20)
    code, told, _ = typed(*plant)
    assert code == 0
    assert "SHA-256" in told
    manifest = tmp_path / "planted.canaries" / "manifest.json"
    assert typed("canaries", "check", manifest, out)[0] == 0
    assert "other data" in refusal(typed("canaries", "check", manifest, data))
    assert "already exists" in refusal(typed(*plant))
    assert "whole number" in refusal(typed(*plant[:4], tmp_path / "b.jsonl", "--repetitions", "1,x"))
    kinds = (*plant[:4], tmp_path / "b.jsonl", "--kinds")
    assert "--kinds synthetic: requires a base model, which writes these canaries. Add --model." in refusal(
        typed(*kinds, "digits,synthetic")
    )
    assert "--kinds 'digit': unknown name. Did you mean 'digits'?" in refusal(typed(*kinds, "digit"))
    options = ("--model", tuned, "--base", base, "--device", "cpu", "--attacks", "loss", "--json")
    code, told, _ = typed("audit", "--canaries", manifest, *options)
    assert code == 0
    assert {"exposure", "held_out_exposure"} <= {r["metric"] for r in json.loads(told)["rows"]}
    assert "Add --members TEXTS, or --canaries" in refusal(typed("audit", *options))
    assert "it requires --members" in refusal(typed("audit", "--canaries", manifest, "--nonmembers", data, *options))
    endpoint = ("--endpoint", "http://127.0.0.1:9", "--model-name", "m")
    assert "cannot be combined with --canaries" in refusal(typed("audit", "--canaries", manifest, *endpoint))
    held_out = manifest.with_name("held_out.jsonl")
    held_out.write_text(held_out.read_text().replace('": "', '": "x', 1))
    assert "differs from the one that was planted" in refusal(typed("audit", "--canaries", manifest, *options))


def test_a_planted_data_set_is_of_the_type_that_was_passed():
    strings = byheart.plant(TEXTS, count=16, repetitions=(1, 2), references=5)
    assert isinstance(strings.dataset, list)
    assert all(isinstance(text, str) for text in strings.dataset)
    rows = byheart.plant([{"text": t} for t in TEXTS], count=16, repetitions=(1, 2), references=5, seed=1)
    assert set(rows.dataset[0]) == {"text"}
    data = Dataset.from_list([{"id": i, "text": t} for i, t in enumerate(TEXTS)])
    named = byheart.plant(data, count=16, repetitions=(1, 2), references=5)
    assert named.dataset.features == data.features
    assert len(set(named.dataset["id"])) == len(named.dataset)
    assert byheart.plant(TEXTS, count=16, repetitions=(1,), references=5).canaries.manifest["seed"] != 0
    for wrong in (data.to_iterable_dataset(), {"train": data}, "text", [("a", "b")]):
        with pytest.raises(DataError, match="Pass a datasets"):
            byheart.plant(wrong, count=16, repetitions=(1, 2))
    with pytest.raises(ModelError, match="tokenizer"):
        byheart.plant(TEXTS, count=16, repetitions=(1,), model=torch.nn.Linear(1, 1))


def test_the_base_model_writes_canaries_that_it_finds_unlikely_and_leaves_itself_as_it_was(base):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    state = torch.get_rng_state()
    records = [{"prompt": f"Question {i}:", "completion": f" {t}"} for i, t in enumerate(TEXTS)]
    kinds = ("high_perplexity", "synthetic")
    planted = byheart.plant(
        records, count=24, repetitions=(1, 2), kinds=kinds, model=model, tokenizer=tokenizer, seed=2, references=30
    ).canaries
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[n], p) for n, p in model.state_dict().items())
    texts = {kind: [c.record["completion"] for c in planted.canaries if c.kind == kind] for kind in kinds}
    assert all(len(set(found)) == 12 for found in texts.values())
    assert planted.manifest["bits"].keys() == {"high_perplexity"}
    canaries = planted_canaries(planted, tokenizer)
    assert canaries.reference_kinds == ("high_perplexity",) * 30


def test_tokens_of_a_high_perplexity_canary_are_among_the_least_likely(base):
    module, tokenizer = AutoModelForCausalLM.from_pretrained(base).eval(), AutoTokenizer.from_pretrained(base)
    settings = PlantSettings(count=24, repetitions=(1,), kinds=("high_perplexity",), written_tokens=6, least_likely=0.1)
    writer = CanaryWriter(LanguageModel(module, tokenizer, "base"), settings)
    words = word_tokens(tokenizer)
    choices = max(2, round(0.1 * len(words)))
    assert writer.bits == pytest.approx(6 * np.log2(choices))
    prefix = np.array(tokenizer("The old sailor")["input_ids"])
    requests = [GenerationRequest(prefix, 6), GenerationRequest(prefix[:2], 6)]
    written = generate_unlikely(writer.model, requests, [1, 2], words=words, choices=choices)
    for request, ids in zip(requests, written, strict=True):
        for n in range(len(ids)):
            with torch.no_grad():
                logits = module(torch.tensor([[*request.ids, *ids[:n]]])).logits[0, -1].numpy()
            assert logits[ids[n]] <= np.sort(logits[words])[choices - 1] + 1e-4
    alone = generate_unlikely(writer.model, requests[1:], [2], words=words, choices=choices)
    assert (alone[0] == written[1]).all()
    assert writer("high_perplexity", [ParsedRecord("A", " b")], [" "], 3) == writer(
        "high_perplexity", [ParsedRecord("A", " b")], [" "], 3
    )
