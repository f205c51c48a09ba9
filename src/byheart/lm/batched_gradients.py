"""The loss gradients of each text of a batch, from one backward pass.

For weights of linear layers, as LoRA adds them: a text's gradient is the product of its own output gradients and inputs, which one
batched product computes for all texts ("Efficient Per-Example Gradient Computations", Goodfellow, 2015, arXiv 1510.01799). Other
trained weights (embeddings, experts, all weights of a model) have no such gradients here, and their texts are computed one by one.

Shapes: B texts, T padded positions, I inputs and O outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import linear

from byheart.lm.batching import step_batches
from byheart.lm.rope import batch_classes
from byheart.lm.sharding import sharded_root

if TYPE_CHECKING:
    from jaxtyping import Int

    from byheart.lm.loss import StepLoss

MAX_GRADIENT_BYTES = 1 << 30
"""Maximum memory of the gradients of a batch's texts; more texts are computed in parts."""


class TextGradients(NamedTuple):
    """Gradients of some texts by parameter (B, O, I), and the sum of the texts' losses (nats per token)."""

    by_parameter: dict[torch.nn.Parameter, torch.Tensor]
    loss: float


class _SharedBatch(Exception):  # noqa: N818 - a signal, not an error: the batch is computed text by text
    """A layer's input does not have one row per text; `is_lasting` unless the numbers of texts and positions are equal by chance."""

    def __init__(self, *, is_lasting: bool) -> None:
        super().__init__()
        self.is_lasting = is_lasting


def trained_linear_layers(module: torch.nn.Module) -> list[torch.nn.Linear] | None:
    """Return the linear layers whose weights are all trained parameters of the module; None if there are others.

    None also for a base model in 8 bits: its layers choose outlier columns over all rows of a batch, so that a text would change
    the gradients of others.
    """
    if any(type(part).__name__ == "Linear8bitLt" for part in module.modules()):
        return None
    layers = [
        part
        for part in module.modules()
        if type(part) is torch.nn.Linear and part.weight.requires_grad and "forward" not in vars(part)
    ]
    trained = {id(p) for p in module.parameters() if p.requires_grad}
    is_complete = {id(layer.weight) for layer in layers} == trained and len(layers) == len(trained)
    return layers if is_complete and sharded_root(module) is None else None


class BatchedTextGradients:
    """Computes the gradients of a step's texts in parts of several texts; `layers` are those of `trained_linear_layers`."""

    def __init__(self, step_loss: StepLoss, layers: Sequence[torch.nn.Linear]) -> None:
        self._step_loss, self._layers = step_loss, layers
        text_bytes = 4 * sum(layer.weight.numel() for layer in layers)
        self._most = max(1, MAX_GRADIENT_BYTES // text_bytes)
        self._is_separable = True

    def __call__(
        self, chosen: Int[np.ndarray, " batch"]
    ) -> Iterator[tuple[Int[np.ndarray, " part"], TextGradients | None]]:
        """Yield parts of these texts with the gradients of each text's own mean loss; None where its texts are not separable.

        Texts share a batch only if its longest text does not change how the others are computed. Texts without a token in the loss
        are left out: their gradients are zero.
        """
        chosen = chosen[self._step_loss.loss_token_counts[chosen] > 0]
        module, lengths = self._step_loss.model.module, self._step_loss.tokens.lengths
        classes = batch_classes(module, lengths[chosen])
        for own_class in np.unique(classes):
            same = chosen[classes == own_class]
            for part in step_batches(module, lengths[same], self._step_loss.budget):
                for start in range(0, len(part), self._most):
                    texts = same[part[start : start + self._most]]
                    yield texts, self._text_gradients(texts) if self._is_separable else None

    def _text_gradients(self, chosen: Int[np.ndarray, " part"]) -> TextGradients | None:
        gradients: dict[torch.nn.Parameter, torch.Tensor] = {}
        weights: list[torch.Tensor] = [layer.weight for layer in self._layers]
        generators = torch.get_rng_state()
        try:
            with _collected(self._layers, len(chosen), gradients):
                loss = self._step_loss.backward_of_own_means(chosen)
            if all(weight.grad is None for weight in weights):
                return TextGradients(gradients, loss)
            # The model reads a weight without calling its layer, as peft does with LoRA on experts.
            self._is_separable = False
        except _SharedBatch as signal:
            self._is_separable = not signal.is_lasting
        except torch.OutOfMemoryError:
            self._most = max(1, len(chosen) // 2)
        for weight in weights:
            weight.grad = None
        torch.set_rng_state(generators)  # dropout draws the same numbers as if this pass had not been tried
        return None


@contextmanager
def _collected(
    layers: Sequence[torch.nn.Linear], texts: int, gradients: dict[torch.nn.Parameter, torch.Tensor]
) -> Generator[None]:
    """Add the gradients of each text to `gradients` in backward passes, instead of their sum to the weights' `grad`.

    Raises `_SharedBatch` in a forward pass of a layer whose input does not have exactly one row per text, or has as many rows as
    positions (then the axes cannot be distinguished).
    """
    lengths: set[int] = set()

    def run(layer: torch.nn.Linear, input_BTI: torch.Tensor) -> torch.Tensor:
        lengths.add(input_BTI.shape[1] if input_BTI.ndim == 3 else 0)  # noqa: PLR2004 - B, T, I
        if lengths == {texts}:
            raise _SharedBatch(is_lasting=False)
        if input_BTI.ndim != 3 or input_BTI.shape[0] != texts or len(lengths) > 1:  # noqa: PLR2004
            raise _SharedBatch(is_lasting=True)
        device, weight_OI = input_BTI.device.type, layer.weight
        if torch.is_autocast_enabled(device):
            precision = torch.get_autocast_dtype(device)
            input_BTI, weight_OI = input_BTI.to(precision), weight_OI.to(precision)
        output: Any = _LinearByText.apply(input_BTI, weight_OI, layer.weight, gradients)
        bias: Any = layer.bias  # frozen, if the layer has one
        return output if bias is None else output + bias

    for layer in layers:
        layer.forward = lambda input_BTI, layer=layer: run(layer, input_BTI)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class _LinearByText(torch.autograd.Function):
    """A linear layer whose backward pass adds the gradient of each text to `gradients` and none to the weight."""

    @staticmethod
    def forward(
        ctx: Any,
        input_BTI: torch.Tensor,
        weight_OI: torch.Tensor,
        parameter: torch.nn.Parameter,
        gradients: dict[torch.nn.Parameter, torch.Tensor],
    ) -> torch.Tensor:
        """Return the layer's outputs (B, T, O)."""
        ctx.save_for_backward(input_BTI, weight_OI)
        ctx.parameter, ctx.gradients = parameter, gradients
        return linear(input_BTI, weight_OI)

    @staticmethod
    def backward(ctx: Any, *output_gradients: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None]:
        """Return the gradient of the input only."""
        (gradient_BTO,) = output_gradients
        input_BTI, weight_OI = ctx.saved_tensors
        gradient_BOI = torch.bmm(gradient_BTO.mT, input_BTI).to(ctx.parameter.dtype)
        known = ctx.gradients.get(ctx.parameter)
        ctx.gradients[ctx.parameter] = gradient_BOI if known is None else known + gradient_BOI
        return gradient_BTO @ weight_OI if ctx.needs_input_grad[0] else None, None, None, None
