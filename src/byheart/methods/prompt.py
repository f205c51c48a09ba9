"""Prompt tuning: trained input embeddings before the text.

"The Power of Scale for Parameter-Efficient Prompt Tuning", Lester et al., EMNLP 2021, arXiv 2104.08691. Training starts from
the embeddings of real words (`start: text`), or of random words of the vocabulary (`start: random`), which the paper
reports to be better than random numbers.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from byheart.lm.devices import device_of
from byheart.lm.load import LanguageModel, TrainableModel
from byheart.methods._prompt_init import DEFAULT_INIT_TEXT, initial_token_ids, input_embeddings

REVISION = 1  # embeddings are scaled as the model scales them (Gemma)

VARIANT = "starts at embeddings of a fixed text, in place of class labels; causal language models in place of T5"

PASSES = 2.4
"""Cost of training per token (forward passes), for time estimates only."""

STARTS_AT_BASE = False
"""Before the first training step, the virtual tokens already change the base model's outputs."""


def prompt(
    model: LanguageModel,
    *,
    virtual_tokens: Annotated[int, Ge(1)] = 16,
    start: Literal["text", "random"] = "text",
    text: str = DEFAULT_INIT_TEXT,
    learning_rate: Annotated[float, Gt(0)] = 1e-2,
) -> TrainableModel:
    """Train the embeddings of `virtual_tokens` positions before the text."""
    import torch
    from peft import PromptTuningConfig, get_peft_model

    vocabulary, device = model.module.get_input_embeddings().weight.shape[0], device_of(model.module)
    ids = (
        initial_token_ids(model, text, virtual_tokens)
        if start == "text"
        else torch.randint(vocabulary, (virtual_tokens,)).to(device)
    )
    words = input_embeddings(model, ids)
    # peft asks for the number of heads, which some configs do not have (Mamba); a prompt does not use it.
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=virtual_tokens, num_attention_heads=1)
    module = get_peft_model(model.module, config)
    with torch.no_grad():
        module.prompt_encoder[module.active_adapter].embedding.weight.copy_(words)
    return TrainableModel(module, learning_rate)
