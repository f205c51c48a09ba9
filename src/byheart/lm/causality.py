"""Check that a model's logits do not depend on later tokens, with two short sequences of token ids."""

from __future__ import annotations

from typing import Any

from byheart.core.errors import ModelError
from byheart.lm.from_pretrained import library_errors, short_error

_LOGIT_TOLERANCE = 1e-2
"""Logits that differ by less than this fraction of their standard deviation count as equal. float32 rounds by far less."""


def check_causal(name: str, module: Any) -> None:
    """Raise `ModelError` if logits depend on a later token: the log-probabilities would be meaningless."""
    import torch

    from byheart.lm.devices import device_of

    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]], device=device_of(module))
    try:
        with torch.no_grad():
            # Prompt methods return rows for their virtual tokens first.
            logits = module(input_ids=ids % module.config.get_text_config().vocab_size).logits[:, -4:-1].float()
    except torch.OutOfMemoryError:
        raise
    except library_errors() as error:
        raise ModelError(
            f"model {name!r}: does not compute logits from token ids alone ({short_error(error)}). Choose a causal language model."
        ) from error
    first, second = logits
    if (first - second).abs().max() > _LOGIT_TOLERANCE * first.std():
        raise ModelError(
            f"model {name!r}: is not causal, because its logits depend on later tokens. Choose a causal language model."
        )
