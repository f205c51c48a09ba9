"""Neighbours by a masked language model, as in the paper: one word of the text changed, proposed from both its sides.

Justus Mattern, Fatemehsadat Mireshghallah, Zhijing Jin, Bernhard Schölkopf, Mrinmaya Sachan, Taylor Berg-Kirkpatrick.
Membership Inference Attacks against Language Models via Neighbourhood Comparison. Findings of ACL, 2023.
arXiv 2305.18462.

The word's embedding has 70 % of its numbers dropped, so that the model proposes what means nearly the same, where a
mask would let it propose whatever fits. The swap score is that of `propose.py`.

Ours departs from the authors' code in five points. It drops from the word embeddings; theirs drops from what the
embedding layer gives, positions and normalisation included, and sends that through the embedding layer again. It
changes words of letters that are one token of the masked model for other such words; theirs changes any token, pieces
of words and the end token too. It puts the new word, its first letter (or all) in upper case where the old word's is,
into the text as it stands; theirs scores the text as an uncased model spells it. What is dropped is drawn from the
text's own hash, so that neighbours do not depend on order or batch. And as many candidates a word are looked at as
there are neighbours wanted, where theirs looks at six.

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
from byheart.lm.forward import Scorer, capture_hidden_states, logits, trunk
from byheart.lm.load import LanguageModel, masked_lm_source, read_module, read_tokenizer
from byheart.lm.placement import device_of
from byheart.lm.token_swaps import ordinary_token_ids, rank_swaps, top_swaps
from byheart.lm.tokens import Tokens, bos_ids

DROPOUT = 0.7
"""Share of a word embedding's numbers that is dropped: the authors' choice."""

RESERVED_POSITIONS = 2
"""RoBERTa and its like count positions from two on, within the number of positions that their config tells."""

DEFAULT_CONTEXT = 512
"""Tokens that a model whose config tells no limit is taken to read."""


def load_masked(name: str) -> LanguageModel:
    """Return a masked language model (BERT and its like) in float32 on the CPU, in evaluation mode, with its tokenizer.

    Raises `ModelError` in one line for one that is missing, not masked, not safe to load, or whose tokenizer does not
    say where in a text a token stands.
    """
    from transformers import AutoModelForMaskedLM

    where, pinned, config = masked_lm_source(name)
    module = read_module(name, where, AutoModelForMaskedLM, config=config, **pinned)
    tokenizer = read_tokenizer(name, where, **pinned)
    if not tokenizer.is_fast:
        raise ModelError(
            f"model {name!r}: its tokenizer does not say where a token stands; put the model's tokenizer.json beside it"
        )
    return LanguageModel(module, tokenizer, name)


def word_neighbours(
    masked: LanguageModel, base: Scorer, tokens: Tokens, count: int
) -> list[list[Int[np.ndarray, " tokens"]]]:
    """Return each text's `count` neighbours by a masked model, cut into tokens by the base's tokenizer.

    The masked model reads the scored text without its prompt, in windows where it is too long for it. There are fewer
    neighbours where there are no more; a text without any has itself.
    """
    words = whole_words(masked)
    tokenizer = base.model.tokenizer
    bos = bool(bos_ids(tokenizer))
    longest = int(tokens.lengths.max())
    plain = tokenizer(list(tokens.texts.scored), add_special_tokens=False)["input_ids"]
    rows: list[list[np.ndarray]] = []
    for i, text in enumerate(tokens.texts.scored):
        own = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]].tolist()
        first = int(tokens.first[i])
        # Without BOS and prompt the first token of the text itself is the one that is not scored.
        led = bos or bool(tokenizer(tokens.texts.prompts[i], add_special_tokens=False)["input_ids"])
        lead = own[:first] if led else []
        changed = texts_with_one_word_swapped(masked, words, text, count, base.budget)
        found: dict[tuple[int, ...], None] = {}
        while len(found) < count and (strings := list(islice(changed, count))):
            for ids in tokenizer(strings, add_special_tokens=False)["input_ids"]:
                row = (lead + _restore_truncated_end(ids, plain[i], own[len(lead) :]))[:longest]
                if row != own and row[:first] == own[:first] and len(row) > first:
                    found[tuple(row)] = None
        rows.append([np.array(row, dtype=np.int64) for row in [*found][:count] or [own]])
    return rows


def _restore_truncated_end(ids: list[int], plain: list[int], own: list[int]) -> list[int]:
    """Return a neighbour's ids with the end that the text was cut to, which may be other tokens when cut into tokens anew."""
    same = next((t for t, (a, b) in enumerate(zip(plain, own, strict=False)) if a != b), min(len(plain), len(own)))
    end = plain[same:]
    if ids[len(ids) - len(end) :] != end:
        return ids
    return ids[: len(ids) - len(end)] + own[same:]


