"""Generates texts with the base model, to compare with: once for all methods, seeds and epochs.

Give it the same settings as `synthetic_texts`. In an audit of generated texts, `--reference` names a file in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.core.evidence import SyntheticTexts
from byheart.observations._synthetic import Count, Temperature, generated_texts

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer

PASSES = 0.0
GENERATED_TOKENS = "count * max_tokens"
ADVERSARY = "texts that the base model generated"


def synthetic_texts_base(
    base_model: Scorer,
    *,
    count: Count = 200,
    max_tokens: Count = 64,
    prompt: str = "",
    top_k: Count = 50,
    temperature: Temperature = 1.0,
) -> SyntheticTexts:
    """Texts that the base model generates from the beginning of a text, or after a fixed prompt."""
    return generated_texts(
        base_model, count=count, max_tokens=max_tokens, prompt=prompt, top_k=top_k, temperature=temperature
    )
