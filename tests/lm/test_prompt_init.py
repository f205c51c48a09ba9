"""Virtual tokens start at the inputs that real words give, also where a model scales its embeddings (Gemma)."""

import pytest
import torch

from byheart.core.registry import choose
from byheart.methods._prompt_init import DEFAULT_INIT_TEXT, initial_token_ids


def first_inputs(module, ids):
    """What enters the first layer for these inputs, at the first position of each text."""
    seen = []
    layers = next(m for n, m in module.named_modules() if n.endswith((".layers", ".h")))
    hook = layers[0].register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    with torch.no_grad():
        module(input_ids=ids)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("method", ["prompt", "p_tuning"])
@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_before_training_the_model_reads_the_initial_text(tiny, name, method):
    base = tiny(name)
    words = initial_token_ids(base, DEFAULT_INIT_TEXT, 8)
    text = torch.tensor([[5, 6, 7]])
    expected = first_inputs(base.module, torch.cat([words[None], text], 1))
    tuned = choose("methods", method, {"virtual_tokens": 8})(base).module.eval()
    read = first_inputs(tuned, text)
    assert read.shape == expected.shape
    torch.testing.assert_close(read, expected, rtol=1e-4, atol=1e-5)
