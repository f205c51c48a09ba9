"""Tokenize texts for a model: within its context and vocabulary."""

from __future__ import annotations

from typing import Any

from peft import PeftModel

from byheart.core.errors import ModelError
from byheart.core.types import Texts
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import Tokens, tokenize


def tokenize_for_model(model: LanguageModel, texts: Texts, max_tokens: int) -> Tokens:
    """Return texts as tokens that the model can read, cut to `max_tokens` and to its context beside virtual tokens.

    Raises `ModelError` for a tokenizer that gives tokens which the model does not know.
    """
    module: Any = model.module
    virtual = module.active_peft_config.num_virtual_tokens if is_prompted(module) else 0
    room = max_tokens if model.context_length is None else min(max_tokens, model.context_length - virtual)
    tokens = tokenize(model.tokenizer, texts, room)
    if (largest := int(tokens.ids.max())) >= model.vocabulary_size:
        raise ModelError(
            f"the tokenizer gives token {largest}, and the model knows {model.vocabulary_size}; use the model's own tokenizer"
        )
    return tokens


def is_prompted(module: Any) -> bool:
    """Whether virtual tokens stand before the texts."""
    return isinstance(module, PeftModel) and module.active_peft_config.is_prompt_learning
