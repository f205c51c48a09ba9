"""What a training step minimises: the mean loss (nats a token) over its texts' scored tokens that count.

Precision is the caller's; the model is put into training mode. Where the trunk cannot change, its remembered hidden states
are read in place of a pass.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy

from byheart.lm.forward import batches, hidden_rows, logits, remembered
from byheart.lm.goldfish import counted
from byheart.lm.load import LanguageModel
from byheart.lm.placing import device_of
from byheart.lm.tokens import Tokens

if TYPE_CHECKING:
    from jaxtyping import Bool, Int


@dataclass(frozen=True)
class Loss:
    """The mean loss of a step's texts, made in parts that fit a token budget. `goldfish`: k of the goldfish loss, or None."""

    model: LanguageModel
    tokens: Tokens
    accelerator: Accelerator
    precision: torch.dtype
    budget: int
    goldfish: int | None = None

    @functools.cached_property
    def counted(self) -> Bool[np.ndarray, " scored_tokens"]:
        """Which scored tokens count in the loss, packed end to end."""
        if self.goldfish is None:
            return np.ones(len(self.tokens.true), dtype=bool)
        return counted(self.tokens, self.goldfish)

    @functools.cached_property
    def counts(self) -> Int[np.ndarray, " texts"]:
        """How many of each text's scored tokens count in the loss."""
        return np.add.reduceat(self.counted, self.tokens.scored_starts[:-1], dtype=np.int64)

    def gradients(self, chosen: Int[np.ndarray, " batch"]) -> float:
        """Set the gradients of the mean loss over these texts' tokens that count; return that loss (nats a token).

        With several processes each takes its share of the texts, and gradients are summed over all once a step.
        A wrapper that exchanges them inside the backward pass would miss a head that is trained without its trunk.
        """
        share = chosen[self.accelerator.process_index :: self.accelerator.num_processes]
        share = share[self.counts[share] > 0]
        scored = int(self.counts[chosen].sum())
        loss = torch.zeros((), device=device_of(self.model.module))
        for part in batches(self.tokens.lengths[share], self.budget):
            mean = self._summed_loss(share[part]) / scored
            self.accelerator.backward(mean)
            loss += mean.detach()
        if self.accelerator.num_processes == 1:
            return float(loss)
        for parameter in (p for p in self.model.module.parameters() if p.requires_grad):
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = self.accelerator.reduce(own, "sum")
        return float(self.accelerator.reduce(loss, "sum"))

    def _summed_loss(self, chosen: Int[np.ndarray, " batch"]) -> torch.Tensor:
        module, device = self.model.module, device_of(self.model.module)
        places = self.tokens.places(chosen)
        counted_R = torch.from_numpy(self.counted[places]).to(device)
        true_R = torch.from_numpy(self.tokens.true[places]).to(device)[counted_R]
        module.train()
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            if self.model.hidden is None:
                hidden_RD = hidden_rows(module, self.tokens, chosen)
            else:
                hidden_RD = remembered(self.model, self.tokens, self.budget)[torch.from_numpy(places)].to(device)
            logits_RV = logits(module, hidden_RD[counted_R])
        return cross_entropy(logits_RV, true_R, reduction="sum")
