"""Tokenize texts within a model's context length and vocabulary."""

from __future__ import annotations

from typing import Any

from peft import PeftModel

from byheart.core.config import DEFAULT_TOKEN_FORMAT, TokenFormat
from byheart.core.errors import ModelError
from byheart.core.types import Texts
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import Tokens, tokenize


def tokenize_for_model(
    model: LanguageModel,
    texts: Texts,
    max_tokens: int,
    *,
    token_format: TokenFormat = DEFAULT_TOKEN_FORMAT,
) -> Tokens:
    """Return the texts' tokens, truncated to `max_tokens` and to the model's context length minus its virtual tokens.

    Raises `ModelError` if the tokenizer returns token ids beyond the model's vocabulary.
    """
    module: Any = model.module
    virtual_tokens = module.active_peft_config.num_virtual_tokens if is_prompted(module) else 0
    limit = max_tokens if model.context_length is None else min(max_tokens, model.context_length - virtual_tokens)
    tokens = tokenize(model.tokenizer, texts, limit, token_format=token_format)
    check_vocabulary(model, tokens)
    return tokens


def check_vocabulary(model: LanguageModel, tokens: Tokens) -> None:
    """Raise `ModelError` if the tokenizer returned token ids beyond the model's vocabulary."""
    if (largest := int(tokens.ids.max())) >= model.vocabulary_size:
        raise ModelError(
            f"model {model.name!r}: the tokenizer returns token id {largest}, but the vocabulary has {model.vocabulary_size} tokens. "
            "Use the model's own tokenizer."
        )


def is_prompted(module: Any) -> bool:
    """Whether the model puts virtual tokens before the texts."""
    return isinstance(module, PeftModel) and module.active_peft_config.is_prompt_learning
