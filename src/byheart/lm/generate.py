"""Generate continuations of prefixes, greedily or by sampling with one seed per text.

No row is padded. All rows of a batch run together up to the length of the shortest prefix, then token by token. A row that
is still in its prefix gets its next prefix token instead of a generated one. So each token has its correct position after
its preceding tokens and virtual tokens, for any architecture, without attention masks or position ids. The complete model,
with adapter and virtual tokens, reads the prefixes, as in scoring. The causal model inside generates the rest; its cache
contains everything that the adapter added.

Each row's uniform random numbers are drawn beforehand from its own seed. So a row's text does not depend on its batch, and
every model gets the same random numbers. The exception is rounding: about one sampled token in 100,000 is so near the
boundary between two tokens that the batch size decides.

Shapes: B rows, T positions, V vocabulary, K most likely tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from byheart.lm.batching import run_batches
from byheart.lm.devices import device_of
from byheart.lm.forward import scoring_mode
from byheart.lm.kv_buffer import write_in_place
from byheart.lm.load import LanguageModel
from byheart.lm.sharding import same_in_all_processes, sharding_kind
from byheart.lm.trunk_and_head import capture_hidden_states, causal_lm, float32_logits, logits, trunk

CACHE_BYTES = 2**30
"""Maximum size of a batch's key and value cache beyond the tokens of a scoring batch."""
MAX_BUDGET_FACTOR = 4
"""Maximum tokens of a batch, in tokens of a scoring batch: a step of generation computes one token of each row only."""

