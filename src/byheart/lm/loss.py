"""Loss of a training step: mean over the scored tokens in the loss mask (nats per token).

The caller sets the precision. The model is put into training mode. If the trunk is not trained, its cached hidden states
replace the forward pass.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import Accelerator

from byheart.lm.batching import batches, logit_block_sizes, step_batches
from byheart.lm.devices import device_of
from byheart.lm.forward import cached_hidden_states, hidden_rows
from byheart.lm.goldfish import goldfish_mask
from byheart.lm.load import LanguageModel
from byheart.lm.sharding import mean_over_processes, sharded_root
from byheart.lm.tokens import Tokens
from byheart.lm.trunk_and_head import raw_logits, reduce_gradients

if TYPE_CHECKING:
    from jaxtyping import Bool, Int


@dataclass(frozen=True)
class StepLoss:
    """Mean loss of a step's texts, computed in parts within a token budget. `goldfish_k`: k of the goldfish loss, or None."""

    model: LanguageModel
    tokens: Tokens
    accelerator: Accelerator
    precision: torch.dtype
    budget: int
    goldfish_k: int | None = None

    @functools.cached_property
    def loss_mask(self) -> Bool[np.ndarray, " scored_tokens"]:
        """Mask of the scored tokens that the loss includes, packed end to end."""
        if self.goldfish_k is None:
            return np.ones(len(self.tokens.scored_ids), dtype=bool)
        return goldfish_mask(self.tokens, self.goldfish_k)

    @functools.cached_property
    def loss_token_counts(self) -> Int[np.ndarray, " texts"]:
        """Number of each text's scored tokens that the loss includes."""
        return np.add.reduceat(self.loss_mask, self.tokens.scored_starts[:-1], dtype=np.int64)

    def gradients(self, chosen: Int[np.ndarray, " batch"]) -> float:
        """Set the gradients of the mean loss over these texts' unmasked tokens; return the loss (nats per token).

        Each of several processes computes its share of the texts, and gradients are summed over processes once per step.
        A wrapper that reduces gradients inside the backward pass would miss a head that is trained without its trunk.
        If the processes share the model's weights, each computes all texts.
        """
        is_sharded = sharded_root(self.model.module) is not None
        share = chosen if is_sharded else chosen[self.accelerator.process_index :: self.accelerator.num_processes]
        share = share[self.loss_token_counts[share] > 0]
        loss_tokens = int(self.loss_token_counts[chosen].sum())
        return sum_over_parts(
            self.model,
            self.accelerator,
            self.tokens.lengths[share],
            self.budget,
            lambda part: self._backward(share[part], loss_tokens),
        )

    def backward_of_own_means(self, chosen: Int[np.ndarray, " batch"]) -> float:
        """Run the backward pass of the sum of these texts' losses, each the mean over its own tokens; return the sum (nats per token).

        The texts run in one batch. Each must have a token in the loss.
        """
        counts = self.loss_token_counts[chosen]
        return float(self._backward(chosen, torch.from_numpy(counts.repeat(counts)).to(device_of(self.model.module))))

    def _backward(self, chosen: Int[np.ndarray, " batch"], loss_tokens: int | torch.Tensor) -> torch.Tensor:
        """Add the gradients of these texts' part of the loss, divided by `loss_tokens` (one number, or one per token); return that part.

        The head runs on one block of rows at a time, and the loss gradient of the logits (softmax minus one-hot target) is
        computed in closed form. So neither the logits of a complete step nor their gradients are in memory at once.
        """
        module, device = self.model.module, device_of(self.model.module)
        rows, reduction_rows = logit_block_sizes(self.model)
        positions = self.tokens.scored_positions(chosen)
        in_loss_R = torch.from_numpy(self.loss_mask[positions])
        true_R = torch.from_numpy(self.tokens.scored_ids[positions])[in_loss_R].to(device)
        loss = torch.zeros((), device=device)
        module.train()
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            if self.model.hidden is None:
                hidden_RD = hidden_rows(module, self.tokens, chosen)[in_loss_R.to(device)]
            else:
                cached = cached_hidden_states(self.model, self.tokens, self.budget, self.precision)
                hidden_RD = cached[torch.from_numpy(positions)[in_loss_R]].to(device)
            detached_RD = hidden_RD.detach().requires_grad_(hidden_RD.requires_grad)
            blocks = zip(
                detached_RD.split(rows), true_R.split(rows), _split(loss_tokens, rows, len(true_R)), strict=True
            )
            for block_RD, block_R, divisor in blocks:
                logits_RV = raw_logits(module, block_RD)
                block_loss, gradient_RV = _cross_entropy(
                    logits_RV.detach(), block_R.to(logits_RV.device), reduction_rows, divisor
                )
                loss += block_loss.to(device)
                with torch.autocast(device.type, enabled=False):
                    logits_RV.backward(gradient_RV)
        if hidden_RD.requires_grad:
            hidden_RD.backward(detached_RD.grad)
        elif sharded_root(module) is not None:
            reduce_gradients(module, hidden_RD)
        return loss


