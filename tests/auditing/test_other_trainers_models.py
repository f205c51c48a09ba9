"""Model folders and objects of other trainers: correct numbers, or a one-line error."""

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from peft import LoHaConfig, LoraConfig, PeftMixedModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    LlamaForSequenceClassification,
    Phi3Config,
    Phi3ForCausalLM,
)

import byheart
from byheart.core.errors import DataError, FormerNameWarning, ModelError
from testing.audited import MEMBERS, NONMEMBERS, refusal, trained
from testing.reading import mean_logps

TARGETS = ["q_proj", "v_proj"]


def lora(**settings):
    return LoraConfig(**{"r": 4, "target_modules": TARGETS, "task_type": "CAUSAL_LM"} | settings)


def plain_losses(module, tokenizer):
    return mean_logps(module, tokenizer, [*MEMBERS, *NONMEMBERS])


def weights_of(module):
    return {name: p.detach().clone() for name, p in module.state_dict().items()}


def assert_unchanged(module, before):
    after = module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.fixture
def tokenizer(base):
    return AutoTokenizer.from_pretrained(base)


@pytest.fixture
def fresh(base):
    return lambda: AutoModelForCausalLM.from_pretrained(base).eval()


@pytest.fixture
def both(base, saved, tmp_path):
    """A folder with complete weights and an adapter."""
    folder = tmp_path / "both"
    shutil.copytree(saved / "full", folder)
    for file in (saved / "lora").iterdir():
        if file.name.startswith("adapter_"):
            shutil.copy(file, folder)
    return folder


def test_a_folder_with_weights_and_an_adapter_is_refused_with_the_choices(both, base, saved, command, tokenizer):
    line = refusal(command("--model", both))
    assert "--adapter none" in line
    assert f"--model BASE --adapter {both}" in line
    assert "--adapter none" in refusal(command("--model", both, "--base", base))

    def scores(*words):
        code, output, complaints = command(*words, "--attacks", "loss", "--json")
        assert code == 0, complaints
        return {
            r["metric"]: r["value"] for r in json.loads(output)["rows"] if r["attack"] == "loss" and r["epoch"] == 1
        }

    assert scores("--model", both, "--adapter", "none") == scores("--model", saved / "full")
    assert scores("--model", base, "--adapter", both) == scores("--model", saved / "lora")


def test_a_config_beside_an_adapter_is_not_a_model(saved, base, command, tmp_path):
    folder = tmp_path / "axolotl"
    shutil.copytree(saved / "lora", folder)
    shutil.copy(f"{base}/config.json", folder)
    for words in (["--model", folder], ["--model", folder, "--base", base], ["--model", base, "--adapter", folder]):
        assert command(*words, "--attacks", "loss")[0] == 0


def test_unrelated_files_are_ignored(saved, tmp_path):
    from byheart.lm import base_models

    folder = tmp_path / "mistral"
    shutil.copytree(saved / "full", folder)
    size, name = base_models.parameter_count(str(folder)), base_models.identity(str(folder))
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    base_models.identity.cache_clear()
    assert base_models.parameter_count(str(folder)) == size
    assert base_models.identity(str(folder)) == name
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"consolidated\.safetensors"):
        base_models.check_loadable(str(folder))


def test_checkpoints_and_named_adapters_in_subfolders_are_named(saved, base, command, tmp_path, fresh):
    for step in (5, 10):
        shutil.copytree(saved / "lora", tmp_path / "run" / f"checkpoint-{step}")
    line = refusal(command("--model", tmp_path / "run"))
    assert line.index("checkpoint-5") < line.index("checkpoint-10")
    model = get_peft_model(fresh(), lora(), adapter_name="customers")
    model.save_pretrained(tmp_path / "named")
    assert str(tmp_path / "named" / "customers") in refusal(command("--model", base, "--adapter", tmp_path / "named"))


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": [*TARGETS, "embed_tokens"]},
        {"trainable_token_indices": [3, 4]},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens"]},
        {"use_dora": True},
    ],
    ids=["embedding", "tokens", "saved head", "saved embedding", "dora"],
)
def test_adapters_have_the_numbers_of_the_object_and_do_not_change_it(settings, fresh, tokenizer):
    torch.manual_seed(0)
    model = trained(get_peft_model(fresh(), lora(**settings)), tokenizer, 1e-2).eval()
    before = weights_of(model)
    audit = byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=["loss"])
    assert np.abs(audit.scores[1]["loss"] - plain_losses(model, tokenizer)).max() < 1e-5
    assert np.abs(audit.scores[0]["loss"] - plain_losses(fresh(), tokenizer)).max() < 1e-5
    assert_unchanged(model, before)


