"""Loss of Direct Preference Optimization (DPO) for a training step on preference pairs.

Rafael Rafailov, Archit Sharma, Eric Mitchell, Stefano Ermon, Christopher D. Manning, Chelsea Finn. Direct Preference Optimization:
Your Language Model is Secretly a Reward Model. NeurIPS, 2023. arXiv 2305.18290, equation 7.

    margin = [ln p(y_c | x) - ln p_ref(y_c | x)] - [ln p(y_r | x) - ln p_ref(y_r | x)]        c chosen, r rejected
    loss = mean over pairs of -ln sigmoid(beta * margin)

ln p sums over the scored tokens of a response. The reference is the base model before the method changes it, in evaluation mode; its
log-probabilities are computed once (TRL's `precompute_ref_log_probs`). The tests compare loss and gradients with TRL's `DPOTrainer`.

Departures from TRL: dropout of an adapter stays active in training; TRL disables dropout by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float

from byheart.lm.batching import logit_block_sizes
from byheart.lm.devices import device_of
from byheart.lm.forward import cached_hidden_states, hidden_rows, reduce_logits
from byheart.lm.load import LanguageModel
from byheart.lm.loss import sum_over_parts
from byheart.lm.tokens import Tokens
from byheart.lm.trunk_and_head import raw_logits

if TYPE_CHECKING:
    from jaxtyping import Int

DEFAULT_BETA = 0.1
"""Strength of the pull toward the reference model; TRL's default."""


@dataclass(frozen=True, eq=False)
class PreferencePairs:
    """Rejected responses of the training pairs and the reference model's margins, as the loss needs them.

    `reference_margins` is the log-probability (nats) of each chosen response minus that of the rejected one.
    """

    rejected: Tokens
    reference_margins: Float[np.ndarray, " pairs"]
    beta: float = DEFAULT_BETA


def preference_pairs(
    model: LanguageModel, chosen: Tokens, rejected: Tokens, *, beta: float | None, budget: int, precision: torch.dtype
) -> PreferencePairs:
    """Return the pairs with the margins of `model`, the reference; `beta` None means `DEFAULT_BETA`."""
    margins = [_log_probs(model, tokens, budget, precision) for tokens in (chosen, rejected)]
    return PreferencePairs(rejected, margins[0] - margins[1], DEFAULT_BETA if beta is None else beta)


def _log_probs(
    model: LanguageModel, tokens: Tokens, budget: int, precision: torch.dtype
) -> Float[np.ndarray, " texts"]:
    """Log-probability (nats) of each text's scored tokens in total."""
    (logp,) = reduce_logits(model, tokens, _true_logp, values_per_token=1, budget=budget, precision=precision)
    return np.add.reduceat(logp.astype(np.float64), tokens.scored_starts[:-1])


def _true_logp(logits_RV: torch.Tensor, true_R: torch.Tensor) -> torch.Tensor:
    """Return (1, R): log-probability of each true token."""
    return logits_RV.float().log_softmax(1).gather(1, true_R[:, None]).T


