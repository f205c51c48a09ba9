"""Methods on architectures, as docs/formats.md lists them: the numbers of other libraries, or a refusal in one line."""

import pytest
import torch

from byheart.core.errors import ModelError, SettingError
from byheart.core.registry import choose, entry_names
from byheart.lm.load import LanguageModel
from testing import adapters, trained_studies
from testing.architecture_kinds import CONFIGS, auto_class
from testing.architectures import without_folder
from testing.pairs import some_of
from testing.tiny_models import tiny_tokenizer

IN_EVERY_RUN = ("Llava",)


def made(name):
    torch.manual_seed(7)
    return LanguageModel(auto_class(name).from_config(CONFIGS[name]()).eval(), tiny_tokenizer(bos=False), name)


@pytest.mark.parametrize("name", some_of(CONFIGS, IN_EVERY_RUN))
@pytest.mark.filterwarnings("ignore")
def test_each_method_has_the_numbers_of_other_libraries_or_is_refused(name, tmp_path):
    found = without_folder(trained_studies.outcome(name, tmp_path), tmp_path)
    assert found == adapters.committed()["studies"][name], "docs/formats.json is old: write make formats"


def test_committed_outcomes_are_those_of_the_table():
    committed = adapters.committed()["studies"]
    assert list(committed) == list(CONFIGS)
    assert {tuple(by_method) for by_method in committed.values()} == {trained_studies.METHODS}
    assert set(trained_studies.METHODS) == set(entry_names("methods"))


@pytest.mark.parametrize("name", ["Mixtral", "Qwen2-MoE", "Qwen3-MoE"])
def test_lora_trains_every_expert(name):
    module = choose("methods", "lora")(made(name)).module
    trained = {
        n.partition("mlp.experts.")[0] for n, p in module.named_parameters() if p.requires_grad and "mlp.experts." in n
    }
    assert len(trained) == CONFIGS[name]().num_hidden_layers
    targets = module.peft_config["default"].target_parameters
    assert len(targets) == 2 * len(trained)
    assert all(t.endswith((".gate_up_proj", ".down_proj")) for t in targets)


def test_lora_adapts_the_layers_of_mamba_that_are_called():
    module = choose("methods", "lora")(made("Mamba")).module
    targets = {n.rpartition(".")[2] for n in module.peft_config["default"].target_modules}
    assert targets == {"in_proj", "x_proj", "dt_proj"}
    assert not module.peft_config["default"].target_parameters
    with pytest.raises(SettingError, match="targets = attention matches no layer of MambaForCausalLM"):
        choose("methods", "lora", {"targets": "attention"})(made("Mamba"))


def test_prefix_tuning_needs_keys_and_values():
    with pytest.raises(SettingError, match=r"virtual_tokens = 16 is more than the sliding window .* to \d or less"):
        choose("methods", "prefix")(made("Mistral"))
    with pytest.raises(ModelError, match="MambaForCausalLM has no keys and values, which prefix tuning trains"):
        choose("methods", "prefix")(made("Mamba"))