def test_a_vocabulary_that_was_resized_before_training_is_resized_again(fresh, base, tokenizer, command, tmp_path):
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    model = fresh()
    model.resize_token_embeddings(len(tokenizer))
    torch.manual_seed(0)
    model = trained(get_peft_model(model, lora(modules_to_save=["embed_tokens", "lm_head"])), tokenizer, 1e-2).eval()
    model.save_pretrained(tmp_path / "resized")
    tokenizer.save_pretrained(tmp_path / "resized")
    code, output, complaints = command(
        "--model", tmp_path / "resized", "--attacks", "loss", "-o", tmp_path / "out", "--json"
    )
    assert code == 0, complaints
    assert "added 2 tokens" in " ".join(json.loads(output)["warnings"])
    own = byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=["loss"])
    auc = {(r["epoch"], r["metric"]): r["value"] for r in json.loads(output)["rows"] if r["attack"] == "loss"}
    for row in own.rows:
        if row.attack == "loss" and row.epoch == 1:
            assert auc[1, row.metric] == pytest.approx(row.value, abs=1e-3)


def edited(folder, saved, change=lambda tensors: tensors, **config):
    """A copy of the saved LoRA with other tensors and other values in its config."""
    shutil.copytree(saved / "lora", folder)
    place = folder / "adapter_config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **config}))
    save_file(change(load_file(folder / "adapter_model.safetensors")), folder / "adapter_model.safetensors")
    return folder


def test_adapters_that_cannot_be_audited_are_refused_with_the_fix(saved, command, tmp_path):
    empty = edited(tmp_path / "zero3", saved, lambda tensors: {name: torch.zeros(0) for name in tensors})
    assert "ZeRO-3" in refusal(command("--model", empty))
    line = refusal(command("--model", edited(tmp_path / "future", saved, peft_type="FUTURE")))
    assert "FUTURE" in line
    assert "Upgrade peft" in line
    line = refusal(command("--model", edited(tmp_path / "multi", saved, peft_type="MULTITASK_PROMPT_TUNING")))
    assert "task_ids" in line
    assert "classifier" in refusal(command("--model", edited(tmp_path / "cls", saved, task_type="SEQ_CLS")))
    renamed = edited(
        tmp_path / "renamed", saved, lambda t: {n.replace("model.model.", "model.x."): v for n, v in t.items()}
    )
    assert "lacks weights" in refusal(command("--model", renamed))
    line = refusal(command("--model", edited(tmp_path / "mlx", saved, peft_type=None)))
    assert "has no peft_type, so another library than peft wrote it" in line
    file = edited(tmp_path / "cut", saved) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    assert f"{file}: is truncated or damaged" in refusal(command("--model", file.parent))


def test_a_classifier_is_no_language_model(fresh, base, tokenizer, command, tmp_path):
    classifier = LlamaForSequenceClassification.from_pretrained(base)
    classifier.save_pretrained(tmp_path / "classifier")
    tokenizer.save_pretrained(tmp_path / "classifier")
    assert "classification" in refusal(command("--model", tmp_path / "classifier"))
    for model in (classifier, get_peft_model(classifier, lora(task_type="SEQ_CLS"))):
        with pytest.raises(ModelError, match="ForSequenceClassification"):
            byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS)
        with pytest.raises(ModelError, match="ForSequenceClassification"):
            byheart.token_stats(model, tokenizer, MEMBERS)


def test_a_model_that_reads_later_tokens_is_refused_in_memory(fresh, tokenizer):
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    with pytest.raises(ModelError, match="ForMaskedLM"):
        byheart.token_stats(BertForMaskedLM(config), tokenizer, MEMBERS)
    bidirectional = fresh()
    for layer in bidirectional.model.layers:
        layer.self_attn.is_causal = False
    bidirectional.config._attn_implementation = "eager"
    original = type(bidirectional.model).forward

    def forward(self, *args, **kwargs):
        kwargs["attention_mask"] = torch.zeros(1, 1, 1, 1)
        return original(self, *args, **kwargs)

    bidirectional.model.forward = forward.__get__(bidirectional.model)
    with pytest.raises(ModelError, match="later tokens"):
        byheart.audit(bidirectional, tokenizer, MEMBERS, NONMEMBERS)


def test_an_adapter_that_changed_the_base_weights_has_no_inner_base(fresh, tokenizer, base, command, tmp_path):
    torch.manual_seed(0)
    model = get_peft_model(fresh(), lora(init_lora_weights="pissa"))
    model = trained(model, tokenizer, 1e-2).eval()
    audit = byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=["loss", "reference"])
    assert set(audit.scores) == {1}
    assert "pissa" in audit.left_out["reference"]
    assert "pissa" in audit.warnings[0]
    with_base = byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, base=fresh(), attacks=["loss", "reference"])
    assert np.abs(with_base.scores[0]["loss"] - plain_losses(fresh(), tokenizer)).max() < 1e-5
    model.save_pretrained(tmp_path / "pissa")
    assert "init_lora_weights: 'pissa'" in refusal(command("--model", tmp_path / "pissa"))