@dataclass(frozen=True, eq=False)
class PreferenceLoss:
    """Mean DPO loss of a step's pairs, computed in parts within a token budget; `tokens` are the chosen responses."""

    model: LanguageModel
    tokens: Tokens
    accelerator: Accelerator
    precision: torch.dtype
    budget: int
    pairs: PreferencePairs

    def gradients(self, chosen: Int[np.ndarray, " batch"]) -> float:
        """Set the gradients of the mean loss over these pairs; return the loss (nats per pair).

        Both responses of a pair are in one part. As in `StepLoss`, each process computes its share.
        """
        share = chosen[self.accelerator.process_index :: self.accelerator.num_processes]
        # Two passes of these lengths are in memory at once.
        lengths = 2 * np.maximum(self.tokens.lengths, self.pairs.rejected.lengths)[share]
        return sum_over_parts(
            self.model, self.accelerator, lengths, self.budget, lambda part: self._backward(share[part], len(chosen))
        )

    def _backward(self, part: Int[np.ndarray, " pairs"], pair_count: int) -> torch.Tensor:
        """Add the gradients of these pairs' part of the loss; return that part.

        The head runs twice: the gradient of each row depends on the margin of its pair, which needs all rows of the pair. So logits
        and gradients are in memory for one block of rows at a time.
        """
        module, device = self.model.module, device_of(self.model.module)
        rows, _ = logit_block_sizes(self.model)
        sides = [(self.tokens, 1.0), (self.pairs.rejected, -1.0)]
        counts = [(t.lengths - t.first)[part] for t, _ in sides]
        true_R = torch.from_numpy(np.concatenate([t.scored_ids[t.scored_positions(part)] for t, _ in sides])).to(device)
        pair_R = torch.from_numpy(np.concatenate([np.repeat(np.arange(len(part)), n) for n in counts])).to(device)
        sign_R = torch.cat([torch.full((int(n.sum()),), sign) for n, (_, sign) in zip(counts, sides, strict=True)]).to(
            device
        )
        module.train()
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            hidden_RD = torch.cat([self._hidden_states(tokens, part) for tokens, _ in sides])
            detached_RD = hidden_RD.detach().requires_grad_(hidden_RD.requires_grad)
            with torch.no_grad():
                blocks = zip(detached_RD.split(rows), true_R.split(rows), strict=True)
                logp_R = torch.cat([_head_logp(module, *block).to(device) for block in blocks])
            reference_P = torch.from_numpy(self.pairs.reference_margins[part]).to(device, torch.float32)
            margin_P = torch.zeros_like(reference_P).index_add(0, pair_R, sign_R * logp_R) - reference_P
            scaled_P = self.pairs.beta * margin_P
            # The derivative of the loss in each row's log-probability, up to its sign.
            weight_R = (self.pairs.beta * (-scaled_P).sigmoid() / pair_count)[pair_R] * sign_R
            for block in zip(detached_RD.split(rows), true_R.split(rows), weight_R.split(rows), strict=True):
                _head_backward(module, *block)
        if hidden_RD.requires_grad:
            hidden_RD.backward(detached_RD.grad)
        return -torch.nn.functional.logsigmoid(scaled_P).sum() / pair_count

    def _hidden_states(self, tokens: Tokens, part: Int[np.ndarray, " pairs"]) -> torch.Tensor:
        """Return the hidden states (R, D) that predict the scored tokens of these texts."""
        if self.model.hidden is None:
            return hidden_rows(self.model.module, tokens, part)
        cached = cached_hidden_states(self.model, tokens, self.budget, self.precision)
        return cached[torch.from_numpy(tokens.scored_positions(part))].to(device_of(self.model.module))


def _head_logp(module: torch.nn.Module, hidden_RD: torch.Tensor, true_R: torch.Tensor) -> torch.Tensor:
    """Return the true tokens' log-probabilities (R)."""
    logits_RV = raw_logits(module, hidden_RD)
    return _true_logp(logits_RV, true_R.to(logits_RV.device))[0]


def _head_backward(
    module: torch.nn.Module, hidden_RD: torch.Tensor, true_R: torch.Tensor, weight_R: torch.Tensor
) -> None:
    """Add the gradients of minus the weighted sum of log-probabilities: weight * (softmax minus one-hot target) in each logit."""
    logits_RV = raw_logits(module, hidden_RD)
    true_R1, weight_R1 = (t.to(logits_RV.device)[:, None] for t in (true_R, weight_R))
    gradient_RV = logits_RV.detach().float().softmax(1)
    gradient_RV.scatter_add_(1, true_R1, gradient_RV.new_full(true_R1.shape, -1.0)).mul_(weight_R1)
    with torch.autocast(hidden_RD.device.type, enabled=False):
        logits_RV.backward(gradient_RV.to(logits_RV.dtype))
