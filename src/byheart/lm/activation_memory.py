"""Memory of the activations that a training step keeps for its backward pass, estimated without the model's weights.

PyTorch's fake tensors have shapes and no data. So the model's own code runs in seconds for any architecture, and each tensor that
autograd would save is counted. All blocks are taken to save the same number of bytes, so models of one and of two blocks suffice.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Generator
from contextlib import contextmanager

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from byheart.lm.batching import LOGITS_PER_BLOCK

FLOAT_BYTES = 4
LOGIT_COPIES = 3
"""A block's logits, their gradients, and the head's gradient product, which are in memory at once."""


def training_activation_bytes(
    config: PreTrainedConfig, *, texts: int, length: int, precision: torch.dtype, weight_dtype: torch.dtype
) -> float | None:
    """Return the bytes that a batch of `texts` texts of `length` tokens keeps until its backward pass, with its blocks of logits.

    All weights count as trained, which is an upper bound for adapters and virtual tokens: frozen layers save less. The copies that
    autocast makes of weights in `weight_dtype` count too. `config` is that of the language model. None if the model's code cannot run
    without data.
    """
    try:
        with _without_error_log():
            one, two = (_saved_bytes(config, count, (texts, length), precision, weight_dtype) for count in (1, 2))
    except Exception:  # noqa: BLE001 - code of any architecture; then the estimate has no activations
        return None
    trunk = one + (config.num_hidden_layers - 1) * (two - one)
    return trunk + logit_block_bytes(texts * length, config.vocab_size)


def logit_block_bytes(tokens: int, vocabulary: int) -> float:
    """Return the bytes of the largest block of logits, and of its gradients, in a backward pass over this many tokens."""
    return LOGIT_COPIES * FLOAT_BYTES * min(LOGITS_PER_BLOCK, tokens * vocabulary)


def _saved_bytes(
    config: PreTrainedConfig, blocks: int, shape: tuple[int, int], precision: torch.dtype, weight_dtype: torch.dtype
) -> int:
    """Return the bytes of the tensors that autograd saves in a forward pass of this many blocks, without the weights."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    shortened = copy.deepcopy(config)
    shortened.num_hidden_layers = blocks
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[id(storage)] = storage
        return tensor

    with FakeTensorMode():
        module = AutoModelForCausalLM.from_config(shortened, dtype=weight_dtype).train()
        token_ids = torch.zeros(shape, dtype=torch.long)
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", precision, enabled=precision != torch.float32),
        ):
            module.base_model(input_ids=token_ids, use_cache=False)
    for weight in module.parameters():
        saved.pop(id(weight.untyped_storage()), None)
    return sum(storage.nbytes() for storage in saved.values())


@contextmanager
def _without_error_log() -> Generator[None]:
    """Silence the traceback that fake tensors log before they raise an error."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