def test_merged_adapters_stay_merged(fresh, tokenizer):
    torch.manual_seed(0)
    model = get_peft_model(fresh(), lora(init_lora_weights=False))
    model.add_adapter("second", lora(init_lora_weights=False))
    model.merge_adapter(["default"])
    model.eval()
    before, numbers = weights_of(model), plain_losses(model, tokenizer)
    audit = byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=["loss", "reference"])
    assert np.abs(audit.scores[1]["loss"] - numbers).max() < 1e-5
    assert "merged" in audit.left_out["reference"]
    assert_unchanged(model, before)
    assert np.array_equal(plain_losses(model, tokenizer), numbers)


def test_a_mixed_model_is_refused(fresh, tokenizer):
    model = get_peft_model(fresh(), lora(), mixed=True)
    model.add_adapter("other", LoHaConfig(target_modules=TARGETS))
    assert isinstance(model, PeftMixedModel)
    with pytest.raises(ModelError, match="PeftMixedModel"):
        byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS)


def test_a_base_with_other_tokens_is_left_out_with_the_reason(fresh, base, tokenizer, command, tmp_path, files):
    tokenizer.add_tokens(["sailor", "doctor"])
    model = fresh()
    model.resize_token_embeddings(len(tokenizer))
    trained(model, tokenizer, 1e-2).save_pretrained(tmp_path / "tuned")
    tokenizer.save_pretrained(tmp_path / "tuned")
    code, output, complaints = command(
        "--model", tmp_path / "tuned", "--base", base, "--attacks", "loss,reference", "--json"
    )
    assert code == 0, complaints
    reported = json.loads(output)
    assert "differently" in reported["not_run"]["reference"]
    assert any("differently" in w for w in reported["warnings"])
    assert {r["epoch"] for r in reported["rows"]} == {1}


def test_a_long_text_does_not_change_the_score_of_a_short_one(tokenizer):
    torch.manual_seed(0)
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "original_max_position_embeddings": 48,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
    }
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    config = Phi3Config(
        **sizes,
        num_attention_heads=2,
        original_max_position_embeddings=48,
        rope_parameters=rope,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
    )
    model = Phi3ForCausalLM(config).eval()
    texts = [*MEMBERS[:6], " ".join(MEMBERS[:4])]
    stats = byheart.token_stats(model, tokenizer, texts)
    means = np.add.reduceat(stats.logp, stats.starts[:-1]) / np.diff(stats.starts)
    assert len(tokenizer(texts[-1])["input_ids"]) > 48 > len(tokenizer(texts[0])["input_ids"])
    assert np.abs(means - mean_logps(model, tokenizer, texts)).max() < 1e-5


def test_a_dynamic_rope_beyond_its_context_is_refused(fresh, tokenizer, base):
    model = AutoModelForCausalLM.from_pretrained(
        base, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}, max_position_embeddings=16
    )
    with pytest.raises(ModelError, match="max_tokens to 16"):
        byheart.token_stats(model, tokenizer, [" ".join(MEMBERS)])


@pytest.mark.parametrize("error", [AttributeError("no such part"), RuntimeError("broken kernel")])
def test_an_error_of_the_callback_does_not_end_training(error, fresh, tmp_path, monkeypatch, training_folders):
    from byheart.auditing.training import callback
    from testing import training

    def broken(*_, **__):
        raise error

    monkeypatch.setattr(callback, "create_monitor", broken)
    watch = byheart.MemorizationCallback(MEMBERS, NONMEMBERS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training.plain(tmp_path, AutoModelForCausalLM.from_pretrained(training.FOLDERS["gpt2"]), [watch]).train()
    assert any("training continues" in str(w.message) and str(error) in str(w.message) for w in caught)
    assert watch.rows == []
    with pytest.warns(FormerNameWarning):
        assert watch.looks == []


def test_columns_frames_and_data_sets_are_read_as_records(fresh, tokenizer):
    import datasets
    import pandas as pd

    from byheart.auditing.texts import parse_texts

    expected = [t.scored for t in parse_texts("member", MEMBERS)]
    data_set = datasets.Dataset.from_dict({"text": MEMBERS})
    for items in ({"text": MEMBERS}, pd.DataFrame({"text": MEMBERS}), data_set, (t for t in MEMBERS)):
        assert [t.scored for t in parse_texts("member", items)] == expected
    with pytest.raises(DataError, match="'train'"):
        parse_texts("member", datasets.DatasetDict(train=data_set))
    with pytest.raises(DataError, match="single record"):
        parse_texts("member", {"text": "One text."})
    with pytest.raises(DataError, match="text 2, id 1"):
        parse_texts("member", {"text": MEMBERS[:2], "id": ["a"]})
    with pytest.raises(DataError, match="int"):
        parse_texts("member", 3)
    with pytest.raises(DataError, match="dict"):
        byheart.token_stats(fresh(), tokenizer, {"text": MEMBERS})
