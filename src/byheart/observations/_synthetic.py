"""Code shared by observations that generate texts without a prefix of an audited text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from byheart.core.errors import DataError
from byheart.core.evidence import SyntheticTexts
from byheart.lm.generate import GenerationRequest, generate_samples
from byheart.lm.special_tokens import bos_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from byheart.lm.forward import Scorer

SEED = 0
Count = Annotated[int, Ge(1)]
Temperature = Annotated[float, Gt(0)]


def generated_texts(
    model: Scorer, *, count: int, max_tokens: int, prompt: str, top_k: int, temperature: float
) -> SyntheticTexts:
    """Return `count` texts of at most `max_tokens` tokens that a model generates after BOS and `prompt`."""
    request = GenerationRequest(np.array(_start_ids(model.model.tokenizer, prompt), dtype=np.int64), max_tokens)
    (generated,) = generate_samples(
        model.model,
        [request],
        [SEED],
        samples=count,
        top_k=top_k,
        temperature=temperature,
        budget=model.budget,
        precision=model.precision,
    )
    decode = model.model.tokenizer.batch_decode
    return SyntheticTexts(generated=tuple(decode([ids.tolist() for ids in generated], skip_special_tokens=True)))


def _start_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Return the tokens before a generated text: BOS and prompt; EOS, which separates documents, without these."""
    ids: list[int] = [*bos_ids(tokenizer), *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    eos: Any = tokenizer.eos_token_id
    if not ids and eos is None:
        raise DataError(
            "observations synthetic_texts: the tokenizer has neither BOS nor EOS to begin a text with. Set prompt."
        )
    return ids or [int(eos)]
