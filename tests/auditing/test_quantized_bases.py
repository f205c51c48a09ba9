"""Adapters on 4-bit bases, from files and in memory; quantized files whose package is not installed are refused by its name."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

import byheart
from byheart.auditing import target
from byheart.auditing.from_files import AuditRequest, audit_files
from byheart.auditing.settings import AuditSettings
from byheart.core.errors import ModelError
from byheart.lm.load import load
from byheart.lm.placement import Placement
from testing.adapter_kinds import perturb
from testing.adapters import differences, state
from testing.audited import MEMBERS, NONMEMBERS, records
from testing.reading import mean_logps
from testing.tiny_models import save_wide_model, tiny_tokenizer

SIDES = {"member": MEMBERS[:6], "nonmember": NONMEMBERS[:6]}
TEXTS = [*SIDES["member"], *SIDES["nonmember"]]
FOUR = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.float32}
LORA = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model wide enough to be packed."""
    folder = tmp_path_factory.mktemp("wide")
    save_wide_model(folder, tied=False)
    return folder


def four_bit(folder):
    pytest.importorskip("bitsandbytes")
    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=BitsAndBytesConfig(**FOUR), dtype=torch.float32
    )


def plain_loop(model):
    """The plain loop's numbers, before bitsandbytes repacks weights for the CPU."""
    for part in model.modules():
        if "support_avx512bf16_for_cpu" in vars(part):
            part.support_avx512bf16_for_cpu = False
    return mean_logps(model.eval(), tiny_tokenizer(bos=False), TEXTS)


def audited_files(folder, tmp_path):
    sources = {part: records(tmp_path / f"{part}.jsonl", [{"text": t} for t in side]) for part, side in SIDES.items()}
    request = AuditRequest(sources=sources, settings=AuditSettings(attacks=["loss", "reference"]))
    how = {"adapter": None, "base": None, "placement": Placement(device="cpu"), "on_status": lambda _: None}
    return audit_files(request, str(folder), **how)


def test_an_adapter_on_a_base_that_was_saved_in_4_bits(wide, tmp_path):
    base = four_bit(wide)
    base.save_pretrained(tmp_path / "four")
    tiny_tokenizer(bos=False).save_pretrained(tmp_path / "four")
    stored = AutoModelForCausalLM.from_pretrained(tmp_path / "four", dtype=torch.float32)
    perturb(get_peft_model(stored, LORA)).save_pretrained(tmp_path / "lora")
    assert json.loads((tmp_path / "lora" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        tmp_path / "four"
    )
    found = audited_files(tmp_path / "lora", tmp_path)
    tuned = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "four", dtype=torch.float32), tmp_path / "lora"
    )
    np.testing.assert_allclose(found.scores[1]["loss"], plain_loop(tuned), atol=1e-4)
    with tuned.disable_adapter():
        np.testing.assert_allclose(found.scores[0]["loss"], plain_loop(tuned), atol=1e-4)


def test_an_adapter_on_4_bits_in_memory_has_the_plain_loops_numbers_and_is_not_repacked(wide):
    tokenizer = AutoTokenizer.from_pretrained(wide)
    model = perturb(get_peft_model(four_bit(wide), LORA)).eval()
    before = state(model)
    found = byheart.audit(model, tokenizer, *SIDES.values(), attacks=["loss", "reference"])
    assert differences(before, state(model)) == []
    np.testing.assert_allclose(found.scores[1]["loss"], plain_loop(model), atol=1e-4)
    with model.disable_adapter():
        np.testing.assert_allclose(found.scores[0]["loss"], plain_loop(model), atol=1e-4)


