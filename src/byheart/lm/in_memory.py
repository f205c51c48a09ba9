"""Check a model that a caller passes as an object: the command line checks the files of such models."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftMixedModel, PeftModel

from byheart.core.errors import ModelError
from byheart.lm.adapter_files import why_not_scored
from byheart.lm.causality import check_causal
from byheart.lm.forward import scoring_mode
from byheart.lm.load import check_class_names
from byheart.lm.patched_forward import check_forward, patching_library
from byheart.lm.preserve_state import preserve_training_state


def check_causal_module(module: torch.nn.Module) -> None:
    """Raise `ModelError` for a model whose logits are not those of a causal language model, computed by its trunk and head.

    The model stays as it is.
    """
    if isinstance(module, PeftMixedModel):
        raise ModelError(
            "model: is a PeftMixedModel, which combines adapters of several types. Merge them with merge_and_unload(), and pass the "
            "result with base=."
        )
    if isinstance(module, PeftModel):
        for name in module.active_adapters:
            if reason := why_not_scored(module.peft_config[name]):
                raise ModelError(f"model: its adapter {name!r}: {reason}")
    causal_lm: Any = module.get_base_model() if isinstance(module, PeftModel) else module
    check_class_names(type(module).__name__, [type(module).__name__, type(causal_lm).__name__])
    with preserve_training_state(module), scoring_mode(module, torch.float32):
        checks = (check_causal, check_forward)
        # A forward pass that another library replaced may fail in the first check already, which does not name the library.
        for check in reversed(checks) if patching_library(module) else checks:
            check(type(causal_lm).__name__, module)
