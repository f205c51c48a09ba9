"""Generate texts of tokens that a model finds unlikely: each token is a uniform draw from the least likely words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int

from byheart.core.errors import ModelError
from byheart.lm.devices import device_of
from byheart.lm.generate import Continuation, GenerationRequest, TokenChooser, generate
from byheart.lm.load import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MIN_WORD_TOKENS = 100
"""Minimum number of tokens that are whole words; of a smaller vocabulary, all tokens with visible characters are used."""
WORD_TOKEN = re.compile(r"[Ġ▁ ][^\W\d_]{2,}")
"""A token of letters that begins a word, in the spellings of byte-level and SentencePiece vocabularies."""


def word_tokens(tokenizer: PreTrainedTokenizerBase) -> Int[np.ndarray, " words"]:
    """Return the ids of tokens that are a whole word. Raises `ModelError` for a vocabulary without two visible tokens."""
    special = set(tokenizer.all_special_ids)
    ids = [i for i in range(len(tokenizer)) if i not in special]
    names = tokenizer.convert_ids_to_tokens(ids)
    words = [i for i, name in zip(ids, names, strict=True) if WORD_TOKEN.fullmatch(str(name))]
    if len(words) < MIN_WORD_TOKENS:
        words = [i for i in ids if (text := str(tokenizer.decode([i]))).strip() and "\ufffd" not in text]
    if len(words) < 2:  # noqa: PLR2004 - one token is no choice
        raise ModelError("tokenizer: its vocabulary has no words for high_perplexity canaries. Leave out this kind.")
    return np.array(words, dtype=np.int64)


def generate_unlikely(
    model: LanguageModel,
    requests: Sequence[GenerationRequest],
    seeds: Sequence[int],
    *,
    words: Int[np.ndarray, " words"],
    choices: int,
    budget: int = 4096,
    precision: torch.dtype = torch.float32,
) -> list[Continuation]:
    """Return a continuation of each prefix: every token is drawn uniformly from the `choices` least likely of `words`.

    A continuation depends on its prefix and its seed only, up to rounding.
    """
    device = device_of(model.module)
    words_W = torch.from_numpy(words).to(device)
    length = max((request.max_new_tokens for request in requests), default=1)

    def make_chooser(chosen: Int[np.ndarray, " batch"]) -> TokenChooser:
        places = [np.random.default_rng(seeds[i]).integers(choices, size=length) for i in chosen.tolist()]
        places_BT = torch.from_numpy(np.stack(places)).to(device)

        def choose(logits_BV: torch.Tensor, step_B: torch.Tensor) -> torch.Tensor:
            place_B1 = places_BT.gather(1, step_B.clamp(0, length - 1)[:, None])
            least_BK = logits_BV[:, words_W].topk(choices, largest=False).indices
            return words_W[least_BK.gather(1, place_B1)[:, 0]]

        return choose

    return generate(model, requests, make_chooser, budget, precision)
