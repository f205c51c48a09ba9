"""Attach a peft adapter to its base model, and check that disabling it restores the base."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from peft import PeftModel

from byheart.core.errors import ModelError
from byheart.lm.adapter_files import base_change_message, read_adapter_config
from byheart.lm.adapter_patterns import check_patterns
from byheart.lm.devices import device_of
from byheart.lm.finetuned import ModelFiles, saved_tokenizer
from byheart.lm.from_pretrained import library_errors, short_error
from byheart.lm.load import LanguageModel
from byheart.lm.placement import Placement
from byheart.lm.preserve_state import preserve_training_state

_LOGIT_TOLERANCE = 1e-3
"""Maximum difference between a disabled adapter and its base, as a fraction of the logits' standard deviation."""


def attach_adapter(model: LanguageModel, files: ModelFiles, placement: Placement) -> LanguageModel:
    """Return the model with its adapter. Disabling the adapter restores the base exactly.

    Raises `ModelError` for an adapter that does not match its base, that changes nothing, or that changes the base even
    while disabled.
    """
    base_rows = model.vocabulary_size
    if files.vocabulary_rows is not None and files.vocabulary_rows > base_rows:
        # Training added tokens to the vocabulary, and their embeddings are stored with the adapter.
        cast("Any", model.module).resize_token_embeddings(files.vocabulary_rows, mean_resizing=False)
    config = read_adapter_config(files.adapter) if files.adapter else {}
    if files.adapter:
        check_patterns(files.adapter, config, (name for name, _ in model.module.named_modules()))
    invocation = config.get("alora_invocation_tokens") or []
    probe = functools.partial(_probe_logits, invocation=invocation)
    base_logits = probe(model.module)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module: Any = PeftModel.from_pretrained(model.module, str(files.adapter)).eval()
        if not placement.is_device_mapped(module.config):
            module.to(base_logits.device)
        adapter_logits = probe(module)
        with preserve_training_state(module), module.disable_adapter():
            disabled_logits = probe(module)
    except (*library_errors(), re.error) as error:
        raise ModelError(
            f"adapter {files.adapter}: does not match base {files.weights} ({short_error(error)}). "
            "Pass the base it was trained on with --base."
        ) from error
    if any("missing adapter keys" in str(w.message) for w in caught):
        raise ModelError(
            f"adapter {files.adapter}: its file lacks weights that its config names. Save it again with save_pretrained."
        )
    if torch.equal(base_logits, adapter_logits):
        raise ModelError(
            f"adapter {files.adapter}: does not change the logits of {files.weights}. It is untrained, or was trained on another base "
            "model. Pass the adapter that training saved."
        )
    is_base_changed = float((base_logits - disabled_logits)[..., :base_rows].abs().max()) > _LOGIT_TOLERANCE * float(
        base_logits.std()
    )
    if is_base_changed:
        raise ModelError(base_change_message(files.adapter, "its file contains weights of the base model"))
    return replace(model, module=module, tokenizer=saved_tokenizer(files), name=files.weights)


def _probe_logits(module: Any, invocation: Sequence[int]) -> torch.Tensor:
    """Return the logits of four fixed tokens, which distinguish one model from another.

    They follow an aLoRA's invocation tokens, before which it changes nothing.
    """
    ids = (
        torch.tensor([[*invocation, 5, 6, 7, 8]], device=device_of(module)) % module.config.get_text_config().vocab_size
    )
    with torch.no_grad():
        return module(input_ids=ids).logits[:, -4:].float()
