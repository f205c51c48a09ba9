"""Read hidden states, attention weights and next-token distributions at chosen positions, for any architecture.

Positions count a text's own tokens. Virtual tokens of prompt methods come before them: rows of the hidden states, and columns of
the attention weights, in excess of the text's length. So one position is the same token in every method.

Attention weights exist only in the implementation "eager"; the model's own implementation is restored afterwards. They need
memory for the squared length of the texts of a batch, in every layer.

Shapes: B texts, T padded positions, R entries (chosen positions), S hidden states (layers + 1), D hidden size, H heads,
K attended tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from transformers.utils.generic import ModelOutput

from byheart.core.types import digest
from byheart.lm.batching import device_budget, run_batches
from byheart.lm.devices import device_of
from byheart.lm.forward import Scorer, padded_batch, scoring_mode
from byheart.lm.rope import batch_classes
from byheart.lm.sharding import sharding_kind
from byheart.lm.tokens import Tokens
from byheart.lm.trunk_and_head import causal_lm, logits, trunk


class Entries(NamedTuple):
    """Chosen positions: token `position[r]` of text `text[r]`, text by text."""

    text: Int[np.ndarray, " entries"]
    position: Int[np.ndarray, " entries"]


class EntryActivations(NamedTuple):
    """Activations of some entries, on the model's device.

    `entries` has their indices among all entries, `hidden` is (R, S, D), `logits` (R, V). `attention` has a tensor (R, H, K) for
    each layer with attention: the last `length` columns are the text's tokens with padding, those before are virtual tokens.
    """

    entries: Int[np.ndarray, " some"]
    hidden: torch.Tensor
    attention: list[torch.Tensor]
    length: int
    logits: torch.Tensor


def spaced_entries(tokens: Tokens, *, texts: int, positions: int) -> Entries:
    """Return evenly spaced positions before scored tokens, of at most `texts` texts.

    The texts are chosen by a hash of their content: neither their order nor their membership has an influence.
    """
    columns = (tokens.texts.ids, tokens.texts.prompts, tokens.texts.scored)
    hashes = [digest([row]) for row in zip(*columns, strict=True)]
    chosen = np.sort(np.argsort(hashes)[:texts])
    text: list[int] = []
    position: list[int] = []
    for i in chosen.tolist():
        first, count = int(tokens.first[i]) - 1, int(tokens.lengths[i] - tokens.first[i])
        number = min(positions, count)
        position += [first + (2 * j + 1) * count // (2 * number) for j in range(number)]
        text += [i] * number
    return Entries(np.array(text, dtype=np.int64), np.array(position, dtype=np.int64))


def entry_activations(model: Scorer, tokens: Tokens, entries: Entries) -> Iterator[EntryActivations]:
    """Yield the activations of all entries, batch by batch, from one forward pass over their texts."""
    module = model.model.module
    texts = np.unique(entries.text)
    lengths = tokens.lengths[texts]

    def run(chosen: Int[np.ndarray, " batch"]) -> EntryActivations:
        return _batch_activations(module, tokens, texts[chosen], entries)

    with _eager_attention(module), scoring_mode(module, model.precision):
        for _, activations in run_batches(
            lengths,
            device_budget(module, model.budget),
            run,
            retry=not sharding_kind(module),
            classes=batch_classes(module, lengths),
        ):
            yield activations


def _batch_activations(
    module: torch.nn.Module, tokens: Tokens, texts: Int[np.ndarray, " batch"], entries: Entries
) -> EntryActivations:
    row_of_text = {int(text): row for row, text in enumerate(texts)}
    index = np.flatnonzero(np.isin(entries.text, texts))
    device = device_of(module)
    ids_BT = padded_batch(tokens, texts)[0].to(device)
    with _capture_trunk_output(trunk(module)) as outputs:
        module(input_ids=ids_BT, output_hidden_states=True, output_attentions=True)
    length, output = ids_BT.shape[1], outputs[-1]
    row_R = torch.tensor([row_of_text[int(t)] for t in entries.text[index]], device=device)
    position_R = torch.from_numpy(entries.position[index]).to(device)

    def at_entries(states_BTX: torch.Tensor) -> torch.Tensor:
        """Return the rows of the entries; virtual tokens' rows come first."""
        return states_BTX[row_R, position_R + states_BTX.shape[1] - length]

    hidden_RSD = torch.stack([at_entries(h_BTD).float() for h_BTD in output["hidden_states"]], dim=1)
    attention = [
        at_entries(a_BHTK.transpose(1, 2)).float()
        for a_BHTK in output.get("attentions") or ()
        if isinstance(a_BHTK, torch.Tensor)
    ]
    logits_RV = logits(module, at_entries(output["last_hidden_state"]))
    return EntryActivations(index, hidden_RSD, attention, length, logits_RV)


@contextmanager
def _capture_trunk_output(body: torch.nn.Module) -> Generator[list[dict[str, Any]]]:
    """Capture the trunk's output, and give the head one row only, so that it costs almost nothing."""
    captured: list[dict[str, Any]] = []

    def capture(_module: torch.nn.Module, _inputs: object, output: ModelOutput) -> ModelOutput:
        captured.append(dict(output))
        output["last_hidden_state"] = output["last_hidden_state"][0, -1].detach()[None, None]
        return output

    hook = body.register_forward_hook(capture)
    try:
        yield captured
    finally:
        hook.remove()


@contextmanager
def _eager_attention(module: torch.nn.Module) -> Generator[None]:
    """Run the model's attention in the implementation that returns attention weights."""
    model: Any = causal_lm(module)
    before = model.config._attn_implementation  # noqa: SLF001 - transformers has no public name for it
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
