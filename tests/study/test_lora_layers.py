"""LoRA on some layers only: which weights train, how many, keys, and refusals before any work."""

import json
import re

import pytest
import torch
from torch import nn

import byheart
from byheart.core.errors import SettingError
from byheart.core.registry import choose
from byheart.lm.decoder_layers import decoder_layers
from byheart.lm.load import LanguageModel
from byheart.store.store import Store
from byheart.study.memory_estimate import memory_bytes
from byheart.study.plan import plan, plan_cells
from byheart.study.study_file import parse_study
from testing.architecture_kinds import CONFIGS, auto_class
from testing.stores import lora_study
from testing.tiny_models import tiny_tokenizer

RANK = 3
# Inputs and outputs of the seven linear layers in a block of the tiny llama.
SHAPES = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 48), (32, 48), (48, 32)]
PER_LAYER = sum(RANK * (inputs + outputs) for inputs, outputs in SHAPES)


def adapted(model, **settings):
    module = choose("methods", "lora", {"rank": RANK, **settings})(model).module
    return {n: p for n, p in module.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("layer", [0, 1])
def test_only_the_set_layers_train(tiny, architecture, layer):
    every, one = adapted(tiny(architecture)), adapted(tiny(architecture), layers=[layer])
    in_layer = {n for n in every if re.search(rf"\.(layers|h)\.{layer}\.", n)}
    assert 0 < len(in_layer) < len(every)
    assert set(one) == in_layer


def test_every_layer_by_number_is_the_default(tiny, architecture):
    assert set(adapted(tiny(architecture), layers=[0, 1])) == set(adapted(tiny(architecture)))


def test_layers_and_targets_restrict_each_other(tiny):
    names = adapted(tiny("llama"), layers=[1], targets="attention")
    places = {n.split(".layers.")[1].split(".lora_")[0] for n in names}
    assert places == {f"1.self_attn.{n}_proj" for n in "qkvo"}


def test_private_lora_trains_the_same_layers(tiny):
    private = choose("methods", "dp_lora", {"rank": RANK, "layers": [1]})(tiny("llama")).module
    assert {n for n, p in private.named_parameters() if p.requires_grad} == set(adapted(tiny("llama"), layers=[1]))


def test_layers_of_a_multimodal_model_are_those_of_its_text_part():
    made = auto_class("Llava").from_config(CONFIGS["Llava"]())
    assert decoder_layers(made, "") == list(made.model.language_model.layers)
    names = adapted(LanguageModel(made, tiny_tokenizer(bos=False), "Llava"), layers=[0])
    assert names
    assert all(".language_model.layers.0." in n for n in names)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([2], r"layers = \[2\]: the model has 2 layers, and no layer 2\. Write numbers from 0 to 1\."),
        ([0, 5], r"layers = \[0, 5\]: the model has 2 layers, and no layer 5"),
        ([1, 0], r"layers = \[1, 0\]: is not in ascending order, or has a layer twice"),
        ([0, 0], r"layers = \[0, 0\]: is not in ascending order, or has a layer twice"),
        ([], r"layers = \[\]: is empty\. Write each layer once, such as \[0, 1, 2\], or null for every layer\."),
    ],
)
@pytest.mark.parametrize("method", ["lora", "dp_lora"])
def test_layers_that_the_model_does_not_have_are_refused(tiny, tiny_folder, tmp_path, method, layers, words):
    with pytest.raises(SettingError, match=f"methods {method}: {words}"):
        plan(planned_study(tiny_folder, {method: {"layers": layers}}), Store.open(tmp_path))
    with pytest.raises(SettingError, match=f"methods lora and dp_lora: {words}"):
        choose("methods", method, {"layers": layers})(tiny("llama"))


def test_a_negative_layer_is_refused_by_its_type():
    with pytest.raises(SettingError, match=r"layers = \[-1\]: .* Write 0 or more\."):
        choose("methods", "lora", {"layers": [-1]})


def test_targets_without_a_match_in_the_layers_name_both(tiny):
    model = tiny("llama")
    model.module.model.layers[1].self_attn = nn.Identity()
    with pytest.raises(
        SettingError,
        match=r"attention matches no layer of \w+ in layers \[1\]\. Write targets: all, or remove layers\.",
    ):
        choose("methods", "lora", {"layers": [1], "targets": "attention"})(model)


def test_a_model_without_one_list_of_layers_is_refused(tiny):
    model = tiny("llama")
    model.module.model.others = nn.ModuleList([nn.Identity(), nn.Identity()])
    with pytest.raises(SettingError, match=r"LlamaForCausalLM has no single list of layers\. Remove layers\."):
        choose("methods", "lora", {"layers": [1]})(model)
    assert adapted(model)


def planned_study(tiny_folder, *methods):
    return parse_study(lora_study(tiny_folder("llama"), methods=list(methods)))


def test_layers_are_part_of_the_key_and_their_default_is_not(tiny_folder, tmp_path):
    methods = ["lora", {"lora": {"layers": [0]}}, {"lora": {"layers": [1]}}, {"lora": {"layers": [0, 1]}}]
    study = planned_study(tiny_folder, *methods)
    assert [c.method.label for c in study.cells] == ["", "layers=[0]", "layers=[1]", "layers=[0, 1]"]
    assert len({p.key for p in plan_cells(study, Store.open(tmp_path))}) == 4
    default, null = choose("methods", "lora"), choose("methods", "lora", {"layers": None})
    assert default.identity == null.identity
    assert "layers" not in default.identity["settings"]


def test_a_study_counts_only_the_trained_layers(tiny_folder, tmp_path):
    study = lora_study(
        tiny_folder("llama"),
        methods=[{"lora": {"rank": RANK}}, {"lora": {"rank": RANK, "layers": [1]}}],
        training={"epochs": 1, "batch_size": 4},
        attacks=["loss"],
        metrics=["auc"],
    )
    results = byheart.run(study, store=tmp_path)
    assert not results.failed, results.failed
    found = {r.method_settings: r.value for r in results.rows if r.metric == "trained_parameters"}
    assert found == {f"rank={RANK}": 2 * PER_LAYER, f"layers=[1], rank={RANK}": PER_LAYER}
    parsed, store = parse_study(study), Store.open(tmp_path)
    memory = {memory_bytes(p, parsed.machine) for p in plan_cells(parsed, store)}
    assert len(memory) == 1, "adapters are not counted"
    kept = [json.loads(p.read_text()) for p in tmp_path.rglob("adapter_config.json")]
    assert any(all(".layers.1." in n for n in config["target_modules"]) for config in kept)


def test_layers_below_the_trained_ones_stay_those_of_the_base(tiny):
    model, base = tiny("llama"), tiny("llama")
    module = choose("methods", "lora", {"layers": [1]})(model).module
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
        ids = torch.arange(5, 25)[None]
        changed = module(input_ids=ids, output_hidden_states=True).hidden_states
        before = base.module(input_ids=ids, output_hidden_states=True).hidden_states
    assert torch.equal(changed[1], before[1])
    assert not torch.allclose(changed[2], before[2])
