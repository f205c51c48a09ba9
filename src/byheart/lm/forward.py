"""Every statistic of every scored token from one forward pass.

The trunk (everything below the output head) runs on batches sorted by length within a token budget; the head is
applied to the scored positions alone, a block of rows at a time, softmax in float32: no [batch, time, vocabulary]
tensor ever exists. Both halves go through the model's own code: a hook takes the trunk's result out, and the head is
run by calling the model with its trunk stood in for by known hidden states, so that what a model does to its logits
(soft-capping, scaling, an extra layer) is done here too, for any architecture.

Virtual tokens. Prompt tuning and P-tuning put rows before the text's, prefix tuning does not: the rows to drop are
what the trunk returned beyond the text's own length.

Shapes: B texts, T padded positions, D hidden size, R scored rows, V vocabulary.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from peft import PeftModel
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.generic import ModelOutput

from byheart.core.errors import ModelError
from byheart.core.types import TokenStats
from byheart.lm.batching import device_budget, logit_block_sizes, run_batches
from byheart.lm.load import LanguageModel
from byheart.lm.placement import device_of
from byheart.lm.preserve_state import sharding
from byheart.lm.tokens import Tokens

MAX_HIDDEN_BYTES_IN_RAM = 1 << 30
"""Bytes of remembered hidden states above which they are kept in a mapped file."""


def causal_lm(module: torch.nn.Module) -> torch.nn.Module:
    """Return the causal language model inside an adapter's wrapper, or the model itself."""
    whole: Any = module.get_base_model() if isinstance(module, PeftModel) else module
    return whole


def trunk(module: torch.nn.Module) -> torch.nn.Module:
    """Return everything below the output head.

    Raises `ModelError` for a model that does not keep the two apart.
    """
    whole = causal_lm(module)
    body: Any = whole.base_model
    if body is whole or whole.get_output_embeddings() is None:
        raise ModelError(
            f"{type(whole).__name__} does not keep its trunk apart from its output head; choose another model"
        )
    return body


