"""Neighbors by a masked language model, as in the paper: one word of the text replaced, proposed from both sides.

Justus Mattern, Fatemehsadat Mireshghallah, Zhijing Jin, Bernhard Schölkopf, Mrinmaya Sachan, Taylor Berg-Kirkpatrick.
Membership Inference Attacks against Language Models via Neighbourhood Comparison. Findings of ACL, 2023.
arXiv 2305.18462.

Dropout sets 70 % of the word's embedding to zero. The model then proposes words with nearly the same meaning; with a
mask token it would propose any word that fits. `token_swaps.py` defines the swap score.

Five differences from the authors' code:

- Dropout applies to the word embeddings. The authors apply it to the embedding layer's output, with positions and
  normalization, and pass the result through the embedding layer again.
- Only alphabetic words that are one token of the masked model are replaced, by other such words. The authors replace any
  token, including word pieces and the end token.
- The new word takes the old word's capitalization in the original text. The authors score the text in the spelling of
  an uncased model.
- The dropout mask is seeded with the window's hash, so neighbors do not depend on order or batch.
- The number of candidates per word is the number of requested neighbors. The authors use six.

Shapes: B positions, T tokens of a window of the text, D embedding size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from byheart.core.errors import ModelError
from byheart.core.registry import key_of
from byheart.lm.devices import device_of
from byheart.lm.forward import Scorer
from byheart.lm.load import LanguageModel, masked_lm_source, read_module, read_tokenizer
from byheart.lm.special_tokens import bos_ids
from byheart.lm.token_swaps import ordinary_token_ids, rank_swaps, top_swaps
from byheart.lm.tokens import Tokens
from byheart.lm.trunk_and_head import capture_hidden_states, logits, trunk

DROPOUT = 0.7
"""Dropout rate of a word's embedding: the authors' value."""

RESERVED_POSITIONS = 2
"""RoBERTa-like models number positions from 2, so two of the positions in their config are unused."""

DEFAULT_CONTEXT = 512
"""Context length (tokens) of a model without a limit in its config."""


def load_masked(name: str) -> LanguageModel:
    """Return a masked language model (such as BERT) with its tokenizer, in float32 on the CPU, in evaluation mode.

    Raises `ModelError` for a model that is missing, not masked or not safe to load, and for a tokenizer without character
    offsets.
    """
    from transformers import AutoModelForMaskedLM

    location, pinned, config = masked_lm_source(name)
    module = read_module(name, location, AutoModelForMaskedLM, config=config, **pinned)
    tokenizer = read_tokenizer(name, location, **pinned)
    if not tokenizer.is_fast:
        raise ModelError(
            f"model {name!r}: the tokenizer returns no character offsets. "
            "Add the model's tokenizer.json (a fast tokenizer) to its folder."
        )
    return LanguageModel(module, tokenizer, name)


def word_neighbours(
    masked: LanguageModel, base: Scorer, tokens: Tokens, count: int
) -> list[list[Int[np.ndarray, " tokens"]]]:
    """Return each text's `count` neighbors by a masked model, as token ids of the base model's tokenizer.

    The masked model reads the scored text without its prompt, split into windows if it exceeds the context length. A text
    can have fewer than `count` neighbors. A text without neighbors is its own neighbor.
    """
    words = whole_words(masked)
    tokenizer = base.model.tokenizer
    bos = bool(bos_ids(tokenizer))
    max_length = int(tokens.lengths.max())
    plain = tokenizer(list(tokens.texts.scored), add_special_tokens=False)["input_ids"]
    rows: list[list[np.ndarray]] = []
    for i, text in enumerate(tokens.texts.scored):
        text_ids = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]].tolist()
        first = int(tokens.first[i])
        # Without BOS and prompt, the unscored first token belongs to the text.
        has_lead = bos or bool(tokenizer(tokens.texts.prompts[i], add_special_tokens=False)["input_ids"])
        lead = text_ids[:first] if has_lead else []
        candidates = texts_with_one_word_swapped(masked, words, text, count, base.budget)
        neighbours: dict[tuple[int, ...], None] = {}
        while len(neighbours) < count and (strings := list(islice(candidates, count))):
            for ids in tokenizer(strings, add_special_tokens=False)["input_ids"]:
                row = (lead + _restore_truncated_end(ids, plain[i], text_ids[len(lead) :]))[:max_length]
                if row != text_ids and row[:first] == text_ids[:first] and len(row) > first:
                    neighbours[tuple(row)] = None
        rows.append([np.array(row, dtype=np.int64) for row in [*neighbours][:count] or [text_ids]])
    return rows


def _restore_truncated_end(ids: list[int], plain: list[int], text_ids: list[int]) -> list[int]:
    """Return a neighbor's ids with the truncated text's original last tokens, which re-tokenization can change."""
    common = next(
        (t for t, (a, b) in enumerate(zip(plain, text_ids, strict=False)) if a != b), min(len(plain), len(text_ids))
    )
    end = plain[common:]
    if ids[len(ids) - len(end) :] != end:
        return ids
    return ids[: len(ids) - len(end)] + text_ids[common:]


def whole_words(masked: LanguageModel) -> dict[int, str]:
    """Return the alphabetic words that are one token of the masked model, by token id."""
    ids = ordinary_token_ids(masked)
    words = [word.strip() for word in masked.tokenizer.batch_decode([[i] for i in ids])]
    # A word piece has another token id when tokenized alone.
    retokenized = masked.tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    return {
        i: word for i, word, tokens in zip(ids, words, retokenized, strict=True) if word.isalpha() and tokens == [i]
    }


def texts_with_one_word_swapped(
    masked: LanguageModel, words: dict[int, str], text: str, count: int, budget: int
) -> Iterator[str]:
    """Yield the text with one word replaced, by descending swap score, with up to `count` replacements per word."""
    spans: list[tuple[int, int]] = []
    columns: list[np.ndarray] = []
    for ids, offsets in _windows(masked, text):
        places = [p for p, span in enumerate(offsets) if _is_word(text, _strip_leading_space(text, span))]
        if places and words:
            spans += [_strip_leading_space(text, offsets[p]) for p in places]
            columns.append(_word_proposals(masked, [*words], ids, places, count=count, budget=budget))
    if columns:
        proposals = np.concatenate(columns, axis=1)
        proposal_count = len(proposals) // 2
        for word, token in rank_swaps(proposals[:proposal_count], proposals[proposal_count:].astype(np.int64)):
            yield _replace_word(text, spans[word], words[token])


def _windows(masked: LanguageModel, text: str) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Return windows of the text within the masked model's context: token ids with their character offsets."""
    limit = min(masked.tokenizer.model_max_length, (masked.context_length or DEFAULT_CONTEXT) - RESERVED_POSITIONS)
    encoded = masked.tokenizer(
        text, truncation=True, max_length=limit, return_overflowing_tokens=True, return_offsets_mapping=True
    )
    return list(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True))


