"""Real words to start virtual tokens from: a prompt method that starts far from any text shows that, not memorisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.core.errors import SettingError
from byheart.lm.load import LanguageModel

if TYPE_CHECKING:
    import torch

DEFAULT_INIT_TEXT = "The following is a text, written out in full and in its own words, as it stands in the collection:"
"""What prompt methods start from unless told otherwise: about as many tokens as they have virtual ones."""


def initial_token_ids(model: LanguageModel, text: str, count: int) -> torch.Tensor:
    """Return `count` token ids of the text where the model is, repeated from its beginning where it is shorter.

    Raises `SettingError` for an empty text.
    """
    import torch

    from byheart.lm.placement import device_of

    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise SettingError("text of a prompt method is empty; write a sentence to start from")
    return torch.tensor((ids * (count // len(ids) + 1))[:count], device=device_of(model.module))