def whole_words(masked: LanguageModel) -> dict[int, str]:
    """Return the words of letters that are one token of the masked model, by the token's id."""
    ids = ordinary_token_ids(masked)
    words = [word.strip() for word in masked.tokenizer.batch_decode([[i] for i in ids])]
    # A piece of a word comes out as another token when it stands by itself.
    again = masked.tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    return {i: word for i, word, tokens in zip(ids, words, again, strict=True) if word.isalpha() and tokens == [i]}


def texts_with_one_word_swapped(
    masked: LanguageModel, words: dict[int, str], text: str, count: int, budget: int
) -> Iterator[str]:
    """Yield the text with one word changed, in every way that is among the `count` best of the word's place, best first."""
    spans: list[tuple[int, int]] = []
    columns: list[np.ndarray] = []
    for ids, offsets in _windows(masked, text):
        places = [p for p, span in enumerate(offsets) if _is_word(text, _strip_leading_space(text, span))]
        if places and words:
            spans += [_strip_leading_space(text, offsets[p]) for p in places]
            columns.append(_word_proposals(masked, [*words], ids, places, count=count, budget=budget))
    if columns:
        found = np.concatenate(columns, axis=1)
        kept = len(found) // 2
        for place, token in rank_swaps(found[:kept], found[kept:].astype(np.int64)):
            yield _replace_word(text, spans[place], words[token])


def _windows(masked: LanguageModel, text: str) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Return runs of the text's tokens that the masked model can read, each token with where it stands in the text."""
    limit = min(masked.tokenizer.model_max_length, (masked.context_length or DEFAULT_CONTEXT) - RESERVED_POSITIONS)
    found = masked.tokenizer(
        text, truncation=True, max_length=limit, return_overflowing_tokens=True, return_offsets_mapping=True
    )
    return list(zip(found["input_ids"], found["offset_mapping"], strict=True))


def _strip_leading_space(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Return a token's place without the space that some tokenizers count to it."""
    start, end = span
    return end - len(text[start:end].lstrip()), end


def _is_word(text: str, span: tuple[int, int]) -> bool:
    """Whether these characters are letters, and not a part of a longer word."""
    start, end = span
    return (
        text[start:end].isalpha()
        and not text[max(start - 1, 0) : start].isalnum()
        and not text[end : end + 1].isalnum()
    )


def _word_proposals(
    masked: LanguageModel, words: list[int], ids: list[int], places: list[int], *, count: int, budget: int
) -> np.ndarray:
    """Return (2 K, places): log swap scores and ids of the words that the masked model proposes for each place.

    One pass has the embedding of one word dropped, and only that word's row goes through the head.
    """
    module: Any = masked.module
    device = device_of(module)
    allowed = torch.tensor(words, device=device)
    chance = np.random.default_rng(int(key_of({"window": ids}), 16))
    blocks: list[torch.Tensor] = []
    with torch.no_grad():
        embedded_TD = module.get_input_embeddings()(torch.tensor(ids, device=device))
        kept_BD = chance.random((len(places), embedded_TD.shape[1]), dtype=np.float32) >= DROPOUT
        scale_BD = torch.from_numpy(kept_BD).to(embedded_TD) / (1 - DROPOUT)
        size = max(1, budget // len(ids))
        for at in range(0, len(places), size):
            place_B = torch.tensor(places[at : at + size], device=device)
            row_B = torch.arange(len(place_B), device=device)
            embedded_BTD = embedded_TD.repeat(len(place_B), 1, 1)
            embedded_BTD[row_B, place_B] *= scale_BD[at : at + size]
            everywhere_BT = torch.ones(embedded_BTD.shape[:2], dtype=torch.long, device=device)
            with capture_hidden_states(trunk(module)) as tap:
                module(inputs_embeds=embedded_BTD, attention_mask=everywhere_BT)
            true_B = torch.tensor(ids, device=device)[place_B]
            blocks.append(top_swaps(logits(module, tap[0][row_B, place_B]), true_B, allowed, count))
    return torch.cat(blocks, dim=1).cpu().numpy()


def _replace_word(text: str, span: tuple[int, int], word: str) -> str:
    """Return the text with a word put there, in the case of the word that it takes the place of."""
    start, end = span
    old = text[start:end]
    if word.islower() and old[0].isupper():
        word = word.upper() if len(old) > 1 and old.isupper() else word[0].upper() + word[1:]
    return text[:start] + word + text[end:]
