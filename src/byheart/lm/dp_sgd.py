"""Private gradients: clip each text's gradient and add noise to the sum (DP-SGD, Abadi et al., arXiv 1607.00133).

opacus's `DPOptimizer` clips, adds noise and averages. This module samples each step's texts independently (Poisson
sampling), as the accountant assumes. Each text has its own backward pass instead of opacus's hooks, which support some
layers only. A backward pass per text supports any architecture and adapter (experts, tied embeddings), needs no padding,
and stores the gradients of one text at a time.

The unit of privacy is one text. Content in several copies, or an author with several texts, has less protection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from byheart.stats.dp_accounting import DpSgdParameters

if TYPE_CHECKING:
    from jaxtyping import Int


class PrivateGradients:
    """Computes the private gradients of a step from per-text gradients. The trainer calls the optimizer's step."""

    def __init__(self, optimizer: torch.optim.Optimizer, dp_parameters: DpSgdParameters, text_count: int) -> None:
        from opacus.optimizers import DPOptimizer

        self._dp_parameters, self._text_count = dp_parameters, text_count
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
        for text in chosen:
            total += accumulate(np.array([text]))
            self._clip_and_accumulate(last=text == chosen[-1])
        if len(chosen) == 0:
            # A step without texts still adds noise: skipping it would reveal that no text was sampled.
            self._clip_and_accumulate(last=True)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        for parameter in self._parameters:
            parameter.grad_sample = parameter.summed_grad = None
        return total / max(len(chosen), 1), float(norm)

    def _clip_and_accumulate(self, *, last: bool) -> None:
        """Clip one text's gradients, stored in the parameters, and add them to the step's sum; add noise with the last text."""
        for parameter in self._parameters:
            # A parameter that the text does not reach (an expert that receives no token) has no gradient.
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad_sample = gradient[None]
        self._dp_optimizer.signal_skip_step(not last)
        self._dp_optimizer.pre_step()
        if not last:
            self._dp_optimizer.zero_grad(set_to_none=True)
