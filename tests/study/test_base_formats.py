"""Base models of 16, 8 and 4 bits in studies: the numbers of the libraries, keys, refusals by name, and memory."""

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

import byheart
from byheart.core.config import BaseFormat
from byheart.core.errors import ModelError, SettingError
from byheart.core.registry import choose, entry_names, module_constant
from byheart.lm import activation_memory, base_cache, memory_check
from byheart.store.store import Store
from byheart.study import memory_estimate
from byheart.study.estimate import estimates_of, plan_table
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import BASE
from byheart.study.plan import plan, plan_cells
from byheart.study.study_file import parse_study
from testing.tiny_models import save_wide_model
from testing.trained_studies import one_step, plain_loop, reopened, scores_by_epoch

CPU = torch.device("cpu")
HALF = {"base_precision": "bfloat16"}
FOUR = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.float32}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model wide enough to be packed."""
    folder = tmp_path_factory.mktemp("wide")
    save_wide_model(folder)
    return folder


def study(folder, methods, **machine):
    return one_step(folder, methods=methods, machine={"device": "cpu", "precision": "float32", **machine})


def cells(folder, store, methods, **machine):
    return plan_cells(parse_study(study(folder, methods, **machine)), store)


def library(folder, **machine):
    """The base model as transformers and bitsandbytes load it."""
    options = {"dtype": getattr(torch, machine.get("base_precision", "float32"))}
    if bits := machine.get("quantize"):
        options["quantization_config"] = BitsAndBytesConfig(**(FOUR if bits == 4 else {"load_in_8bit": True}))
    model = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    for part in model.modules():
        if "support_avx512bf16_for_cpu" in vars(part):
            part.support_avx512bf16_for_cpu = False
    return model


CASES = [
    (HALF, ["lora", "prompt", "p_tuning", "prefix", "head"], 1e-4),
    ({"base_precision": "float16"}, ["lora", "head"], 1e-4),
    ({"quantize": 4}, ["lora", "prompt", "prefix", "p_tuning"], 1e-4),
    # 8 bits: outlier rows are not rounded, and the selection of outliers depends on the batch.
    ({"quantize": 8}, ["lora", "prefix"], 0.05),
]


@pytest.mark.parametrize(("machine", "methods", "tolerance"), CASES, ids=["bfloat16", "float16", "4 bits", "8 bits"])
def test_a_study_has_the_numbers_of_the_libraries(wide, tmp_path, machine, methods, tolerance):
    """Of base models in bfloat16, in which batches round differently, the loop's own difference between batches is allowed."""
    store = Store.open(tmp_path)
    results = byheart.run(study(wide, methods, **machine), store=store)
    assert not results.failed, results.failed
    tokenizer = AutoTokenizer.from_pretrained(wide)
    tolerance = 0.03 if "base_precision" in machine else tolerance
    complete = plain_loop(library(wide), tokenizer, cells(wide, store, methods)[0])
    for planned, outcome in zip(cells(wide, store, methods, **machine), results.outcomes, strict=True):
        found = scores_by_epoch(outcome.rows, store)
        label = ", ".join(f"{n}={v}" for n, v in machine.items())
        assert all(r.training_settings.endswith(label) for r in outcome.rows)
        base = plain_loop(library(wide, **machine), tokenizer, planned)
        np.testing.assert_allclose(found[0], base, atol=tolerance)
        assert np.abs(found[0] - complete).max() > 1e-4, "the base model is in float32"
        if planned.cell.method.name != "head":
            trained = reopened(store.folder("training", planned.key), lambda: library(wide, **machine))
            assert isinstance(trained, PeftModel)
            np.testing.assert_allclose(found[1], plain_loop(trained, tokenizer, planned), atol=tolerance)
        assert np.abs(found[1] - found[0]).max() > 3 * tolerance / 100, "the step changed nothing"


def test_trained_weights_are_float32(wide):
    for planned in cells(wide, Store.open(wide / "store"), ["head", "lora", "prefix", "p_tuning"], **HALF):
        model = base_cache.borrow(str(wide), CPU, base_format=BaseFormat(**HALF))
        module = planned.cell.method(model).module
        assert {p.dtype for p in module.parameters() if p.requires_grad} == {torch.float32}
        assert {p.dtype for p in module.parameters() if not p.requires_grad} == {torch.bfloat16}
    base_cache.release()


def test_keys_name_the_format_and_only_what_it_changes(wide, tmp_path):
    store = Store.open(tmp_path)
    formats = [{}, {"base_precision": "auto"}, {"base_precision": "float32"}, HALF, {"quantize": 4}, {"quantize": 8}]
    planned = [cells(wide, store, ["lora"], **f)[0] for f in formats]
    assert len({p.key for p in planned[:3]}) == 1
    assert len({p.key for p in planned}) == 4
    target = planned[0].observations[0]
    assert len({evidence_key(p, target, BASE) for p in planned}) == 4
    assert len({str(p.tokens_recipe("audited")) for p in planned}) == 1
    assert planned[4].recipe["base_format"] == {"quantize": 4}
    assert "base_format" not in planned[2].recipe
    assert len({p.cell.label for p in planned}) == 4


@pytest.mark.parametrize(
    ("method", "machine", "words"),
    [
        ("full", HALF, "machine.base_precision = bfloat16: methods full trains every weight"),
        ("dp_full", {"base_precision": "float16"}, "methods dp_full trains every weight"),
        ("full", {"quantize": 4}, "machine.quantize = 4: methods full trains every weight"),
        ("head", {"quantize": 8}, "machine.quantize = 8: methods head trains the output head"),
    ],
)
def test_methods_that_train_the_base_are_refused_by_name(wide, tmp_path, method, machine, words):
    with pytest.raises(SettingError, match=words):
        plan(parse_study(study(wide, ["lora", method], **machine)), Store.open(tmp_path))


