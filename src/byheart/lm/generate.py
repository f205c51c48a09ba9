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

from byheart.lm.batching import within_memory
from byheart.lm.forward import causal, logits, scoring, tapped, trunk
from byheart.lm.load import LanguageModel
from byheart.lm.placement import device_of

Written = Int[np.ndarray, " written"]
Choose = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The chosen tokens (B) for logits (B, V), and how many tokens each row has written already (B)."""


class Opening(NamedTuple):
    """What a row begins with, one token at least (BOS and prompt included), and how many tokens at most it goes on for."""

    ids: Int[np.ndarray, " tokens"]
    new: int


def greedy(
    model: LanguageModel, openings: Sequence[Opening], *, budget: int = 4096, precision: torch.dtype = torch.float32
) -> list[Written]:
    """Return what the model writes after each opening, always its likeliest token, up to `new` tokens or an end token.

    `budget` bounds the tokens of a batch, and is halved when memory runs out. The end token is not returned.
    """
    return _written(model, openings, lambda _: lambda logits_BV, _: logits_BV.argmax(1), budget, precision)


def sampled(
    model: LanguageModel,
    openings: Sequence[Opening],
    seeds: Sequence[int],
    *,
    samples: int,
    top_k: int = 50,
    temperature: float = 1.0,
    budget: int = 4096,
    precision: torch.dtype = torch.float32,
) -> list[list[Written]]:
    """Return `samples` continuations of each opening, drawn among the `top_k` likeliest tokens at a temperature.

    Each opening has a seed of its own, and each of its continuations draws from that seed and its own number: the first
    of many are those of few. Budget and end tokens as in `greedy`.
    """
    rows = [o for o in openings for _ in range(samples)]
    longest = max((o.new for o in openings), default=0)

    def choose(chosen: Int[np.ndarray, " batch"]) -> Choose:
        own = [np.random.default_rng([seeds[i // samples], i % samples]).random(max(longest, 1)) for i in chosen]
        chance_BT = torch.from_numpy(np.stack(own)).to(device_of(model.module), torch.float32)
        return lambda logits_BV, step_B: _drawn(logits_BV, chance_BT, step_B, top_k, temperature)

    found = _written(model, rows, choose, budget, precision)
    return [found[i * samples : (i + 1) * samples] for i in range(len(openings))]


def _drawn(
    logits_BV: torch.Tensor, chance_BT: torch.Tensor, step_B: torch.Tensor, top_k: int, temperature: float
) -> torch.Tensor:
    """Return the token at which the sum of probabilities passes each row's chance of this step.

    Summed in the order of the vocabulary: in that of likelihood two tokens that are equal up to rounding would swap.
    """
    ids_BK = logits_BV.topk(min(top_k, logits_BV.shape[1])).indices.sort(1).values
    sum_BK = (logits_BV.gather(1, ids_BK) / temperature).softmax(1).cumsum(1)
    chance_B1 = chance_BT.gather(1, step_B.clamp(0, chance_BT.shape[1] - 1)[:, None])
    # The last sum may be rounded to less than one.
    place_B1 = (sum_BK <= chance_B1).sum(1, keepdim=True).clamp(max=ids_BK.shape[1] - 1)
    return ids_BK.gather(1, place_B1)[:, 0]


def _written(
    model: LanguageModel,
    rows: Sequence[Opening],
    choose: Callable[[Int[np.ndarray, " batch"]], Choose],
    budget: int,
    precision: torch.dtype,
) -> list[Written]:
    """Return what each row writes, batches made as for scoring; `choose` gives a batch's way of choosing tokens."""
    lengths = np.array([len(r.ids) + r.new for r in rows])
    found: dict[int, Written] = {}
    with scoring(model.module, precision):
        for chosen, written in within_memory(
            lengths, budget, lambda chosen: _batch(model, [rows[i] for i in chosen], choose(chosen))
        ):
            found.update(zip(chosen.tolist(), written, strict=True))
    return [found[i] for i in range(len(rows))]


def _batch(model: LanguageModel, rows: Sequence[Opening], choose: Choose) -> list[Written]:
    device = device_of(model.module)
    starts = [len(r.ids) for r in rows]
    start_B = torch.tensor(starts, device=device)
    end_B = start_B + torch.tensor([r.new for r in rows], device=device)
    ids_BT = torch.zeros(len(rows), int(end_B.max()), dtype=torch.long)
    for row, opening in zip(ids_BT, rows, strict=True):
        row[: len(opening.ids)] = torch.from_numpy(opening.ids)
    ids_BT = ids_BT.to(device)
    enders = torch.tensor(end_tokens(model), dtype=torch.long, device=device)
    done_B = end_B <= start_B
    logits_BV, cache = _opened(model.module, ids_BT[:, : min(starts)])
    for at in range(min(starts), ids_BT.shape[1]):
        own_B = start_B <= at
        ids_BT[:, at] = torch.where(own_B, choose(logits_BV, at - start_B), ids_BT[:, at])
        done_B |= (own_B & torch.isin(ids_BT[:, at], enders)) | (end_B <= at + 1)
        if done_B.all():
            break
        read = causal(model.module)(input_ids=ids_BT[:, at : at + 1], past_key_values=cache, use_cache=True)
        logits_BV, cache = read.logits[:, -1].float(), read.past_key_values
    kept = [row[r_from:r_to] for row, r_from, r_to in zip(ids_BT.cpu().numpy(), starts, end_B.tolist(), strict=True)]
    return [_until(row, enders.tolist()) for row in kept]


def _opened(module: torch.nn.Module, ids_BT: torch.Tensor) -> tuple[torch.Tensor, object]:
    """Return the logits (B, V) after these tokens, and the cache that holds them with all that stands before them."""
    with tapped(trunk(module)) as tap:
        read = module(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), use_cache=True)
    return logits(module, tap[0][:, -1]), read.past_key_values


def _until(row: Int[np.ndarray, " tokens"], enders: Sequence[int]) -> Written:
    ended = np.flatnonzero(np.isin(row, enders))
    return row[: ended[0]] if len(ended) else row


def end_tokens(model: LanguageModel) -> list[int]:
    """Return the tokens after which the model means to write nothing: its own and its tokenizer's, none if unknown."""
    config = getattr(causal(model.module), "generation_config", None)
    told = [getattr(config, "eos_token_id", None), model.tokenizer.eos_token_id]
    return sorted({int(t) for ids in told for t in (ids if isinstance(ids, list) else [ids]) if t is not None})
