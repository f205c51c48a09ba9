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

from byheart.lm.batching import batches, logit_block_sizes, step_batches
from byheart.lm.forward import cached_hidden_states, hidden_rows, raw_logits
from byheart.lm.goldfish import goldfish_mask
from byheart.lm.load import LanguageModel
from byheart.lm.placement import device_of
from byheart.lm.tokens import Tokens

if TYPE_CHECKING:
    from jaxtyping import Bool, Int


@dataclass(frozen=True)
class StepLoss:
    """The mean loss of a step's texts, made in parts that fit a token budget. `goldfish`: k of the goldfish loss, or None."""

    model: LanguageModel
    tokens: Tokens
    accelerator: Accelerator
    precision: torch.dtype
    budget: int
    goldfish_k: int | None = None

    @functools.cached_property
    def loss_mask(self) -> Bool[np.ndarray, " scored_tokens"]:
        """Which scored tokens count in the loss, packed end to end."""
        if self.goldfish_k is None:
            return np.ones(len(self.tokens.scored_ids), dtype=bool)
        return goldfish_mask(self.tokens, self.goldfish_k)

    @functools.cached_property
    def loss_token_counts(self) -> Int[np.ndarray, " texts"]:
        """How many of each text's scored tokens count in the loss."""
        return np.add.reduceat(self.loss_mask, self.tokens.scored_starts[:-1], dtype=np.int64)

    def gradients(self, chosen: Int[np.ndarray, " batch"]) -> float:
        """Set the gradients of the mean loss over these texts' tokens that count; return that loss (nats a token).

        With several processes each takes its share of the texts, and gradients are summed over all once a step.
        A wrapper that exchanges them inside the backward pass would miss a head that is trained without its trunk.
        """
        share = chosen[self.accelerator.process_index :: self.accelerator.num_processes]
        share = share[self.loss_token_counts[share] > 0]
        scored = int(self.loss_token_counts[chosen].sum())
        loss = torch.zeros((), device=device_of(self.model.module))
        lengths = self.tokens.lengths[share]
        # Without its trunk a model pads nothing: texts of unlike length go through its head together.
        alone = self.model.hidden is not None
        for part in batches(lengths, self.budget) if alone else step_batches(self.model.module, lengths, self.budget):
            loss += self._backward(share[part], scored)
        if self.accelerator.num_processes == 1:
            return float(loss)
        for parameter in (p for p in self.model.module.parameters() if p.requires_grad):
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = self.accelerator.reduce(own, "sum")
        return float(self.accelerator.reduce(loss, "sum"))

    def _backward(self, chosen: Int[np.ndarray, " batch"], loss_tokens: int) -> torch.Tensor:
        """Add the gradients of these texts' share of the loss; return the share.

        The head runs on a block of rows at a time, and what the loss says of its logits (softmax less the true token) is
        written down, not traced: neither logits nor their gradients ever exist for a whole step.
        """
        module, device = self.model.module, device_of(self.model.module)
        rows, few = logit_block_sizes(self.model)
        places = self.tokens.scored_positions(chosen)
        counted_R = torch.from_numpy(self.loss_mask[places])
        true_R = torch.from_numpy(self.tokens.scored_ids[places])[counted_R].to(device)
        loss = torch.zeros((), device=device)
        module.train()
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            if self.model.hidden is None:
                hidden_RD = hidden_rows(module, self.tokens, chosen)[counted_R.to(device)]
            else:
                kept = cached_hidden_states(self.model, self.tokens, self.budget, self.precision)
                hidden_RD = kept[torch.from_numpy(places)[counted_R]].to(device)
            apart_RD = hidden_RD.detach().requires_grad_(hidden_RD.requires_grad)
            for block_RD, block_R in zip(apart_RD.split(rows), true_R.split(rows), strict=True):
                logits_RV = raw_logits(module, block_RD)
                nats, slope_RV = _cross_entropy(logits_RV.detach(), block_R.to(logits_RV.device), few, loss_tokens)
                loss += nats.to(device) / loss_tokens
                with torch.autocast(device.type, enabled=False):
                    logits_RV.backward(slope_RV)
        if hidden_RD.requires_grad:
            hidden_RD.backward(apart_RD.grad)
        return loss


def _cross_entropy(
    logits_RV: torch.Tensor, true_R: torch.Tensor, rows_per_block: int, loss_tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the summed loss (nats), and the slope of the mean over `scored` in each logit (R, V); `few` rows at a time."""
    nats, slope_RV = torch.zeros((), device=logits_RV.device), torch.empty_like(logits_RV)
    near = zip(
        logits_RV.split(rows_per_block),
        slope_RV.split(rows_per_block),
        true_R[:, None].split(rows_per_block),
        strict=True,
    )
    for near_RV, near_slope_RV, true_R1 in near:
        logp_RV = near_RV.float().log_softmax(1)
        nats -= logp_RV.gather(1, true_R1).sum()
        p_RV = logp_RV.exp_()
        near_slope_RV.copy_(p_RV.scatter_add_(1, true_R1, p_RV.new_full(true_R1.shape, -1.0)).div_(loss_tokens))
    return nats, slope_RV
