"""Tokens of a cell's texts: tokenized once for a base model, stored, and checked against the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from byheart.core.errors import DataError
from byheart.core.registry import key_of
from byheart.core.types import Texts
from byheart.store.result_files import read_arrays, read_json, write_arrays
from byheart.store.store import Store
from byheart.study.planned_cell import PlannedCell

if TYPE_CHECKING:
    from byheart.lm.load import LanguageModel
    from byheart.lm.tokens import Tokens


def check_tokens(planned: PlannedCell, model: LanguageModel, tokens: Mapping[str, Tokens]) -> None:
    """Raise an error for texts that the model cannot read, before observing or training."""
    from byheart.lm.model_tokens import check_vocabulary

    for part_tokens in tokens.values():
        check_vocabulary(model, part_tokens)
    if "canaries" in tokens:
        _check_canaries_not_truncated(planned, tokens["canaries"])
    virtual = int(planned.cell.method.recipe["settings"].get("virtual_tokens", 0))
    longest = max(int(t.lengths.max()) for t in tokens.values())
    if model.context_length is not None and longest + virtual > model.context_length:
        raise DataError(
            f"model {model.name!r}: the longest text has {longest} tokens and the method adds {virtual} virtual tokens, more "
            f"than the model's context of {model.context_length}. Set data.max_tokens to {model.context_length - virtual} or fewer."
        )


def _check_canaries_not_truncated(planned: PlannedCell, canaries: Tokens) -> None:
    """Raise `DataError` for truncated canaries, because exposure is undefined for a truncated canary."""
    full = planned.texts["canaries"].scored
    cut = [i for i, read, text in zip(canaries.texts.ids, canaries.texts.scored, full, strict=True) if read != text]
    if cut:
        raise DataError(
            f"data.canaries: {len(cut)} of {len(full)} canaries (first: {cut[0]!r}) are truncated at data.max_tokens = "
            f"{planned.cell.data.max_tokens}. Set a larger value, or remove the kinds of long canaries."
        )


def stored_tokens(planned: PlannedCell, part: str, model: LanguageModel, store: Store) -> Tokens:
    """Return the tokens of one part of the texts; they are computed once for a base model and stored."""
    from byheart.lm.tokens import Tokens, tokenize

    texts = planned.texts[part]
    recipe = planned.tokens_recipe(part)

    def make(folder: Path) -> None:
        data = planned.cell.data
        tokens = tokenize(model.tokenizer, texts, data.max_tokens, token_format=data.token_format)
        arrays = {"ids": tokens.ids, "starts": tokens.starts, "first": tokens.first, "cut": tokens.cut}
        write_arrays(folder, arrays | ({} if tokens.ended is None else {"ended": tokens.ended}))
        truncated = {
            i: read
            for i, (read, full) in enumerate(zip(tokens.texts.scored, texts.scored, strict=True))
            if read != full
        }
        (folder / "cut.json").write_text(json.dumps(truncated))
        if any(texts.chats):
            (folder / "prompts.json").write_text(json.dumps(tokens.texts.prompts))

    folder = store.get_or_make("tokens", key_of(recipe), recipe, make)
    return Tokens(**read_arrays(folder), texts=scored_texts(texts, folder))


def scored_texts(texts: Texts, folder: Path) -> Texts:
    """Return the texts that the model scores: truncated as in the folder of tokens, chats in the model's template."""
    truncated: dict[str, str] = read_json(folder / "cut.json")
    has_chats = any(texts.chats)
    if not truncated and not has_chats:
        return texts
    prompts = tuple(read_json(folder / "prompts.json")) if has_chats else texts.prompts
    return Texts(texts.ids, tuple(truncated.get(str(i), s) for i, s in enumerate(texts.scored)), prompts)