def sum_over_parts(
    model: LanguageModel,
    accelerator: Accelerator,
    lengths: Int[np.ndarray, " share"],
    budget: int,
    backward: Callable[[Int[np.ndarray, " part"]], torch.Tensor],
) -> float:
    """Run `backward` on parts within the token budget; return the loss summed over parts and processes, as the gradients then are.

    `backward` gets the places of a part's texts among `lengths`, adds their gradients and returns their part of the loss.
    """
    loss = torch.zeros((), device=device_of(model.module))
    # The head alone needs no padding, so texts of different lengths share a batch.
    is_head_only = model.hidden is not None
    for part in batches(lengths, budget) if is_head_only else step_batches(model.module, lengths, budget):
        loss += backward(part)
    if sharded_root(model.module) is not None:
        return mean_over_processes(loss)
    if accelerator.num_processes == 1:
        return float(loss)
    for parameter in (p for p in model.module.parameters() if p.requires_grad):
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parameter.grad = accelerator.reduce(gradient, "sum")
    return float(accelerator.reduce(loss, "sum"))


def _split(loss_tokens: int | torch.Tensor, rows: int, total: int) -> Sequence[int | torch.Tensor]:
    """Return the divisor of each block of `rows` rows, of `total` rows."""
    if isinstance(loss_tokens, torch.Tensor):
        return loss_tokens.split(rows)
    return [loss_tokens] * math.ceil(total / rows)


def _cross_entropy(
    logits_RV: torch.Tensor, true_R: torch.Tensor, rows_per_block: int, loss_tokens: int | torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss, summed nats / `loss_tokens`, and its gradient in each logit (R, V), by blocks of rows.

    With a number for each row in `loss_tokens` (R), each row's nats are divided by its own.
    """
    nats, gradient_RV = torch.zeros((), device=logits_RV.device), torch.empty_like(logits_RV)
    by_row = isinstance(loss_tokens, torch.Tensor)
    divisor_of_rows = loss_tokens[:, None].to(logits_RV.device) if by_row else loss_tokens
    blocks = zip(
        logits_RV.split(rows_per_block),
        gradient_RV.split(rows_per_block),
        true_R[:, None].split(rows_per_block),
        _split(divisor_of_rows, rows_per_block, len(true_R)),
        strict=True,
    )
    for block_RV, block_gradient_RV, true_R1, divisor in blocks:
        logp_RV = block_RV.float().log_softmax(1)
        true_logp_R1 = logp_RV.gather(1, true_R1)
        nats -= (true_logp_R1 / divisor if by_row else true_logp_R1).sum()
        p_RV = logp_RV.exp_()
        block_gradient_RV.copy_(p_RV.scatter_add_(1, true_R1, p_RV.new_full(true_R1.shape, -1.0)).div_(divisor))
    return nats if by_row else nats / loss_tokens, gradient_RV
