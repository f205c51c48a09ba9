"""The estimate of a training step's activations against the tensors that autograd saves in a real forward pass."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from byheart.lm.activation_memory import logit_block_bytes, training_activation_bytes
from byheart.lm.batching import LOGITS_PER_BLOCK
from testing.architecture_kinds import CONFIGS

TEXTS, LENGTH = 3, 16


def saved_bytes(module, token_ids, precision):
    """Bytes of what autograd saves in a forward pass, without the weights."""
    saved = {}

    def keep(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", precision, enabled=precision != torch.float32),
    ):
        module.base_model(input_ids=token_ids, use_cache=False)
    for weight in module.parameters():
        saved.pop(weight.untyped_storage().data_ptr(), None)
    return sum(storage.nbytes() for storage in saved.values())


@pytest.mark.parametrize("architecture", ["Llama", "Mistral", "Qwen3", "Phi-3", "GPT-2", "OPT", "BLOOM", "Mamba"])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32])
def test_the_estimate_is_what_autograd_saves(architecture, precision):
    config = CONFIGS[architecture]()
    config.num_hidden_layers = 4
    if architecture == "Qwen3":
        config.layer_types *= 2
    estimate = training_activation_bytes(
        config, texts=TEXTS, length=LENGTH, precision=precision, weight_dtype=torch.float32
    )
    module = AutoModelForCausalLM.from_config(config).train()
    saved = saved_bytes(module, torch.zeros((TEXTS, LENGTH), dtype=torch.long), precision)
    logits = logit_block_bytes(TEXTS * LENGTH, config.vocab_size)
    # A model without data cannot see that texts of equal length need no mask, and repeats the shared keys and values for it.
    assert 1 <= (estimate - logits) / saved < 1.15


def test_casts_of_trained_weights_count():
    """A step of one token saves little else than the casts."""
    settings = {"texts": 1, "length": 1, "precision": torch.bfloat16}
    float32, bfloat16 = (
        training_activation_bytes(CONFIGS["Llama"](), **settings, weight_dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    module = AutoModelForCausalLM.from_config(CONFIGS["Llama"]())
    cast = sum(2 * p.numel() for n, p in module.named_parameters() if "proj" in n)
    assert float32 - bfloat16 == pytest.approx(cast, rel=0.05)


def test_logits_are_counted_up_to_a_block():
    assert logit_block_bytes(10, 300) == 3 * 4 * 3000
    assert logit_block_bytes(10**6, 300) == 3 * 4 * LOGITS_PER_BLOCK


def test_code_that_needs_data_has_no_estimate(caplog):
    settings = {"texts": 1, "length": 8, "precision": torch.bfloat16, "weight_dtype": torch.float32}
    assert training_activation_bytes(CONFIGS["Mixtral"](), **settings) is None
    assert not caplog.records
