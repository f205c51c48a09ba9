"""What private methods share: the models that they refuse."""

from __future__ import annotations

import torch

from byheart.core.errors import ModelError
from byheart.lm.load import LanguageModel


def check_no_stateful_buffers(model: LanguageModel) -> None:
    """Refuse a model that remembers texts outside its weights, as batch normalization does: noise reaches gradients only.

    Frozen layers are looked at too. Raises `ModelError`.
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
            f"model {model.name!r}: {changed[0]} ({type(layer).__name__}) changes with the texts that it reads and gets no noise, "
            "so that private training would not keep its promise; choose another model, or a method without privacy"
        )
