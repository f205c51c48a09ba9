"""What a model writes after a beginning: greedily, or sampled with chances that are each text's own.

No row is ever padded. Rows of one batch are read together up to the shortest beginning and then go token by token, a row
whose beginning is not at its end yet being handed its next token instead of choosing one. So every token stands at its
own distance from whatever comes before it (virtual tokens too), for any architecture, with no mask and no position to
get right. The beginning is read by the whole model, adapter and virtual tokens included, as in scoring; what follows, by
the causal model inside, whose cache holds all that the adapter put there.

A row's chances are numbers drawn beforehand from its own seed: it writes the same whatever is written beside it, and the
same chances meet every model that is asked. Up to rounding: about one sampled token in 100,000 lies so near the border of
two that the size of the batch decides between them.

Shapes: B rows, T positions, V vocabulary, K most likely tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from byheart.lm.batching import run_batches
from byheart.lm.forward import capture_hidden_states, causal_lm, logits, scoring_mode, trunk
from byheart.lm.load import LanguageModel
from byheart.lm.placement import device_of

Continuation = Int[np.ndarray, " written"]
TokenChooser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The chosen tokens (B) for logits (B, V), and how many tokens each row has written already (B)."""


class GenerationRequest(NamedTuple):
    """What a row begins with, one token at least (BOS and prompt included), and how many tokens at most it goes on for."""

    ids: Int[np.ndarray, " tokens"]
    max_new_tokens: int


def generate_greedy(
    model: LanguageModel,
    requests: Sequence[GenerationRequest],
    *,
    budget: int = 4096,
    precision: torch.dtype = torch.float32,
) -> list[Continuation]:
    """Return what the model writes after each opening, always its likeliest token, up to `new` tokens or an end token.

    `budget` bounds the tokens of a batch, and is halved when memory runs out. The end token is not returned.
    """
    return _generate(model, requests, lambda _: lambda logits_BV, _: logits_BV.argmax(1), budget, precision)


def generate_samples(
    model: LanguageModel,
    requests: Sequence[GenerationRequest],
    seeds: Sequence[int],
    *,
    samples: int,
    top_k: int = 50,
    temperature: float = 1.0,
    budget: int = 4096,
    precision: torch.dtype = torch.float32,
) -> list[list[Continuation]]:
    """Return `samples` continuations of each opening, drawn among the `top_k` likeliest tokens at a temperature.

    Each opening has a seed of its own, and each of its continuations draws from that seed and its own number: the first
    of many are those of few. Budget and end tokens as in `greedy`.
    """
    rows = [o for o in requests for _ in range(samples)]
    longest = max((o.max_new_tokens for o in requests), default=0)

    def choose(chosen: Int[np.ndarray, " batch"]) -> TokenChooser:
        own = [np.random.default_rng([seeds[i // samples], i % samples]).random(max(longest, 1)) for i in chosen]
        chance_BT = torch.from_numpy(np.stack(own)).to(device_of(model.module), torch.float32)
        return lambda logits_BV, step_B: _sample_tokens(logits_BV, chance_BT, step_B, top_k, temperature)

    found = _generate(model, rows, choose, budget, precision)
    return [found[i * samples : (i + 1) * samples] for i in range(len(requests))]


def _sample_tokens(
    logits_BV: torch.Tensor, uniform_BT: torch.Tensor, step_B: torch.Tensor, top_k: int, temperature: float
) -> torch.Tensor:
    """Return the token at which the sum of probabilities passes each row's chance of this step.

    Summed in the order of the vocabulary: in that of likelihood two tokens that are equal up to rounding would swap.
    """
    ids_BK = logits_BV.topk(min(top_k, logits_BV.shape[1])).indices.sort(1).values
    sum_BK = (logits_BV.gather(1, ids_BK) / temperature).softmax(1).cumsum(1)
    chance_B1 = uniform_BT.gather(1, step_B.clamp(0, uniform_BT.shape[1] - 1)[:, None])
    # The last sum may be rounded to less than one.
    place_B1 = (sum_BK <= chance_B1).sum(1, keepdim=True).clamp(max=ids_BK.shape[1] - 1)
    return ids_BK.gather(1, place_B1)[:, 0]


def _generate(
    model: LanguageModel,
    requests: Sequence[GenerationRequest],
    make_chooser: Callable[[Int[np.ndarray, " batch"]], TokenChooser],
    budget: int,
    precision: torch.dtype,
) -> list[Continuation]:
    """Return what each row writes, batches made as for scoring; `choose` gives a batch's way of choosing tokens."""
    lengths = np.array([len(r.ids) + r.max_new_tokens for r in requests])
    found: dict[int, Continuation] = {}
    with scoring_mode(model.module, precision):
        for chosen, written in run_batches(
            lengths, budget, lambda chosen: _generate_batch(model, [requests[i] for i in chosen], make_chooser(chosen))
        ):
            found.update(zip(chosen.tolist(), written, strict=True))
    return [found[i] for i in range(len(requests))]


def _generate_batch(
    model: LanguageModel, requests: Sequence[GenerationRequest], choose: TokenChooser
) -> list[Continuation]:
    device = device_of(model.module)
    starts = [len(r.ids) for r in requests]
    start_B = torch.tensor(starts, device=device)
    end_B = start_B + torch.tensor([r.max_new_tokens for r in requests], device=device)
    ids_BT = torch.zeros(len(requests), int(end_B.max()), dtype=torch.long)
    for row, opening in zip(ids_BT, requests, strict=True):
        row[: len(opening.ids)] = torch.from_numpy(opening.ids)
    ids_BT = ids_BT.to(device)
    enders = torch.tensor(end_tokens(model), dtype=torch.long, device=device)
    done_B = end_B <= start_B
    logits_BV, cache = _prefill(model.module, ids_BT[:, : min(starts)])
    for at in range(min(starts), ids_BT.shape[1]):
        own_B = start_B <= at
        ids_BT[:, at] = torch.where(own_B, choose(logits_BV, at - start_B), ids_BT[:, at])
        done_B |= (own_B & torch.isin(ids_BT[:, at], enders)) | (end_B <= at + 1)
        if done_B.all():
            break
        read = causal_lm(model.module)(input_ids=ids_BT[:, at : at + 1], past_key_values=cache, use_cache=True)
        logits_BV, cache = read.logits[:, -1].float(), read.past_key_values
    kept = [row[r_from:r_to] for row, r_from, r_to in zip(ids_BT.cpu().numpy(), starts, end_B.tolist(), strict=True)]
    return [_truncate_at_end_token(row, enders.tolist()) for row in kept]


def _prefill(module: torch.nn.Module, ids_BT: torch.Tensor) -> tuple[torch.Tensor, object]:
    """Return the logits (B, V) after these tokens, and the cache that holds them with all that stands before them."""
    with capture_hidden_states(trunk(module)) as tap:
        read = module(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), use_cache=True)
    return logits(module, tap[0][:, -1]), read.past_key_values


def _truncate_at_end_token(row: Int[np.ndarray, " tokens"], end_ids: Sequence[int]) -> Continuation:
    ended = np.flatnonzero(np.isin(row, end_ids))
    return row[: ended[0]] if len(ended) else row


def end_tokens(model: LanguageModel) -> list[int]:
    """Return the tokens after which the model means to write nothing: its own and its tokenizer's, none if unknown."""
    config = getattr(causal_lm(model.module), "generation_config", None)
    told = [getattr(config, "eos_token_id", None), model.tokenizer.eos_token_id]
    return sorted({int(t) for ids in told for t in (ids if isinstance(ids, list) else [ids]) if t is not None})