Continuation = Int[np.ndarray, " written"]
TokenChooser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Function from logits (B, V) and the number of tokens that each row has generated (B) to the chosen tokens (B)."""
TokenReader = Callable[[torch.Tensor], torch.Tensor]
"""Function that reads the next token ids (B, T) of the rows of a batch and returns the logits (B, V) after them."""


class GenerationRequest(NamedTuple):
    """A prefix of at least one token (including BOS and prompt), and the maximum number of generated tokens."""

    ids: Int[np.ndarray, " tokens"]
    max_new_tokens: int


def generate_greedy(
    model: LanguageModel,
    requests: Sequence[GenerationRequest],
    *,
    budget: int = 4096,
    precision: torch.dtype = torch.float32,
) -> list[Continuation]:
    """Return the greedy continuation of each prefix, up to `max_new_tokens` tokens or an end token.

    `budget` limits the tokens of a batch; it is halved when memory runs out. The end token is not returned.
    """
    return generate(model, requests, lambda _: lambda logits_BV, _: logits_BV.argmax(1), budget, precision)


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
    """Return `samples` continuations of each prefix, sampled from the `top_k` most likely tokens at a temperature.

    Each continuation is seeded with its prefix's seed and its number, so the first continuations do not depend on
    `samples`. Budget and end tokens are as in `generate_greedy`.
    """
    rows = [request for request in requests for _ in range(samples)]
    max_new_tokens = max((request.max_new_tokens for request in requests), default=0)

    def choose(chosen: Int[np.ndarray, " batch"]) -> TokenChooser:
        uniform = [
            np.random.default_rng([seeds[i // samples], i % samples]).random(max(max_new_tokens, 1)) for i in chosen
        ]
        uniform_BT = torch.from_numpy(np.stack(uniform)).to(device_of(model.module), torch.float32)
        return lambda logits_BV, step_B: _sample_tokens(logits_BV, uniform_BT, step_B, top_k, temperature)

    continuations = generate(model, rows, choose, budget, precision)
    return [continuations[i * samples : (i + 1) * samples] for i in range(len(requests))]


def _sample_tokens(
    logits_BV: torch.Tensor, uniform_BT: torch.Tensor, step_B: torch.Tensor, top_k: int, temperature: float
) -> torch.Tensor:
    """Return the token at which each row's cumulative probability exceeds the row's uniform number of this step.

    Tokens are in vocabulary order: in order of likelihood, two tokens that are equal up to rounding could swap.
    """
    ids_BK = logits_BV.topk(min(top_k, logits_BV.shape[1])).indices.sort(1).values
    sum_BK = (logits_BV.gather(1, ids_BK) / temperature).softmax(1).cumsum(1)
    uniform_B1 = uniform_BT.gather(1, step_B.clamp(0, uniform_BT.shape[1] - 1)[:, None])
    # Rounding can leave the last sum below one.
    index_B1 = (sum_BK <= uniform_B1).sum(1, keepdim=True).clamp(max=ids_BK.shape[1] - 1)
    return ids_BK.gather(1, index_B1)[:, 0]


def generate(
    model: LanguageModel,
    requests: Sequence[GenerationRequest],
    make_chooser: Callable[[Int[np.ndarray, " batch"]], TokenChooser],
    budget: int,
    precision: torch.dtype,
    *,
    make_reader: Callable[[], TokenReader] | None = None,
) -> list[Continuation]:
    """Return each request's continuation, without the end token. `make_chooser` returns a batch's token chooser.

    `make_reader` returns a batch's token reader: the model by default. Batches have up to four times the tokens of scoring.
    """
    make_reader = make_reader or functools.partial(CachedReader, model.module)
    lengths = np.array([len(r.ids) + r.max_new_tokens for r in requests])
    continuations: dict[int, Continuation] = {}
    with scoring_mode(model.module, precision):
        for chosen, written in run_batches(
            lengths,
            _generation_budget(model, budget),
            lambda chosen: _generate_batch(model, [requests[i] for i in chosen], make_chooser(chosen), make_reader()),
            retry=not sharding_kind(model.module),
        ):
            continuations.update(zip(chosen.tolist(), written, strict=True))
    return [continuations[i] for i in range(len(requests))]


def _generation_budget(model: LanguageModel, budget: int) -> int:
    """Return the tokens of a batch of generation: more than `budget` as far as the cache stays within `CACHE_BYTES`."""
    config = causal_lm(model.module).config.get_text_config()
    sizes = [getattr(config, name, None) for name in ("num_hidden_layers", "num_attention_heads", "hidden_size")]
    layers, heads, width = (size if isinstance(size, int) else 0 for size in sizes)
    if not layers * heads * width:
        return budget
    head_width = getattr(config, "head_dim", None) or width // heads
    values_per_token = 2 * layers * (getattr(config, "num_key_value_heads", None) or heads) * head_width
    most = CACHE_BYTES // (values_per_token * torch.finfo(torch.float32).bits // 8)
    return max(budget, min(MAX_BUDGET_FACTOR * budget, most))


def _generate_batch(
    model: LanguageModel, requests: Sequence[GenerationRequest], choose: TokenChooser, read: TokenReader
) -> list[Continuation]:
    device = device_of(model.module)
    starts = [len(r.ids) for r in requests]
    start_B = torch.tensor(starts, device=device)
    end_B = start_B + torch.tensor([r.max_new_tokens for r in requests], device=device)
    ids_BT = torch.zeros(len(requests), int(end_B.max()), dtype=torch.long)
    for row, request in zip(ids_BT, requests, strict=True):
        row[: len(request.ids)] = torch.from_numpy(request.ids)
    ids_BT = ids_BT.to(device)
    end_ids = torch.tensor(end_tokens(model), dtype=torch.long, device=device)
    done_B = end_B <= start_B
    logits_BV = read(ids_BT[:, : min(starts)])
    for position in range(min(starts), ids_BT.shape[1]):
        is_generating_B = start_B <= position
        chosen_B = same_in_all_processes(choose(logits_BV, position - start_B), model.module)
        ids_BT[:, position] = torch.where(is_generating_B, chosen_B, ids_BT[:, position])
        done_B |= (is_generating_B & torch.isin(ids_BT[:, position], end_ids)) | (end_B <= position + 1)
        if done_B.all():
            break
        logits_BV = read(ids_BT[:, position : position + 1])
    generated = [
        row[r_from:r_to] for row, r_from, r_to in zip(ids_BT.cpu().numpy(), starts, end_B.tolist(), strict=True)
    ]
    return [_truncate_at_end_token(row, end_ids.tolist()) for row in generated]


class CachedReader:
    """Reads the tokens of a batch with one model. Its cache has these tokens and all preceding (virtual) tokens."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.cache: object = None

    def __call__(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, V) after these tokens: any number of them in the first call, one later."""
        if self.cache is None:
            with capture_hidden_states(trunk(self.module)) as hidden_states:
                output = self.module(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), use_cache=True)
            self.cache = output.past_key_values
            write_in_place(self.cache)
            return logits(self.module, hidden_states[-1][:, -1])
        with float32_logits(self.module, ids_BT.device):
            output = causal_lm(self.module)(input_ids=ids_BT, past_key_values=self.cache, use_cache=True)
        self.cache = output.past_key_values
        return output.logits[:, -1].float()


def _truncate_at_end_token(row: Int[np.ndarray, " tokens"], end_ids: Sequence[int]) -> Continuation:
    end_positions = np.flatnonzero(np.isin(row, end_ids))
    return row[: end_positions[0]] if len(end_positions) else row


def end_tokens(model: LanguageModel) -> list[int]:
    """Return the end tokens of the model's generation config and of its tokenizer; empty if unknown."""
    config = getattr(causal_lm(model.module), "generation_config", None)
    candidates = [getattr(config, "eos_token_id", None), model.tokenizer.eos_token_id]
    return sorted({int(t) for ids in candidates for t in (ids if isinstance(ids, list) else [ids]) if t is not None})
