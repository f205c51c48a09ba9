"""Compute all statistics of all scored tokens in one forward pass.

The trunk (everything below the output head) runs on batches sorted by length within a token budget. The head runs on the
scored positions only, one block of rows at a time, with logits and softmax in float32. So no [batch, time, vocabulary] tensor is
ever in memory. `trunk_and_head.py` runs both parts for any architecture.

Virtual tokens: prompt tuning and P-tuning add rows before the text's rows, prefix tuning does not. Rows of the trunk's
output in excess of the text's length are dropped.

Shapes: B texts, T padded positions, D hidden size, R scored rows, V vocabulary.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from peft.helpers import disable_input_dtype_casting

from byheart.core.errors import ModelError
from byheart.core.evidence import PromptedTexts
from byheart.core.types import TokenStats
from byheart.lm.batching import device_budget, logit_block_sizes, run_batches
from byheart.lm.bfloat16 import fast_products
from byheart.lm.devices import device_of
from byheart.lm.load import LanguageModel
from byheart.lm.rope import batch_classes
from byheart.lm.sharding import reshard, sharding_kind
from byheart.lm.tokens import Tokens
from byheart.lm.trunk_and_head import capture_hidden_states, logits, trunk

MAX_HIDDEN_BYTES_IN_RAM = 1 << 30
"""Maximum size (bytes) of cached hidden states in RAM; larger ones are in a memory-mapped file."""


def padded_batch(tokens: Tokens, chosen: Int[np.ndarray, " batch"]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids (B, T) and the mask of scored targets (B, T), padded on the right.

    Lengths define the padding, not tokens: a pad token can equal an end token.
    """
    lengths = tokens.lengths[chosen]
    ids_BT = torch.zeros(len(chosen), int(lengths.max()), dtype=torch.long)
    for row, i in enumerate(chosen):
        ids_BT[row, : lengths[row]] = torch.from_numpy(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])
    position_T = torch.arange(ids_BT.shape[1])
    within_BT = position_T < torch.from_numpy(lengths)[:, None]
    scored_BT = within_BT & (position_T >= torch.from_numpy(tokens.first[chosen])[:, None])
    return ids_BT, scored_BT


def hidden_rows(module: torch.nn.Module, tokens: Tokens, chosen: Int[np.ndarray, " batch"]) -> torch.Tensor:
    """Return the hidden states (R, D) that predict the scored tokens of these texts, text by text in the order of `chosen`.

    Gradients flow if enabled. No attention mask is needed: the padding is on the right, and a causal model ignores it.
    """
    device = device_of(module)
    ids_BT, scored_BT = (t.to(device) for t in padded_batch(tokens, chosen))
    with capture_hidden_states(trunk(module)) as hidden_states:
        module(input_ids=ids_BT)
    # X-LoRA runs the trunk twice: the first pass computes the weights of its adapters.
    hidden_BTD = hidden_states[-1][:, hidden_states[-1].shape[1] - ids_BT.shape[1] :]
    return hidden_BTD[:, :-1][scored_BT[:, 1:]]


def token_statistics(logits_RV: torch.Tensor, true_R: torch.Tensor) -> torch.Tensor:
    """Return (5, R): log-probability of the true token, mean and standard deviation of log p, entropy, rank.

    The variance is computed in two passes: a difference of large numbers would lose the precision that Min-K%++ needs.
    """
    true_R1 = true_R[:, None]
    rank_R = (logits_RV > logits_RV.gather(1, true_R1)).sum(1)
    logp_RV = logits_RV.log_softmax(1)
    p_RV = logp_RV.exp()
    # A token that the model masks has log p = -inf and p = 0, and does not count in the mean.
    logp_RV.clamp_min_(torch.finfo(torch.float32).min)
    mean_R = (p_RV * logp_RV).sum(1)
    logp_R = logp_RV.gather(1, true_R1)[:, 0]
    # In place and without `square`, which is ten times slower than a product on a CPU.
    apart_RV = logp_RV.sub_(mean_R[:, None])
    var_R = apart_RV.mul_(apart_RV).mul_(p_RV).nan_to_num_(0.0).sum(1)
    return torch.stack([logp_R, mean_R, var_R.sqrt(), -mean_R, rank_R.float()])


def token_stats(
    model: LanguageModel, tokens: Tokens, *, budget: int = 4096, precision: torch.dtype = torch.float32
) -> TokenStats:
    """Return all statistics of all scored tokens, in the order of the texts, from one forward pass.

    `budget` limits the padded tokens of a batch; it is halved when memory runs out. `precision` is that of the
    factors of all products; logits and softmax are always float32. Raises `ModelError` for a statistic that is not finite.
    """
    statistics = reduce_logits(model, tokens, token_statistics, values_per_token=5, budget=budget, precision=precision)
    _check_finite(statistics, model.name)
    logp, mean, std, entropy, rank = statistics
    return TokenStats(
        logp=logp, starts=tokens.scored_starts, mean=mean, std=std, entropy=entropy, rank=rank.astype(np.int32)
    )


