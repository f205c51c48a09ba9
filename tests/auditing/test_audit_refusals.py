"""Texts, models, settings and bounds that an audit refuses, each in one line."""

import json
import re
import shutil

import pytest
from peft import (
    LoraConfig,
    get_peft_model,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.auditing.settings import AuditSettings
from byheart.core.errors import DataError, ModelError, SettingError, UnknownNameError
from byheart.lm import memory_check
from testing.audited import ADAPTERS, MEMBERS, NONMEMBERS, SHORT, records, refusal, trained


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        ("perplexity=3", "Choices: auc, tpr_at_fpr"),
        ("auc", "Write, for example, --fail-above auc=0.6."),
        ("tpr_at_fpr", "Write, for example, --fail-above tpr_at_fpr=0.05."),
        ("auc=2", "--fail-above auc=2"),
        ("auc=nan", "--fail-above auc=nan"),
        (
            "tpr_at_fpr=0.05",
            "tpr_at_fpr=0.05: 32 non-members are too few to judge TPR at 1 % FPR. Provide at least 100, or raise --fpr.",
        ),
    ],
)
def test_a_bound_on_an_unmeasured_metric_is_refused(saved, command, bound, says):
    assert says in refusal(command("--model", saved / "lora", "--fail-above", bound))


def bad(name):
    """Invalid files by name, each with a part of its error message."""
    first = {"text": MEMBERS[0]}
    return {
        "fields": ([{"a": "1", "body": "x"}], "a, body"),
        "both": (
            [*({"text": t} for t in NONMEMBERS), first],
            "bad-both.jsonl: record 'line 33' has the same text as record 'm-0' in ",
        ),
        "empty": ([first, {"text": " "}], "line 2'"),
        "twice": ([{"id": 1, "text": "One."}, {"id": 1, "text": "Two."}], "the id '1'"),
        "chat": ([{"messages": [{"role": "assistant", "content": "x y"}]}] * 2, "chat template"),
        "half": ('{"text": "\\ud800 half"}', "surrogate pair"),
        "number": ([{"text": 3}], "text"),
        "json": (
            "{",
            "bad-json.jsonl line 1, column 2: is not JSON (Expecting property name enclosed in double quotes).",
        ),
        "none": ("", "bad-none.jsonl: the file is empty."),
    }[name]


@pytest.mark.parametrize("name", ["fields", "both", "empty", "twice", "chat", "half", "number", "json", "none"])
def test_bad_texts_are_refused_in_one_line(saved, files, command, tmp_path, name):
    content, says = bad(name)
    path = files / f"bad-{name}.jsonl"
    path.write_text(content) if isinstance(content, str) else records(path, content)
    reported = command("--model", saved / "lora", "-o", tmp_path / "out", nonmembers=path.name)
    assert says in refusal(reported)
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

    assert "--base" in broken(lambda p: recorded(p, base_model_name_or_path=None))
    assert "base model '/gone/away': no such file or folder. Pass it with --base." in broken(
        lambda p: recorded(p, base_model_name_or_path="/gone/away")
    )
    assert re.search(
        r"base model 'acme/private': not found locally or on the Hub \(.+\)\. Pass it with --base\.$",
        broken(lambda p: recorded(p, base_model_name_or_path="acme/private")),
    )
    assert refusal(command("--model", saved / "lora", "--base", "no/such/base")) == (
        "byheart: --base no/such/base: no such file or folder. Correct the path or name."
    )
    assert "--base acme/private: not found" in refusal(command("--model", saved / "full", "--base", "acme/private"))
    assert "lora" in broken(lambda p: recorded(p, base_model_name_or_path=str(tiny_folder("gpt2"))))
    assert "lora" in broken(lambda p: recorded(p, r=7))
    assert "NO_SUCH" in broken(lambda p: recorded(p, peft_type="NO_SUCH"))
    assert "adapter_config.json" in broken(lambda p: p.write_text("{"))
    assert "pickle" in broken(lambda p: (p.parent / "adapter_model.safetensors").unlink())

    fresh = get_peft_model(AutoModelForCausalLM.from_pretrained(base), ADAPTERS["lora"][0])
    fresh.save_pretrained(tmp_path / "fresh")
    assert str(tmp_path / "fresh") in refusal(command("--model", tmp_path / "fresh"))

    assert "the same weights" in refusal(command("--model", base, "--base", base))
    assert "base" in refusal(command("--model", saved / "full", "--base", tiny_folder("gpt2")))
    assert "--base" in refusal(command("--model", base, "--adapter", saved / "lora", "--base", saved / "full"))
    assert "adapter_config.json" in refusal(command("--model", base, "--adapter", saved / "full"))
    assert "lora: is itself an adapter" in refusal(command("--model", saved / "lora", "--adapter", saved / "lora"))
    assert "/gone/away" in refusal(command("--model", "/gone/away"))
    assert refusal(command("--model", base, "--attacks", "reference")) == (
        "byheart: attacks: none of the selected attacks can run. reference requires the base model: --base, in Python base=."
    )
    assert "'los'" in refusal(command("--model", base, "--attacks", "los"))
    (tmp_path / "file").touch()
    assert str(tmp_path / "file" / "out") in refusal(command("--model", base, "-o", tmp_path / "file" / "out"))
    assert str(tmp_path / "lora") in refusal(command("--model", tmp_path))
    (tmp_path / "empty").mkdir()
    assert "no config.json or adapter_config.json" in refusal(command("--model", tmp_path / "empty"))
    (tmp_path / "empty" / "facts.json").touch()
    (tmp_path / "empty" / "trained.safetensors").touch()
    assert "has only the parameters that a study trained" in refusal(command("--model", tmp_path / "empty"))
    assert "config.json" in refusal(command("--model", ""))
    assert re.search(r"'no-owner-of/this'.*Unset HF_HUB_OFFLINE", refusal(command("--model", "no-owner-of/this")))
    assert "--device nonsense: is not a device. Write auto, cpu, cuda" in refusal(
        command("--model", base, device="nonsense")
    )
    for fpr in ("0", "1", "nan"):
        assert f"--fpr {fpr}: must be above 0 and below 1" in refusal(command("--model", base, "--fpr", fpr))
    assert not (tmp_path / "out").exists()