def test_a_missing_package_is_named_before_any_work(wide, tmp_path, monkeypatch):
    monkeypatch.setattr("byheart.study.base_formats.find_spec", lambda _: None)
    with pytest.raises(SettingError, match=r"pip install 'byheart\[quantized\]'"):
        byheart.run(study(wide, ["lora"], quantize=4), store=tmp_path)


def test_experts_are_not_quantized_and_refused(tiny_folder):
    pytest.importorskip("bitsandbytes")
    with pytest.raises(
        ModelError, match=r"does not quantize the weights of the experts in model\.layers\.0\.mlp\.experts"
    ):
        base_cache.borrow(str(tiny_folder("mixtral")), CPU, base_format=BaseFormat(quantize=8))


@pytest.mark.parametrize("name", entry_names("methods"))
def test_methods_declare_which_base_weights_they_train(wide, name):
    model = base_cache.borrow(str(wide), CPU)
    method, owned = choose("methods", name), {id(p) for p in model.module.parameters()}
    head = model.module.get_output_embeddings()
    module = method(model).module
    trained = {id(p) for p in module.parameters() if p.requires_grad}
    kind = "head" if trained == {id(p) for p in head.parameters()} else "all" if trained & owned else ""
    assert module_constant(method.function, "TRAINED_BASE_WEIGHTS", "") == kind
    base_cache.release()


@pytest.mark.parametrize("bits", [4, 8])
def test_copies_of_a_quantized_base_share_its_weights(wide, bits):
    pytest.importorskip("bitsandbytes")
    base_cache.release()
    first, second = (base_cache.borrow(str(wide), CPU, base_format=BaseFormat(quantize=bits)) for _ in range(2))
    layers = [m.module.model.layers[0].mlp.up_proj for m in (first, second)]
    ids = torch.arange(20)[None]
    with torch.no_grad():
        logits = [m.module(ids).logits for m in (first, second, first)]
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])
    assert layers[0] is not layers[1]
    assert layers[0].weight.data_ptr() == layers[1].weight.data_ptr()
    scales = [x.weight.quant_state.absmax if bits == 4 else x.state.SCB for x in layers]
    assert scales[0].data_ptr() == scales[1].data_ptr()
    embeddings = first.module.get_input_embeddings().weight
    assert first.module.get_output_embeddings().weight is embeddings
    base_cache.release()


def test_memory_counts_the_base_its_cast_copy_and_what_is_trained(wide, tmp_path):
    store, numbers = Store.open(tmp_path), sum(p.numel() for p in library(wide).parameters())

    def needed(method, **machine):
        content = study(wide, [method], **machine)
        return memory_estimate.memory_bytes(plan_cells(parse_study(content), store)[0], parse_study(content).machine)

    assert needed("full") == numbers * (4 + 16)
    assert needed("head") == numbers * 4 + 300 * 64 * 16
    assert needed("lora") == numbers * 4
    assert needed("lora", precision="bfloat16") == numbers * 6
    assert needed("lora", precision="bfloat16", **HALF) == numbers * 2
    assert needed("lora", precision="auto", **HALF) == numbers * 2
    assert needed("lora", precision="float32", **HALF) == numbers * 6
    packed = library(wide, quantize=4).get_memory_footprint()
    assert needed("lora", quantize=4) == pytest.approx(packed, rel=0.1)


def test_a_worker_also_needs_activations_and_libraries(wide, tmp_path, monkeypatch):
    store = Store.open(tmp_path)

    def planned(method, **training):
        content = {**study(wide, [method]), "training": {"epochs": 1, **training}}
        parsed = parse_study(content)
        return plan_cells(parsed, store)[0], parsed.machine

    def beyond_weights(*arguments, **training):
        cell = planned(*arguments, **training)
        memory = memory_estimate.worker_memory(*cell)
        assert memory.has_activations
        return memory.size - memory_estimate.memory_bytes(*cell) - memory_estimate.LIBRARY_BYTES

    assert beyond_weights("full", batch_size=4) > 1.8 * beyond_weights("full", batch_size=2) > 0
    assert beyond_weights("lora", batch_size=4) <= beyond_weights("full", batch_size=4)
    assert beyond_weights("head", batch_size=4) < beyond_weights("lora", batch_size=4)
    monkeypatch.setattr(activation_memory, "_saved_bytes", lambda *_: 1 / 0)
    assert not memory_estimate.worker_memory(*planned("full")).has_activations
    estimates = estimates_of([planned("full")[0]], store, planned("full")[1], 1e9)
    assert "over 0.5" in plan_table("study", estimates).rows[0]


def test_a_cell_that_cannot_fit_is_refused_before_training(wide, tmp_path, monkeypatch):
    numbers = sum(p.numel() for p in library(wide).parameters())
    monkeypatch.setattr(memory_check, "available_ram", lambda: 3 * numbers)
    fix = r"methods lora: .* GiB free\. Set machine.base_precision: bfloat16 or machine.quantize: 4, or choose a smaller model"
    with pytest.raises(SettingError, match=fix):
        byheart.run(study(wide, ["lora"]), store=tmp_path)
    with pytest.raises(SettingError, match=r"methods full: .*Choose lora with machine.base_precision: bfloat16"):
        byheart.run(study(wide, ["full"]), store=tmp_path)
    results = byheart.run(study(wide, ["lora"], precision="bfloat16", **HALF), store=tmp_path)
    assert not results.failed
