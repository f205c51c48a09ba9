"""Initialize virtual tokens from real words.

From random initialization, results of prompt methods would show the distance from any text, not memorization.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.core.errors import SettingError
from byheart.lm.load import LanguageModel

if TYPE_CHECKING:
    import torch

DEFAULT_INIT_TEXT = "The following is a text, written out in full and in its own words, as it stands in the collection:"
"""Default initial text of prompt methods: about as many tokens as their virtual tokens."""


def initial_token_ids(model: LanguageModel, text: str, count: int) -> torch.Tensor:
    """Return the first `count` token ids of the text on the model's device. A shorter text is repeated.

    Raises `SettingError` for an empty text.
    """
    import torch

    from byheart.lm.devices import device_of

    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise SettingError("text: the initial text of a prompt method is empty. Write a sentence.")
    return torch.tensor((ids * (count // len(ids) + 1))[:count], device=device_of(model.module))


def input_embeddings(model: LanguageModel, ids: torch.Tensor) -> torch.Tensor:
    """Return the input embeddings of tokens as the model computes them (tokens x width), in float32.

    Gemma multiplies the rows of its embedding matrix by the square root of their width; the rows alone are no inputs.
    """
    import torch

    with torch.no_grad():
        return model.module.get_input_embeddings()(ids).detach().float()
