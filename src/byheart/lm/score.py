"""Public Python API: token statistics for a model and texts in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import torch
from annotated_types import Ge

from byheart.core.errors import DataError, SettingError
from byheart.core.setting_values import shown_setting, validate_setting
from byheart.core.types import Texts, TokenStats
from byheart.lm.forward import token_stats as scored
from byheart.lm.in_memory import check_causal_module
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
    """Return the statistics (nats) of every scored token, packed in the order of the texts, from one forward pass.

    `model` is any transformers causal language model, or a peft model around one. Texts longer than `max_tokens` are
    truncated. Raises `DataError` if `texts` is not a list of strings, and for a text without a scored
    token, `ModelError` for a model that is not a causal language model.
    """
    for name, count in (("max_tokens", max_tokens), ("token_budget", token_budget)):
        validate_setting(name, Annotated[int, Ge(1)], count)
    if not isinstance(precision, torch.dtype) or not precision.is_floating_point:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SettingError(
            f"precision = {shown_setting(precision)}: is not a float type of torch. Write torch.float32."
        )
    check_causal_module(model)
    audited_texts = texts if isinstance(texts, Texts) else _texts_from_strings(texts)
    language_model = LanguageModel(model, tokenizer, type(model).__name__)
    return scored(
        language_model, tokenize(tokenizer, audited_texts, max_tokens), budget=token_budget, precision=precision
    )


def _texts_from_strings(texts: Any) -> Texts:
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        kind = "one string" if isinstance(texts, str) else type(texts).__name__
        raise DataError(f"texts: is {kind}. Pass a list of strings: [text].")
    items = cast("Sequence[object]", texts)
    strings = [text for text in items if isinstance(text, str)]
    if len(strings) < len(items):
        index = next(i for i, text in enumerate(items) if not isinstance(text, str))
        raise DataError(f"texts[{index}]: is {type(items[index]).__name__}, not a string. Pass a list of strings.")
    for i, text in enumerate(strings):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise DataError(f"texts[{i}]: contains half a surrogate pair (U+D800 to U+DFFF). Remove it.")
    return Texts(tuple(map(str, range(len(items)))), tuple(strings))
