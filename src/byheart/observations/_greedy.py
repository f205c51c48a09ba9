"""Greedy continuations of prefixes, each beside the suffix that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from byheart.core.evidence import GreedyContinuation
from byheart.lm.generate import GenerationRequest, generate_greedy

if TYPE_CHECKING:
    from jaxtyping import Int

    from byheart.lm.forward import Scorer


def continue_prefixes(
    model: Scorer, prefixes: Sequence[Int[np.ndarray, " _"]], suffixes: Sequence[Int[np.ndarray, " _"]]
) -> GreedyContinuation:
    """Return the greedy continuation of each prefix, as many tokens as its suffix has, and the suffix."""
    requests = [GenerationRequest(prefix, len(suffix)) for prefix, suffix in zip(prefixes, suffixes, strict=True)]
    generated = generate_greedy(model.model, requests, budget=model.budget, precision=model.precision)
    return GreedyContinuation(
        true=np.concatenate(suffixes),
        starts=np.cumsum([0, *map(len, suffixes)]),
        written=np.concatenate(generated).astype(np.int64),
        written_starts=np.cumsum([0, *map(len, generated)]),
    )
