"""Models whose forward pass another library replaced: right numbers, or a refusal that names the library."""

import types

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.core.errors import ModelError
from byheart.lm.patched_forward import patching_library
from testing.reading import mean_logps

TEXTS = ["The old sailor wrote to the queen.", "A young doctor sang for a baker."]


def patched(model, forward, library):
    """Replace the model's forward pass by a function of a library, as unsloth and Liger do."""
    forward.__module__ = f"{library}.models.llama"
    model.forward = types.MethodType(forward, model)
    return model


@pytest.fixture
def model(tiny_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_folder("llama")).eval()


@pytest.fixture
def tokenizer(tiny_folder):
    return AutoTokenizer.from_pretrained(tiny_folder("llama"))


def fails_on_a_cpu(self, input_ids=None, **_):
    del self, input_ids
    raise RuntimeError("0 active drivers ([]). There should only be one.")


def returns_no_logits(self, input_ids=None, **_):
    return types.SimpleNamespace(logits=object(), hidden=self.model(input_ids=input_ids))


def fuses_trunk_and_head(self, input_ids=None, **_):
    hidden = self.model.norm(self.model.embed_tokens(input_ids))  # does not call the trunk
    return types.SimpleNamespace(logits=self.lm_head(hidden))


def scales_logits(self, input_ids=None, **_):
    """Own logits of a whole text, and other ones for the hidden states of trunk and head."""
    hidden = self.model(input_ids=input_ids).last_hidden_state
    return types.SimpleNamespace(logits=self.lm_head(hidden) * (1 if input_ids.shape[1] == 1 else 2))


@pytest.mark.parametrize(
    ("forward", "library", "message"),
    [
        (
            fails_on_a_cpu,
            "liger_kernel",
            r"replaced by liger_kernel, and does not run \(0 active drivers.*only on a GPU",
        ),
        (returns_no_logits, "unsloth", r"replaced by unsloth, and it returns no logits. Set .*UNSLOTH_RETURN_LOGITS"),
        (returns_no_logits, "unsloth_zoo", r"replaced by unsloth_zoo.*UNSLOTH_RETURN_LOGITS"),
        (scales_logits, "somebodys", "its logits are not those of its trunk followed by its output head"),
    ],
)
def test_a_replaced_forward_pass_that_gives_no_numbers_is_refused_by_name(forward, library, message, model, tokenizer):
    with pytest.raises(ModelError, match=message):
        byheart.token_stats(patched(model, forward, library), tokenizer, TEXTS)
    assert not model.training


def test_a_forward_pass_without_the_trunk_is_refused(model, tokenizer):
    with pytest.raises(ModelError, match="its trunk followed by its output head"):
        byheart.token_stats(patched(model, fuses_trunk_and_head, "somebodys"), tokenizer, TEXTS)


def test_a_replaced_forward_pass_that_computes_the_same_is_scored(model, tokenizer):
    expected = mean_logps(model, tokenizer, TEXTS)

    def forward(self, input_ids=None, **how):
        return type(self).forward(self, input_ids=input_ids, **how)

    patched(model, forward, "unsloth")
    assert patching_library(model) == "unsloth"
    stats = byheart.token_stats(model, tokenizer, TEXTS)
    means = [
        float(part.mean())
        for part in torch.from_numpy(stats.logp).split(list(map(int, stats.starts[1:] - stats.starts[:-1])))
    ]
    assert means == pytest.approx(expected, abs=1e-5)


def test_an_ordinary_model_has_no_patching_library(model):
    assert patching_library(model) == ""