def _strip_leading_space(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Return a token's character span without the leading space that some tokenizers include."""
    start, end = span
    return end - len(text[start:end].lstrip()), end


def _is_word(text: str, span: tuple[int, int]) -> bool:
    """Whether the span is a complete alphabetic word."""
    start, end = span
    return (
        text[start:end].isalpha()
        and not text[max(start - 1, 0) : start].isalnum()
        and not text[end : end + 1].isalnum()
    )


def _word_proposals(
    masked: LanguageModel, words: list[int], ids: list[int], places: list[int], *, count: int, budget: int
) -> np.ndarray:
    """Return (2 K, places): log swap scores and ids of the proposed words at each token position.

    Each row of a batch drops out the embedding of one word. Only that word's hidden state goes through the head.
    """
    module: Any = masked.module
    device = device_of(module)
    allowed = torch.tensor(words, device=device)
    rng = np.random.default_rng(int(key_of({"window": ids}), 16))
    blocks: list[torch.Tensor] = []
    with torch.no_grad():
        embedded_TD = module.get_input_embeddings()(torch.tensor(ids, device=device))
        kept_BD = rng.random((len(places), embedded_TD.shape[1]), dtype=np.float32) >= DROPOUT
        scale_BD = torch.from_numpy(kept_BD).to(embedded_TD) / (1 - DROPOUT)
        size = max(1, budget // len(ids))
        for start in range(0, len(places), size):
            place_B = torch.tensor(places[start : start + size], device=device)
            row_B = torch.arange(len(place_B), device=device)
            embedded_BTD = embedded_TD.repeat(len(place_B), 1, 1)
            embedded_BTD[row_B, place_B] *= scale_BD[start : start + size]
            mask_BT = torch.ones(embedded_BTD.shape[:2], dtype=torch.long, device=device)
            with capture_hidden_states(trunk(module)) as hidden_states:
                module(inputs_embeds=embedded_BTD, attention_mask=mask_BT)
            true_B = torch.tensor(ids, device=device)[place_B]
            blocks.append(top_swaps(logits(module, hidden_states[0][row_B, place_B]), true_B, allowed, count))
    return torch.cat(blocks, dim=1).cpu().numpy()


def _replace_word(text: str, span: tuple[int, int], word: str) -> str:
    """Return the text with the word in `span` replaced, in the capitalization of the old word."""
    start, end = span
    old = text[start:end]
    if word.islower() and old[0].isupper():
        word = word.upper() if len(old) > 1 and old.isupper() else word[0].upper() + word[1:]
    return text[:start] + word + text[end:]
