"""Run a model's trunk (everything below the output head) and its head separately, for any architecture.

Both parts run the model's own code: a hook captures the trunk's output, and the head runs by calling the model with a trunk
that returns precomputed hidden states. So a model's own changes to its logits (soft-capping, scaling, an extra layer) apply.

Shapes: R scored rows, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.generic import ModelOutput

from byheart.core.errors import ModelError
from byheart.lm.float32_logits import Float32Logits
from byheart.lm.sharding import sharded_root


def causal_lm(module: torch.nn.Module) -> torch.nn.Module:
    """Return the causal language model inside an adapter's wrapper, or the model itself."""
    model: Any = module.get_base_model() if isinstance(module, PeftModel) else module
    return model


def trunk(module: torch.nn.Module) -> torch.nn.Module:
    """Return the trunk: everything below the output head.

    Raises `ModelError` for a model without separate trunk and head.
    """
    model = causal_lm(module)
    body: Any = model.base_model
    if body is model or model.get_output_embeddings() is None:
        raise ModelError(f"model: {type(model).__name__} has no separate trunk and output head. Choose another model.")
    # OPT and the decoders of BART's family: the model calls the decoder inside its trunk.
    return body.decoder if isinstance(getattr(body, "decoder", None), torch.nn.Module) else body


@contextmanager
def capture_hidden_states(body: torch.nn.Module) -> Generator[list[torch.Tensor]]:
    """Capture the trunk's hidden states and replace them by one row, so that the head costs almost nothing."""
    captured: list[torch.Tensor] = []

    def capture(_module: torch.nn.Module, _inputs: object, output: ModelOutput) -> ModelOutput:
        captured.append(output["last_hidden_state"])
        # Indexed, not sliced: for a row with a batch's strides, torch copies the head's weights in bfloat16 on a CPU.
        output["last_hidden_state"] = captured[-1][0, -1].detach()[None, None]
        return output

    hook = body.register_forward_hook(capture)
    try:
        yield captured
    finally:
        hook.remove()


class _PrecomputedTrunkOutput(BaseModelOutputWithPast):
    """Precomputed hidden states as a trunk's output. All other attributes (attentions, router logits) are None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def logits(module: torch.nn.Module, hidden_RD: torch.Tensor) -> torch.Tensor:
    """Return the head's logits (R, V) for hidden states (R, D), summed and returned in float32 also for a bfloat16 model.

    Without gradients, except for a float32 model; `raw_logits` has them.
    """
    with float32_logits(module, hidden_RD.device):
        return raw_logits(module, hidden_RD).float()


@contextmanager
def float32_logits(module: torch.nn.Module, device: torch.device) -> Generator[None]:
    """Make a model in bfloat16, or in autocast, return logits that are not rounded to bfloat16."""
    model: Any = causal_lm(module)
    head = model.get_output_embeddings()
    if head.weight.dtype in {torch.float32, torch.float64} and not torch.is_autocast_enabled(device.type):
        yield
        return
    with Float32Logits(head.weight.shape[0]):
        yield


def raw_logits(module: torch.nn.Module, hidden_RD: torch.Tensor) -> torch.Tensor:
    """Return the head's logits (R, V) in the head's precision; gradients flow if enabled.

    A sharded model keeps the gradients of this pass until a backward pass through its trunk or `reduce_gradients`.
    """
    root, model = sharded_root(module), causal_lm(module)
    if root is None:
        return _head_pass(module, hidden_RD, model)
    root.unshard()
    # Without hooks: a backward pass through them would free the weights that the trunk's backward pass reads.
    return _head_pass(module, hidden_RD, model.forward)


def reduce_gradients(module: torch.nn.Module, hidden_RD: torch.Tensor) -> None:
    """Complete the gradients of a sharded head that was trained without its trunk: a pass with hooks and gradients of zero."""
    logits_RV = _head_pass(module, hidden_RD.detach()[:1], causal_lm(module))
    logits_RV.backward(torch.zeros_like(logits_RV))


def _head_pass(module: torch.nn.Module, hidden_RD: torch.Tensor, run: Callable[..., Any]) -> torch.Tensor:
    body = trunk(module)
    trunk_output = _PrecomputedTrunkOutput(last_hidden_state=hidden_RD[None])
    # An instance's `forward` overrides its class's. Hooks still run, and `del` restores the class's `forward`.
    instance_forward = vars(body).get("forward")  # accelerate sets one on a model spread over devices
    body.forward = lambda *_, **__: trunk_output
    try:
        unused = torch.zeros(1, 1, dtype=torch.long, device=hidden_RD.device)
        # Not `[0]`: its backward pass writes the gradient into an array of zeros.
        return run(input_ids=unused).logits.squeeze(0)
    finally:
        if instance_forward is None:
            del body.forward
        else:
            body.forward = instance_forward
