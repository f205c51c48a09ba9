"""Generates texts with the target model, without a prefix of an audited text, as for a synthetic data set.

Matthieu Meeus, Lukas Wutschitz, Santiago Zanella-Beguelin, Shruti Tople, Reza Shokri. The Canary's Echo: Auditing Privacy Risks of
LLM-Generated Synthetic Text. ICML, 2025. arXiv 2502.14921.

The adversary needs only texts that the model generated. An audit of generated texts (`byheart audit --generated`) reads them from a file,
and no model is needed. Here the model generates them: after BOS (EOS for a tokenizer without BOS) and `prompt`, such as the instruction
that every training text follows. Each text has its own seed, so the first texts do not depend on `count`, and every model samples with the
same seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.core.evidence import SyntheticTexts
from byheart.observations._synthetic import Count, Temperature, generated_texts

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer

PASSES = 0.0
GENERATED_TOKENS = "count * max_tokens"
ADVERSARY = "texts that the target model generated"


def synthetic_texts(
    model: Scorer,
    *,
    count: Count = 200,
    max_tokens: Count = 64,
    prompt: str = "",
    top_k: Count = 50,
    temperature: Temperature = 1.0,
) -> SyntheticTexts:
    """Texts that the target model generates from the beginning of a text, or after a fixed prompt."""
    return generated_texts(
        model, count=count, max_tokens=max_tokens, prompt=prompt, top_k=top_k, temperature=temperature
    )