def padded_batch(tokens: Tokens, chosen: Int[np.ndarray, " batch"]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids (B, T), and which positions are scored targets (B, T), padded on the right.

    Padding is told by length, never by token: a pad token may equal an end token.
    """
    lengths = tokens.lengths[chosen]
    ids_BT = torch.zeros(len(chosen), int(lengths.max()), dtype=torch.long)
    for row, i in enumerate(chosen):
        ids_BT[row, : lengths[row]] = torch.from_numpy(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])
    at_T = torch.arange(ids_BT.shape[1])
    within_BT = at_T < torch.from_numpy(lengths)[:, None]
    scored_BT = within_BT & (at_T >= torch.from_numpy(tokens.first[chosen])[:, None])
    return ids_BT, scored_BT


def hidden_rows(module: torch.nn.Module, tokens: Tokens, chosen: Int[np.ndarray, " batch"]) -> torch.Tensor:
    """Return the hidden states (R, D) that predict the scored tokens of these texts, text by text in this order.

    Gradients flow where they are on. No mask is given: a causal model never looks to the right, where the padding is.
    """
    device = device_of(module)
    ids_BT, scored_BT = (t.to(device) for t in padded_batch(tokens, chosen))
    with capture_hidden_states(trunk(module)) as tap:
        module(input_ids=ids_BT)
    hidden_BTD = tap[0][:, tap[0].shape[1] - ids_BT.shape[1] :]
    return hidden_BTD[:, :-1][scored_BT[:, 1:]]


@contextmanager
def capture_hidden_states(body: torch.nn.Module) -> Generator[list[torch.Tensor]]:
    """Take the trunk's hidden states out and leave one row in their place, so that the head costs next to nothing."""
    taken: list[torch.Tensor] = []

    def take(_module: torch.nn.Module, _inputs: object, output: ModelOutput) -> ModelOutput:
        taken.append(output["last_hidden_state"])
        # Picked out, not sliced: for a row with a batch's strides, torch copies the head's weights in bfloat16 on a CPU.
        output["last_hidden_state"] = taken[-1][0, -1].detach()[None, None]
        return output

    hook = body.register_forward_hook(take)
    try:
        yield taken
    finally:
        hook.remove()


class _PrecomputedTrunkOutput(BaseModelOutputWithPast):
    """Hidden states in place of a trunk's result; whatever else a model looks for in it (attentions, routers) is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def logits(module: torch.nn.Module, hidden_RD: torch.Tensor) -> torch.Tensor:
    """Return the logits (R, V), float32, that the model's head gives for hidden states (R, D)."""
    return raw_logits(module, hidden_RD).float()


def raw_logits(module: torch.nn.Module, hidden_RD: torch.Tensor) -> torch.Tensor:
    """Return the logits (R, V) at the precision that the head computes in."""
    whole, body = causal_lm(module), trunk(module)
    known = _PrecomputedTrunkOutput(last_hidden_state=hidden_RD[None])
    # An instance's own `forward` goes before its class's; hooks still run, and `del` restores the class's exactly.
    own = vars(body).get("forward")  # one that a model spread over devices was given by accelerate
    body.forward = lambda *_, **__: known
    try:
        unused = torch.zeros(1, 1, dtype=torch.long, device=hidden_RD.device)
        # Not `[0]`, which backwards writes the slope into an array of zeros.
        return whole(input_ids=unused).logits.squeeze(0)
    finally:
        if own is None:
            del body.forward
        else:
            body.forward = own


def token_statistics(logits_RV: torch.Tensor, true_R: torch.Tensor) -> torch.Tensor:
    """Return (5, R): log-probability of the true token, mean and standard deviation of log p, entropy, rank.

    The variance is centred (two passes): the difference of two large numbers would lose what Min-K%++ divides by.
    """
    true_R1 = true_R[:, None]
    rank_R = (logits_RV > logits_RV.gather(1, true_R1)).sum(1)
    logp_RV = logits_RV.log_softmax(1)
    p_RV = logp_RV.exp()
    # A token masked out by the model has log p = -inf and p = 0, and takes no part in the mean.
    logp_RV.clamp_min_(torch.finfo(torch.float32).min)
    mean_R = (p_RV * logp_RV).sum(1)
    logp_R = logp_RV.gather(1, true_R1)[:, 0]
    # In place, and without `square`, which takes ten times as long as a product on a CPU.
    apart_RV = logp_RV.sub_(mean_R[:, None])
    var_R = apart_RV.mul_(apart_RV).mul_(p_RV).nan_to_num_(0.0).sum(1)
    return torch.stack([logp_R, mean_R, var_R.sqrt(), -mean_R, rank_R.float()])


def token_stats(
    model: LanguageModel, tokens: Tokens, *, budget: int = 4096, precision: torch.dtype = torch.float32
) -> TokenStats:
    """Return every statistic of every scored token, in the texts' own order, from one pass.

    `budget` bounds the padded tokens of a batch and is halved when memory runs out. `precision` is what the trunk
    and the head compute in; the softmax is float32 whatever it is. Raises `ModelError` for a result that is not finite.
    """
    found = reduce_logits(model, tokens, token_statistics, values_per_token=5, budget=budget, precision=precision)
    _check_finite(found, model.name)
    logp, mean, std, entropy, rank = found
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
    """Return the `numbers` that `reduce` makes of each scored token's logits (R, V) and true id (R), in the texts' order.

    `reduce` is called on a block of rows at a time, the logits float32, and returns (numbers, R).
    """
    rows, few = logit_block_sizes(model)
    found = np.empty((values_per_token, len(tokens.scored_ids)), dtype=np.float32)
    with scoring_mode(model.module, precision):
        for places, hidden_RD in _hidden_state_batches(model, tokens, budget, precision):
            true_R = torch.from_numpy(tokens.scored_ids[places])
            parts: list[torch.Tensor] = []
            for block_RD, block_R in zip(hidden_RD.split(rows), true_R.split(rows), strict=True):
                block_RV = raw_logits(model.module, block_RD)
                truth_R = block_R.to(block_RV.device)
                near = zip(block_RV.split(few), truth_R.split(few), strict=True)
                parts += [reduce(logits_RV.float(), true) for logits_RV, true in near]
            found[:, places] = torch.cat(parts, dim=1).cpu().numpy()
    return found


@contextmanager
def scoring_mode(module: torch.nn.Module, precision: torch.dtype) -> Generator[None]:
    """Score in evaluation mode, without gradients, at this precision; leave the model's mode as it was."""
    # Part by part: an adapter's wrapper may be in training mode around a model in evaluation mode.
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad(), torch.autocast(device_of(module).type, precision, enabled=precision != torch.float32):
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _hidden_state_batches(
    model: LanguageModel, tokens: Tokens, budget: int, precision: torch.dtype
) -> Iterator[tuple[Int[np.ndarray, " rows"], torch.Tensor]]:
    """Yield packed positions of scored tokens with the hidden states (R, D) that predict them."""
    if model.hidden is None:
        yield from _trunk_passes(model.module, tokens, budget)
        return
    kept = cached_hidden_states(model, tokens, budget, precision)
    for at in range(0, len(kept), budget):
        places = np.arange(at, min(at + budget, len(kept)))
        yield places, kept[at : at + budget].to(device_of(model.module))


def cached_hidden_states(model: LanguageModel, tokens: Tokens, budget: int, precision: torch.dtype) -> torch.Tensor:
    """Return the trunk's hidden states (scored tokens, D), float32, as a pass that scores in this precision finds them.

    The trunk cannot change: it is passed once for a set of texts and a precision, when first asked for. Above `MEMORY`
    bytes the states live in an unnamed file mapped into memory, which goes with the process.
    """
    assert model.hidden is not None, "its trunk can change"  # noqa: S101 - for the type checker
    # Not the texts' digest: the same texts are read after other tokens too.
    name = (tokens.digest, precision)
    if name not in model.hidden:
        kept: torch.Tensor | None = None
        with scoring_mode(model.module, precision):
            for places, hidden_RD in _trunk_passes(model.module, tokens, budget):
                if kept is None:
                    kept = _hidden_state_buffer(len(tokens.scored_ids), hidden_RD.shape[1])
                kept[torch.from_numpy(places)] = hidden_RD.float().cpu()
        assert kept is not None, "no texts"  # noqa: S101 - for the type checker
        model.hidden[name] = kept
    return model.hidden[name]


def _hidden_state_buffer(rows: int, width: int) -> torch.Tensor:
    if rows * width * 4 <= MAX_HIDDEN_BYTES_IN_RAM:
        return torch.empty(rows, width)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the array that is mapped onto it
    return torch.from_numpy(np.memmap(file, dtype=np.float32, mode="w+", shape=(rows, width)))


def _trunk_passes(
    module: torch.nn.Module, tokens: Tokens, budget: int
) -> Iterator[tuple[Int[np.ndarray, " rows"], torch.Tensor]]:
    """Yield as `_hidden` does, running the trunk."""

    def run(chosen: Int[np.ndarray, " batch"]) -> torch.Tensor:
        return hidden_rows(module, tokens, chosen)

    # Processes that hold a part of the weights each must all make the same passes.
    for chosen, hidden_RD in run_batches(
        tokens.lengths, device_budget(module, budget), run, retry=not sharding(module)
    ):
        yield tokens.scored_positions(chosen), hidden_RD


def _check_finite(values: np.ndarray, name: str) -> None:
    if not np.isfinite(values).all():
        raise ModelError(
            f"model {name!r} gives probabilities that are not finite; try precision float32, or check its weights"
        )


@dataclass(frozen=True, eq=False)
class Scorer:
    """A model with how it is to be scored: what an observation is handed. `Scorer(...)(tokens)` is one pass."""

    model: LanguageModel
    budget: int
    precision: torch.dtype

    def __call__(self, tokens: Tokens) -> TokenStats:
        """Return every statistic of every scored token."""
        return token_stats(self.model, tokens, budget=self.budget, precision=self.precision)
