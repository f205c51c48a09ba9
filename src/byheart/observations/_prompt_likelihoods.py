"""Log-likelihoods of prompts with a replaced private value, and of their completions, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byheart.core.evidence import Candidates, PromptLikelihoods
from byheart.lm.special_tokens import bos_ids
from byheart.observations import _attributes, _neighbours

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer


def prompt_likelihoods(model: Scorer, prompt_candidates: Candidates) -> PromptLikelihoods:
    """Return the log-likelihoods of each reading's prompt and completion.

    Without BOS, the first token of a prompt has no preceding token and counts as certain. Raises `DataError` for a reading longer
    than the model's context.
    """
    _attributes.check_readings_fit(model, prompt_candidates)
    lengths = np.diff(prompt_candidates.offsets)
    begin = np.full(len(lengths), max(len(bos_ids(model.model.tokenizer)), 1))
    blocks = _neighbours.scored_blocks(model, prompt_candidates.ids, prompt_candidates.offsets, begin)
    logp = np.concatenate([stats.logp for stats in blocks]).astype(np.float64)
    reading = np.repeat(np.arange(len(lengths)), lengths - begin)
    position = np.concatenate([np.arange(b, n) for b, n in zip(begin, lengths, strict=True)])
    is_prompt = position < prompt_candidates.first[reading]
    prompt, completion = (
        np.bincount(reading[part], logp[part], minlength=len(lengths)) for part in (is_prompt, ~is_prompt)
    )
    return PromptLikelihoods(prompt=prompt, completion=completion)
