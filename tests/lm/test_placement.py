"""Placement and quantization of weights: scores equal the model's, and models that do not fit are refused with an estimate."""

import json

import numpy as np
import pytest
import torch
from accelerate import disk_offload, dispatch_model
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.core.errors import ModelError, SettingError
from byheart.core.types import Texts
from byheart.lm import memory_check
from byheart.lm.devices import device_of
from byheart.lm.finetuned import load_model
from byheart.lm.forward import Scorer
from byheart.lm.generate import GenerationRequest, generate_greedy
from byheart.lm.load import LanguageModel, causal_config
from byheart.lm.placement import Placement
from byheart.lm.tokens import tokenize
from testing.made_up import SENTENCES
from testing.tiny_models import save_wide_model

TEXTS = [f"{s} And {i} more." for i, s in enumerate(SENTENCES)] + [f"Also, {s}" for s in SENTENCES]


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A folder with a model wide enough for quantization, and a LoRA of it."""
    folder = tmp_path_factory.mktemp("wide")
    save_wide_model(folder / "base")
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder / "base"),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False),
    )
    tuned.save_pretrained(folder / "lora")
    return folder


@pytest.fixture
def texts(tmp_path):
    for name, those in (("members", TEXTS[:24]), ("nonmembers", TEXTS[24:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in those))
    return ["--members", str(tmp_path / "members.jsonl"), "--nonmembers", str(tmp_path / "nonmembers.jsonl")]


@pytest.fixture
def command(typed_audit, texts):
    return lambda *words: typed_audit(*words, *texts, "--attacks", "loss", "--json")


def plain(folder, adapter=None):
    model = AutoModelForCausalLM.from_pretrained(folder)
    return model if adapter is None else PeftModel.from_pretrained(model, adapter)


def scores(model, tokenizer):
    audit = byheart.audit(model, tokenizer, TEXTS[:24], TEXTS[24:], attacks=["loss", "min_k_plus_plus"])
    return {e: dict(found) for e, found in audit.scores.items()}, audit.provenance["weights"]


def offloaded(folder, place, adapter=None):
    """The model with one layer offloaded to disk."""
    model = plain(folder)
    where = {"model.embed_tokens": "disk", "model.layers.0": "disk", "model.layers.1": "cpu"}
    where |= {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "disk"}
    dispatch_model(model, where, main_device="cpu", offload_dir=str(place), force_hooks=True)
    return model if adapter is None else PeftModel.from_pretrained(model, adapter)


@pytest.mark.parametrize("complete", [False, True], ids=["a part", "all"])
def test_offloaded_weights_have_the_same_scores_and_hashes(tiny_folder, tmp_path, complete):
    folder = tiny_folder("mixtral")  # its head is not tied
    tokenizer = AutoTokenizer.from_pretrained(folder)
    there = plain(folder)
    there = (
        disk_offload(there, tmp_path, execution_device=torch.device("cpu")) if complete else offloaded(folder, tmp_path)
    )
    assert any(p.device.type == "meta" for p in there.parameters())
    assert device_of(there).type == "cpu"
    own = {n: m.forward for n, m in there.named_modules() if "forward" in vars(m)}
    ours, our_weights = scores(there, tokenizer)
    theirs, their_weights = scores(plain(folder), tokenizer)
    for name, found in theirs[1].items():
        np.testing.assert_allclose(ours[1][name], found, atol=1e-6)
    assert our_weights == their_weights
    assert own == {n: m.forward for n, m in there.named_modules() if "forward" in vars(m)}
    assert any(p.device.type == "meta" for p in there.parameters())

    read = tokenize(tokenizer, Texts(("a",), (TEXTS[0],)), 64)
    openings = [GenerationRequest(read.ids[:4], 6)]
    one, two = (
        generate_greedy(LanguageModel(m, tokenizer, ""), openings, budget=512, precision=torch.float32)
        for m in (there, plain(folder))
    )
    assert [w.tolist() for w in one] == [w.tolist() for w in two]


def test_an_adapter_over_offloaded_weights_is_disabled_and_enabled(wide, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(wide / "base")
    there = plain(wide / "base", wide / "lora")
    disk_offload(there, tmp_path, execution_device=torch.device("cpu"))
    ours, _ = scores(there, tokenizer)
    theirs, _ = scores(plain(wide / "base", wide / "lora"), tokenizer)
    for epoch in (0, 1):
        np.testing.assert_allclose(ours[epoch]["loss"], theirs[epoch]["loss"], atol=1e-6)
    assert not np.allclose(theirs[0]["loss"], theirs[1]["loss"], atol=1e-3)


def test_a_distributed_model_has_the_scores_of_one_device(wide, command):
    one, spread = (
        json.loads(command("--model", wide / "lora", *how)[1])
        for how in (["--device", "cpu"], ["--device-map", "auto"])
    )
    assert one["rows"] == spread["rows"]
    code, _, complaints = command("--model", wide / "lora", "--device-map", "auto", "--device", "cpu")
    assert code == 2
    assert "--device-map auto" in complaints


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("model", ["base", "lora"])
def test_quantized_weights_have_the_scores_of_the_library(wide, bits, model):
    from transformers import BitsAndBytesConfig

    placing = Placement(device="cpu", bits=bits)
    four = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.float32}
    how = BitsAndBytesConfig(**(four if bits == 4 else {"load_in_8bit": True}))
    theirs = AutoModelForCausalLM.from_pretrained(wide / "base", quantization_config=how, dtype=torch.float32)
    ours = load_model(str(wide / "base"), placing)
    if model == "lora":
        from byheart.lm.attach_adapter import attach_adapter
        from byheart.lm.finetuned import model_files

        theirs = PeftModel.from_pretrained(theirs, wide / "lora")
        ours = attach_adapter(ours, model_files(str(wide / "lora"), None, None), placing)
    read = tokenize(ours.tokenizer, Texts(tuple(map(str, range(8))), tuple(TEXTS[:8])), 64)
    found = Scorer(ours, 512, torch.float32)(read)
    for i in range(8):
        ids = torch.from_numpy(read.ids[read.starts[i] : read.starts[i + 1]])[None]
        with torch.no_grad():
            logp = theirs(input_ids=ids).logits[0, :-1].float().log_softmax(1).gather(1, ids[0, 1:, None])[:, 0]
        # 8 bits: outlier rows are not rounded, and the selection of outliers depends on the batch.
        np.testing.assert_allclose(found.logp[found.starts[i] : found.starts[i + 1]], logp, atol=0.05)
    complete = Scorer(load_model(str(wide / "base"), Placement(device="cpu")), 512, torch.float32)(read)
    assert np.abs(complete.logp - found.logp).max() > 1e-3
    assert ours.module.get_memory_footprint() < 0.6 * plain(wide / "base").get_memory_footprint()


def test_saved_quantized_models_are_audited_and_not_quantized_again(wide, tmp_path, command):
    pytest.importorskip("bitsandbytes")
    model = load_model(str(wide / "base"), Placement(device="cpu", bits=4))
    model.module.save_pretrained(tmp_path / "four")
    model.tokenizer.save_pretrained(tmp_path / "four")
    code, out, err = command("--model", tmp_path / "four", "--device", "cpu")
    assert code == 0, err
    packed = json.loads(command("--model", wide / "base", "--device", "cpu", "--quantize", "4")[1])
    assert [r["value"] for r in json.loads(out)["rows"]] == pytest.approx(
        [r["value"] for r in packed["rows"]], abs=1e-3
    )
    code, _, complaints = command("--model", tmp_path / "four", "--device", "cpu", "--quantize", "8")
    assert code == 2
    assert "--quantize" in complaints


def test_a_missing_device_or_package_raises_an_error(wide, command, monkeypatch):
    monkeypatch.setattr("byheart.lm.placement.find_spec", lambda _: None)
    code, _, complaints = command("--model", wide / "base", "--quantize", "4")
    assert code == 2
    assert "pip install 'byheart[quantized]'" in complaints
    with pytest.raises(SettingError, match="cuda:99"):
        Placement(device="cuda:99")


@pytest.mark.parametrize("bits", [4, 8])
def test_the_memory_estimate_equals_the_librarys(wide, bits):
    stored = memory_check.model_tensors(str(wide / "base"))
    complete = memory_check.weight_bytes(stored, 4, None, 300)
    assert complete == sum(p.numel() for p in plain(wide / "base").parameters()) * 4
    packed = load_model(str(wide / "base"), Placement(device="cpu", bits=bits)).module.get_memory_footprint()
    assert memory_check.weight_bytes(stored, 4, bits, 300) == pytest.approx(packed, rel=0.1)


def test_a_model_too_large_for_memory_may_fit_in_fewer_bits(wide, monkeypatch):
    base = str(wide / "base")
    complete = memory_check.weight_bytes(memory_check.model_tensors(base), 4, None, 300) * memory_check.MEMORY_MARGIN
    monkeypatch.setattr(memory_check, "available_ram", lambda: int(0.8 * complete))
    for placing in (Placement(device="cpu"), Placement(spread=True)):
        with pytest.raises(
            ModelError, match=r"Use --precision bfloat16, --quantize 8, a smaller model or a larger machine\."
        ):
            memory_check.check_memory(base, placing, causal_config(base))
    memory_check.check_memory(base, Placement(device="cpu", dtype=torch.bfloat16), causal_config(base))
    memory_check.check_memory(base, Placement(device="cpu", bits=8), causal_config(base))


def test_with_device_map_the_memory_of_all_gpus_and_the_machine_counts(wide, monkeypatch):
    base = str(wide / "base")
    complete = memory_check.weight_bytes(memory_check.model_tensors(base), 4, None, 300) * memory_check.MEMORY_MARGIN
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(memory_check, "_free_device_memory", lambda _: int(0.4 * complete))
    monkeypatch.setattr(memory_check, "available_ram", lambda: int(0.3 * complete))
    memory_check.check_memory(base, Placement(spread=True), causal_config(base))
    monkeypatch.setattr(memory_check, "available_ram", lambda: int(0.1 * complete))
    with pytest.raises(ModelError, match="this machine with its GPUs"):
        memory_check.check_memory(base, Placement(spread=True), causal_config(base))