def quantized(wide, folder, settings, store):
    """Write the wide model with quantized projections, and beside it the dequantized model.

    `store` returns the stored tensors of a weight by the ends of their names, and the dequantized weight.
    """
    stored, dequantized = {}, {}
    for name, weight in load_file(wide / "model.safetensors").items():
        ends, dequantized[name] = store(weight) if "_proj." in name else ({"": weight}, weight)
        stored |= {name.removesuffix(".weight") + f".weight{end}": tensor.contiguous() for end, tensor in ends.items()}
    for place, tensors in ((folder / "quantized", stored), (folder / "dequantized", dequantized)):
        shutil.copytree(wide, place)
        save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((wide / "config.json").read_text())
    (folder / "quantized" / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    return folder / "quantized", AutoModelForCausalLM.from_pretrained(folder / "dequantized")


def fp8_blocks(weight):
    """fp8 numbers with a scale per block of 64 x 64."""
    rows, columns = weight.shape
    blocks = weight.reshape(rows // 64, 64, columns // 64, 64)
    scale = blocks.abs().amax((1, 3)) / 448
    eight = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
    dequantized = (eight.float() * scale[:, None, :, None]).reshape(rows, columns)
    return {"": eight.reshape(rows, columns), "_scale_inv": scale}, dequantized


def fp8_tensor(weight):
    """fp8 numbers with one scale."""
    scale = (weight.abs().amax() / 448).reshape(1)
    eight = (weight / scale).to(torch.float8_e4m3fn)
    return {"": eight, "_scale": scale}, eight.float() * scale


def four_bit_groups(weight):
    """4-bit integers with a scale per group of 32 columns, eight to an int32."""
    rows, columns = weight.shape
    groups = weight.reshape(rows, columns // 32, 32)
    scale = groups.abs().amax(2) / 7
    four = (groups / scale[:, :, None]).round().clamp(-8, 7).to(torch.int64)
    places = (four + 8).reshape(rows, columns // 8, 8) << torch.arange(0, 32, 4)
    packed = places.sum(2).to(torch.uint32).view(torch.int32)
    ends = {"_packed": packed, "_scale": scale, "_shape": torch.tensor([rows, columns])}
    return ends, (four.float() * scale[:, :, None]).reshape(rows, columns)


def compressed(layout, **weights):
    """The config of compressed-tensors for quantized linear layers."""
    group = {"targets": ["Linear"], "weights": {"symmetric": True, **weights}}
    return {
        "quant_method": "compressed-tensors",
        "format": layout,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


LAYOUTS = {
    "fp8": (
        {
            "quant_method": "fp8",
            "activation_scheme": "dynamic",
            "weight_block_size": [64, 64],
            "modules_to_not_convert": ["lm_head"],
        },
        fp8_blocks,
    ),
    "compressed-tensors, fp8": (
        compressed("float-quantized", num_bits=8, type="float", strategy="tensor"),
        fp8_tensor,
    ),
    "compressed-tensors, 4 bits": (
        compressed("pack-quantized", num_bits=4, type="int", strategy="group", group_size=32),
        four_bit_groups,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_quantized_files_and_an_adapter_on_them_have_the_numbers_of_the_dequantized_weights(wide, tmp_path, layout):
    if layout.startswith("compressed"):
        pytest.importorskip("compressed_tensors")
    folder, dequantized = quantized(wide, tmp_path, *LAYOUTS[layout])
    own = plain_loop(dequantized)
    assert np.abs(own - plain_loop(AutoModelForCausalLM.from_pretrained(wide))).max() > 1e-3
    np.testing.assert_allclose(audited_files(folder, tmp_path).scores[1]["loss"], own, atol=1e-4)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    plain_loop(loaded)  # compressed-tensors unpacks the weights in the first pass, and peft requires that
    model = perturb(get_peft_model(loaded, LORA)).eval()
    model.save_pretrained(tmp_path / "lora")
    tuned = plain_loop(model)
    for found in (
        byheart.audit(model, AutoTokenizer.from_pretrained(wide), *SIDES.values(), attacks=["loss", "reference"]),
        audited_files(tmp_path / "lora", tmp_path),
    ):
        np.testing.assert_allclose(found.scores[1]["loss"], tuned, atol=1e-4)
        np.testing.assert_allclose(found.scores[0]["loss"], own, atol=1e-4)


class Packed(torch.nn.Parameter):
    """A weight without reshaping, as torchao's quantized weights."""

    def flatten(self, *_):
        raise NotImplementedError("Int8Tensor dispatch: attempting to run unimplemented operator/function")

    def dequantize(self):
        return 2 * torch.ones(3)


def test_weights_without_reshaping_are_dequantized_for_their_hash():
    digests = []
    for weight in (Packed(torch.zeros(3)), torch.nn.Parameter(2 * torch.ones(3))):
        layer = torch.nn.Module()
        layer.weight = weight
        digests.append(target._weights_digest(torch.nn.ModuleDict({"layer": layer})))
    assert digests[0] == digests[1]


@pytest.fixture
def quantized_folder(tiny_folder, tmp_path):
    """A function that writes a folder whose config states a quantization method."""

    def write(**settings):
        shutil.copytree(tiny_folder("llama"), tmp_path / "quantized")
        config = json.loads((tmp_path / "quantized" / "config.json").read_text())
        config["quantization_config"] = settings
        (tmp_path / "quantized" / "config.json").write_text(json.dumps(config))
        return str(tmp_path / "quantized")

    return write


PACKAGES = {
    "gptq": ("optimum", "gptqmodel"),
    "awq": ("gptqmodel",),
    "compressed-tensors": ("compressed-tensors",),
    "hqq": ("hqq",),
    "quanto": ("optimum-quanto",),
    "torchao": ("torchao",),
    "aqlm": ("aqlm",),
    "eetq": ("eetq", "kernels"),
    "vptq": ("vptq",),
    "auto-round": ("auto-round",),
}
SETTINGS = {
    "gptq": {"bits": 4, "group_size": 128},
    "awq": {"bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
    "torchao": {"quant_type": {"default": {"_type": "Int8WeightOnlyConfig", "_data": {}}}},
    "quanto": {"weights": "int8"},
    "auto-round": {"bits": 4, "group_size": 128, "sym": True},
}


@pytest.mark.parametrize("method", PACKAGES)
def test_a_missing_package_is_named_in_one_line(quantized_folder, method):
    if any(importlib.util.find_spec(name.replace("-", "_")) for name in PACKAGES[method]):
        pytest.skip("the package is installed")
    folder = quantized_folder(quant_method=method, **SETTINGS.get(method, {}))
    with pytest.raises(
        ModelError, match=f"is quantized with {method} and needs a package that is not installed"
    ) as reported:
        load(folder)
    assert any(name.lower() in str(reported.value).lower() for name in PACKAGES[method]), reported.value
    assert "Install the package, or audit the weights that were quantized." in str(reported.value)
    assert "\n" not in str(reported.value)


def test_a_method_that_transformers_does_not_know_is_refused(quantized_folder):
    """transformers warns in a log that byheart silences, and reads the numbers as if they were not quantized."""
    with pytest.raises(ModelError, match=r"is quantized with 'ternary', which transformers [\d.]+ does not load"):
        load(quantized_folder(quant_method="ternary"))
