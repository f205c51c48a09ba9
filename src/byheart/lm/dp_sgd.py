"""Private gradients: each text's clipped by itself, noise added to their sum (DP-SGD, Abadi et al., arXiv 1607.00133).

Clipping, noise and averaging are opacus's `DPOptimizer`; which texts a step reads is drawn here, each by itself (Poisson),
which is what the accountant assumes. A text's gradient comes from a backward pass of its own, and not from
opacus's hooks: those know some layers only, while this holds for any architecture and adapter (experts, tied
embeddings), pads nothing, and never holds more than one text's gradients.

One text is the unit: what a text says in several copies, or an author in several texts, is protected less.
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
    """Makes the gradients of private steps out of each text's own, and leaves the optimiser's step to the trainer."""

    def __init__(self, optimizer: torch.optim.Optimizer, dp_parameters: DpSgdParameters, text_count: int) -> None:
        from opacus.optimizers import DPOptimizer

        self._spending, self._texts = dp_parameters, text_count
        self._parameters: list[torch.nn.Parameter] = [p for g in optimizer.param_groups for p in g["params"]]
        self._chance = torch.Generator(self._parameters[0].device)
        self._noisy = DPOptimizer(
            optimizer,
            noise_multiplier=dp_parameters.noise_multiplier,
            max_grad_norm=dp_parameters.clip,
            # Not how many were drawn: that number would tell of a text.
            expected_batch_size=dp_parameters.rate * text_count,
            generator=self._chance,
        )

    def sampled_batches(self, rng: np.random.Generator) -> Iterator[Int[np.ndarray, " batch"]]:
        """Yield the texts of each of an epoch's steps, sometimes none; the epoch's noise is drawn from `chance` too."""
        self._chance.manual_seed(int(rng.integers(1 << 63)))
        for _ in range(self._spending.steps):
            yield np.flatnonzero(rng.random(self._texts) < self._spending.rate)

    def gradients(
        self, chosen: Int[np.ndarray, " batch"], accumulate: Callable[[Int[np.ndarray, " batch"]], float]
    ) -> tuple[float, float]:
        """Leave the noisy mean of clipped gradients as the parameters' gradients.

        `of` adds some texts' gradients up in the parameters and returns their mean loss. Returns the mean loss of the
        chosen texts (0 for none) and the norm of what it left.
        """
        total = 0.0
        for text in chosen:
            total += accumulate(np.array([text]))
            self._clip_and_accumulate(last=text == chosen[-1])
        if len(chosen) == 0:
            # A step without texts is a step of noise: left out, it would tell that none was drawn.
            self._clip_and_accumulate(last=True)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        for parameter in self._parameters:
            parameter.grad_sample = parameter.summed_grad = None
        return total / max(len(chosen), 1), float(norm)

    def _clip_and_accumulate(self, *, last: bool) -> None:
        """Clip the gradients of one text, which the parameters hold, and add them to the step's sum; with the last, the noise."""
        for parameter in self._parameters:
            # What a text does not reach (an expert that none of its tokens was sent to) has no gradient.
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad_sample = own[None]
        self._noisy.signal_skip_step(not last)
        self._noisy.pre_step()
        if not last:
            self._noisy.zero_grad(set_to_none=True)
