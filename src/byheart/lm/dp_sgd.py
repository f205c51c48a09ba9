"""Private gradients: clip each text's gradient and add noise to the sum (DP-SGD, Abadi et al., arXiv 1607.00133).

opacus's `DPOptimizer` clips, adds noise and averages. This module samples each step's texts independently (Poisson
sampling), as the accountant assumes. Where all trained weights are those of linear layers, as in LoRA, one backward pass computes
the gradients of a batch's texts (`batched_gradients.py`). Otherwise each text has its own backward pass instead of opacus's hooks,
which support some layers only. This supports any architecture and adapter (experts, tied embeddings).

The unit of privacy is one text. Content in several copies, or an author with several texts, has less protection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from byheart.lm.batched_gradients import BatchedTextGradients, TextGradients, trained_linear_layers
from byheart.lm.loss import StepLoss
from byheart.lm.preference_loss import PreferenceLoss
from byheart.stats.dp_accounting import DpSgdParameters

if TYPE_CHECKING:
    from jaxtyping import Int

PartsOfStep = Callable[["Int[np.ndarray, ' batch']"], Iterator[tuple["Int[np.ndarray, ' part']", TextGradients | None]]]
"""From a step's texts to its parts: texts, and their gradients or None."""


class PrivateGradients:
    """Computes the private gradients of a step from per-text gradients. The trainer calls the optimizer's step."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        dp_parameters: DpSgdParameters,
        text_count: int,
        parts: PartsOfStep | None = None,
    ) -> None:
        """`parts` yields the gradients of several texts at once; None computes one text at a time."""
        from opacus.optimizers import DPOptimizer

        self._dp_parameters, self._text_count = dp_parameters, text_count
        self._parts = parts or _one_by_one
        self._parameters: list[torch.nn.Parameter] = [p for g in optimizer.param_groups for p in g["params"]]
        self.noise_rng = torch.Generator(self._parameters[0].device)
        self._dp_optimizer = DPOptimizer(
            optimizer,
            noise_multiplier=dp_parameters.noise_multiplier,
            max_grad_norm=dp_parameters.clip,
            # The expected number of texts: the sampled number would reveal the presence of a text.
            expected_batch_size=dp_parameters.rate * text_count,
            generator=self.noise_rng,
        )

    def sampled_batches(self, rng: np.random.Generator) -> Iterator[Int[np.ndarray, " batch"]]:
        """Yield the texts of each step of an epoch, possibly none. `rng` also seeds the epoch's noise."""
        self.noise_rng.manual_seed(int(rng.integers(1 << 63)))
        for _ in range(self._dp_parameters.steps):
            yield np.flatnonzero(rng.random(self._text_count) < self._dp_parameters.rate)

    def gradients(
        self, chosen: Int[np.ndarray, " batch"], accumulate: Callable[[Int[np.ndarray, " batch"]], float]
    ) -> tuple[float, float]:
        """Set the parameters' gradients to the noisy mean of the texts' clipped gradients.

        `accumulate` adds the gradients of texts to the parameters and returns their mean loss. Returns the mean loss of
        the chosen texts (0 for no text) and the norm of the noisy gradient.
        """
        total = 0.0
        for texts, gradients in self._parts(chosen):
            if gradients is not None:
                total += gradients.loss
                self._clip_and_accumulate(gradients.by_parameter, len(texts))
                continue
            for text in texts:
                total += accumulate(np.array([text]))
                self._clip_and_accumulate({p: p.grad[None] for p in self._parameters if p.grad is not None}, 1)
        self._add_noise()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        for parameter in self._parameters:
            parameter.grad_sample = parameter.summed_grad = None
        return total / max(len(chosen), 1), float(norm)

    def _clip_and_accumulate(self, gradients: Mapping[torch.nn.Parameter, torch.Tensor], texts: int) -> None:
        """Clip the gradients of these texts (text first) and add them to the step's sum."""
        for parameter in self._parameters:
            # A parameter that the texts do not reach (an expert that receives no token) has no gradient.
            found = gradients.get(parameter)
            parameter.grad_sample = parameter.new_zeros((texts, *parameter.shape)) if found is None else found
        self._dp_optimizer.signal_skip_step(do_skip=True)
        self._dp_optimizer.pre_step()
        self._dp_optimizer.zero_grad(set_to_none=True)

    def _add_noise(self) -> None:
        """Add noise to the step's sum, also without any text: skipping it would reveal that no text was sampled."""
        for parameter in self._parameters:
            parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))
        self._dp_optimizer.signal_skip_step(do_skip=False)
        self._dp_optimizer.pre_step()


def private_gradients(
    optimizer: torch.optim.Optimizer, dp_parameters: DpSgdParameters, step_loss: StepLoss | PreferenceLoss
) -> PrivateGradients:
    """Return the private gradients of a training: by batches of texts where the trained weights allow it."""
    layers = trained_linear_layers(step_loss.model.module)
    if layers is None or isinstance(step_loss, PreferenceLoss) or step_loss.accelerator.num_processes > 1:
        return PrivateGradients(optimizer, dp_parameters, len(step_loss.tokens))
    parts = BatchedTextGradients(step_loss, layers)
    return PrivateGradients(optimizer, dp_parameters, len(step_loss.tokens), parts)


def _one_by_one(chosen: Int[np.ndarray, " batch"]) -> Iterator[tuple[Int[np.ndarray, " part"], TextGradients | None]]:
    return iter([(chosen, None)] if len(chosen) else [])
