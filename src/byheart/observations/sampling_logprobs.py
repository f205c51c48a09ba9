"""How likely the model under attack, sampling, is to go on from each text's beginning as the text does.

The model reads the text itself, and every token of the suffix gets the probability with which it would be drawn there:
after temperature, top-k and top-p, in this order. So one pass says what any number of samples would (Hayes et al., arXiv
2410.19482). Whoever uses it needs the model's next-token distribution; who has only samples from it can have
the same by drawing many.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from byheart.core.evidence import Chances, Suffixes
from byheart.lm import sampling_probs as sampling

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "next-token probabilities of the model under attack, and the beginning of each text"


def sampling_logprobs(
    model: Scorer,
    tokens: Tokens,
    prefix_suffix_split: Suffixes,
    *,
    temperature: Annotated[float, Gt(0)] = 1.0,
    top_k: Annotated[int, Ge(1)] | None = 40,
    top_p: Annotated[float, Gt(0), Le(1)] = 1.0,
) -> Chances:
    """Log-probability (nats) of each suffix token where the model that is attacked samples; `top_k` null keeps every token."""
    parted = _truncate_to_suffix(tokens, prefix_suffix_split)
    logp = sampling.token_sampling_logprobs(model, parted, temperature=temperature, top_k=top_k, top_p=top_p)
    return Chances(logp=logp, starts=parted.scored_starts)


def _truncate_to_suffix(tokens: Tokens, prefix_suffix_split: Suffixes) -> Tokens:
    """Return the texts without what follows their prefix_suffix_split, the prefix_suffix_split alone being scored."""
    place = np.arange(len(tokens.ids)) - np.repeat(tokens.starts[:-1], tokens.lengths)
    kept = place < np.repeat(prefix_suffix_split.end, tokens.lengths)
    starts = np.concatenate([[0], np.cumsum(prefix_suffix_split.end)])
    return dataclasses.replace(tokens, ids=tokens.ids[kept], starts=starts, first=prefix_suffix_split.begin)
