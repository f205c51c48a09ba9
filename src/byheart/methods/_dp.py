"""Check of models for differentially private training, for `dp_full` and `dp_lora`."""

from __future__ import annotations

import torch

from byheart.core.errors import ModelError
from byheart.lm.load import LanguageModel


def check_no_stateful_buffers(model: LanguageModel) -> None:
    """Raise `ModelError` for a model with buffers that depend on the texts, such as batch normalization.

    Such buffers would get no noise, because noise is added to gradients only. Frozen layers are checked, too.
    """
    module = model.module
    before = {n: b.detach().clone() for n, b in module.named_buffers()}
    module.train()
    with torch.no_grad():
        module(input_ids=torch.arange(5, 13, device=next(module.parameters()).device)[None] % model.vocabulary_size)
    module.eval()
    changed = [n for n, b in module.named_buffers() if not torch.equal(b, before[n])]
    if changed:
        layer = module.get_submodule(changed[0].rpartition(".")[0])
        raise ModelError(
            f"model {model.name!r}: {changed[0]} ({type(layer).__name__}) changes with the texts and gets no noise, so training would "
            "not be differentially private. Choose another model, or a method without privacy."
        )