def test_an_adapter_with_trained_biases_has_no_inner_base(tiny_folder, tmp_path, command):
    gpt2 = str(tiny_folder("gpt2"))
    config = LoraConfig(r=4, target_modules=["c_attn"], task_type="CAUSAL_LM", bias="all")
    tokenizer = AutoTokenizer.from_pretrained(gpt2)
    model = trained(get_peft_model(AutoModelForCausalLM.from_pretrained(gpt2), config), tokenizer, 3e-2)
    model.save_pretrained(tmp_path / "biased")
    assert "bias: 'all'" in refusal(command("--model", tmp_path / "biased"))
    found = byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=SHORT)
    assert set(found.scores) == {1}
    assert set(found.left_out) == {"reference"}
    assert "bias: 'all'" in found.warnings[0]
    assert "bias: 'all'" in found.left_out["reference"]
    own = AutoModelForCausalLM.from_pretrained(gpt2)
    assert set(byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, base=own, attacks=SHORT).scores) == {0, 1}


def test_a_base_other_than_the_adapters_is_reported_first(base, saved, command):
    reported = json.loads(
        command("--model", saved / "lora", "--base", saved / "full", "--attacks", "loss", "--json")[1]
    )
    assert base in reported["warnings"][0]
    same = json.loads(command("--model", base, "--adapter", saved / "lora", "--attacks", "loss", "--json")[1])
    assert not any(base in w for w in same["warnings"])


def test_a_model_that_memory_cannot_hold_is_refused_before_it_is_loaded(saved, command, monkeypatch):
    monkeypatch.setattr(memory_check, "available_ram", lambda: 100_000)
    reported = refusal(command("--model", saved / "lora"))
    assert "billion parameters" in reported
    assert "--precision bfloat16" in reported
    assert "--quantize 8" in reported


def test_a_model_in_memory_equal_to_its_base_is_refused(base):
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), ADAPTERS["lora"][0])
    with pytest.raises(ModelError, match="identical log-probabilities"):
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
def test_wrong_settings_are_refused_immediately(how, kind):
    with pytest.raises(kind):
        AuditSettings(**how)


def test_invalid_models_and_texts_in_memory_are_refused(base):
    tokenizer = AutoTokenizer.from_pretrained(base)
    with pytest.raises(ModelError, match="causal language model"):
        byheart.audit("path", tokenizer, MEMBERS, NONMEMBERS)
    with pytest.raises(DataError, match="has the same text as record '0' in members, and 31 more records"):
        byheart.audit(AutoModelForCausalLM.from_pretrained(base), tokenizer, MEMBERS, MEMBERS)
