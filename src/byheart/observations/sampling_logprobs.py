"""Computes the probability that the target model, when it samples after each text's prefix, generates the suffix.

The model reads the text itself, and every token of the suffix gets its sampling probability: after temperature, top-k and top-p,
in this order. One pass therefore replaces any number of samples (Hayes et al., arXiv 2410.19482). The adversary needs the model's
next-token distribution; an adversary who only has samples can estimate the probability by drawing many.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from byheart.core.evidence import SamplingLogProbs, SuffixSpans
from byheart.lm import sampling_probs as sampling

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "next-token probabilities of the target model, and the prefix of each text"


def sampling_logprobs(
    model: Scorer,
    tokens: Tokens,
    prefix_suffix_split: SuffixSpans,
    *,
    temperature: Annotated[float, Gt(0)] = 1.0,
    top_k: Annotated[int, Ge(1)] | None = 40,
    top_p: Annotated[float, Gt(0), Le(1)] = 1.0,
) -> SamplingLogProbs:
    """Log-probability (nats) that the target model samples each suffix token; higher is likelier, minus infinity is never sampled.

    `top_k` null keeps every token.
    """
    truncated = _truncate_to_suffix(tokens, prefix_suffix_split)
    logp = sampling.token_sampling_logprobs(model, truncated, temperature=temperature, top_k=top_k, top_p=top_p)
    return SamplingLogProbs(logp=logp, starts=truncated.scored_starts)


def _truncate_to_suffix(tokens: Tokens, prefix_suffix_split: SuffixSpans) -> Tokens:
    """Return the texts truncated at the end of their suffix, with only the suffix scored."""
    position = np.arange(len(tokens.ids)) - np.repeat(tokens.starts[:-1], tokens.lengths)
    is_included = position < np.repeat(prefix_suffix_split.end, tokens.lengths)
    starts = np.concatenate([[0], np.cumsum(prefix_suffix_split.end)])
    return dataclasses.replace(tokens, ids=tokens.ids[is_included], starts=starts, first=prefix_suffix_split.begin)