def reduce_logits(
    model: LanguageModel,
    tokens: Tokens,
    reduce: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    values_per_token: int,
    budget: int,
    precision: torch.dtype,
) -> Float[np.ndarray, "numbers tokens"]:
    """Return `values_per_token` numbers that `reduce` computes per scored token, in the order of the texts.

    `reduce` gets the float32 logits (R, V) and true ids (R) of one block of rows, and returns (numbers, R).
    """
    rows, reduction_rows = logit_block_sizes(model)
    values = np.empty((values_per_token, len(tokens.scored_ids)), dtype=np.float32)
    with scoring_mode(model.module, precision):
        for positions, hidden_RD in _hidden_state_batches(model, tokens, budget, precision):
            true_R = torch.from_numpy(tokens.scored_ids[positions])
            parts: list[torch.Tensor] = []
            for block_RD, block_R in zip(hidden_RD.split(rows), true_R.split(rows), strict=True):
                block_RV = logits(model.module, block_RD)
                block_true_R = block_R.to(block_RV.device)
                blocks = zip(block_RV.split(reduction_rows), block_true_R.split(reduction_rows), strict=True)
                parts += [reduce(logits_RV, targets_R) for logits_RV, targets_R in blocks]
            values[:, positions] = torch.cat(parts, dim=1).cpu().numpy()
    return values


@contextmanager
def scoring_mode(module: torch.nn.Module, precision: torch.dtype) -> Generator[None]:
    """Run in evaluation mode, without gradients, at this precision; restore the model's mode on exit.

    Adapters do not cast their inputs to float32 at a lower precision, because autocast casts them back.
    """
    # Per module: an adapter's wrapper may be in training mode around a model in evaluation mode.
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with (
            torch.no_grad(),
            torch.autocast(device_of(module).type, precision, enabled=precision != torch.float32),
            fast_products(device_of(module), precision),
            disable_input_dtype_casting(module, precision != torch.float32),
        ):
            yield
    finally:
        reshard(module)
        for part, mode in modes.items():
            part.training = mode


def _hidden_state_batches(
    model: LanguageModel, tokens: Tokens, budget: int, precision: torch.dtype
) -> Iterator[tuple[Int[np.ndarray, " rows"], torch.Tensor]]:
    """Yield indices among all scored tokens with the hidden states (R, D) that predict these tokens."""
    if model.hidden is None:
        yield from _trunk_passes(model.module, tokens, budget)
        return
    cached = cached_hidden_states(model, tokens, budget, precision)
    for start in range(0, len(cached), budget):
        positions = np.arange(start, min(start + budget, len(cached)))
        yield positions, cached[start : start + budget].to(device_of(model.module))


def cached_hidden_states(model: LanguageModel, tokens: Tokens, budget: int, precision: torch.dtype) -> torch.Tensor:
    """Return the trunk's hidden states (scored tokens, D) in float32, computed by a scoring pass in this precision.

    The trunk does not change, so the first call for a set of texts and a precision computes the states. Above
    `MAX_HIDDEN_BYTES_IN_RAM` bytes they are in an unnamed memory-mapped file, which the system deletes with the process.
    """
    assert model.hidden is not None, "the trunk can change"  # noqa: S101 - for the type checker
    # The tokens' digest, not the texts': the same texts also follow other tokens.
    key = (tokens.digest, precision)
    if key not in model.hidden:
        states: torch.Tensor | None = None
        with scoring_mode(model.module, precision):
            for positions, hidden_RD in _trunk_passes(model.module, tokens, budget):
                if states is None:
                    states = _hidden_state_buffer(len(tokens.scored_ids), hidden_RD.shape[1])
                states[torch.from_numpy(positions)] = hidden_RD.float().cpu()
        assert states is not None, "no texts"  # noqa: S101 - for the type checker
        model.hidden[key] = states
    return model.hidden[key]


def _hidden_state_buffer(rows: int, width: int) -> torch.Tensor:
    if rows * width * 4 <= MAX_HIDDEN_BYTES_IN_RAM:
        return torch.empty(rows, width)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open as long as its memory map
    return torch.from_numpy(np.memmap(file, dtype=np.float32, mode="w+", shape=(rows, width)))


def _trunk_passes(
    module: torch.nn.Module, tokens: Tokens, budget: int
) -> Iterator[tuple[Int[np.ndarray, " rows"], torch.Tensor]]:
    """Run the trunk; yield as `_hidden_state_batches` does."""

    def run(chosen: Int[np.ndarray, " batch"]) -> torch.Tensor:
        return hidden_rows(module, tokens, chosen)

    # With sharded weights, all processes must run the same passes, so no process may retry alone.
    for chosen, hidden_RD in run_batches(
        tokens.lengths,
        device_budget(module, budget),
        run,
        retry=not sharding_kind(module),
        classes=batch_classes(module, tokens.lengths),
    ):
        yield tokens.scored_positions(chosen), hidden_RD


def _check_finite(values: np.ndarray, name: str) -> None:
    if not np.isfinite(values).all():
        raise ModelError(
            f"model {name!r}: probabilities are not finite. Try precision float32, or check the model's weights."
        )


@dataclass(frozen=True, eq=False)
class Scorer:
    """A model with its token budget and precision: the input of observations. `Scorer(...)(tokens)` is one forward pass."""

    model: LanguageModel
    budget: int
    precision: torch.dtype

    def __call__(self, tokens: Tokens) -> TokenStats:
        """Return all statistics of all scored tokens."""
        return token_stats(self.model, tokens, budget=self.budget, precision=self.precision)


ReferenceTrainer = Callable[[PromptedTexts], Scorer]
"""Function that fine-tunes the base model like the target, on texts that the target generated."""
