"""The Python face: evidence for a model and texts that are in memory already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from byheart.core.errors import DataError
from byheart.core.types import Texts, TokenStats
from byheart.lm.forward import token_stats as scored
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def token_stats(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    texts: Texts | Sequence[str],
    *,
    max_tokens: int = 512,
    token_budget: int = 4096,
    precision: torch.dtype = torch.float32,
) -> TokenStats:
    """Return the statistics (nats) of every scored token of the texts, packed in their order, from one pass.

    `model` is any causal language model of transformers, or a peft model around one. A text longer than `max_tokens`
    is cut. Raises `DataError` for what is not texts, and for a text without a token to score.
    """
    given = texts if isinstance(texts, Texts) else _texts_from_strings(texts)
    language_model = LanguageModel(model, tokenizer, type(model).__name__)
    return scored(language_model, tokenize(tokenizer, given, max_tokens), budget=token_budget, precision=precision)


def _texts_from_strings(texts: Sequence[object]) -> Texts:
    if isinstance(texts, str):
        raise DataError("texts is one string; write a list of strings, [text]")
    strings = [text for text in texts if isinstance(text, str)]
    if len(strings) < len(texts):
        wrong = next(i for i, text in enumerate(texts) if not isinstance(text, str))
        raise DataError(f"texts[{wrong}] is {type(texts[wrong]).__name__}, not a string; write a list of strings")
    return Texts(tuple(map(str, range(len(texts)))), tuple(strings))
