"""Type of evidence for task utility: completions of prompts, beside the true ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, kw_only=True)
class Completions:
    """A generated completion of each prompt, and the true completions of all texts with this prompt.

    Prompt i is that of text `text[i]`, the first with this prompt. `written[i]` was generated; the true completions are
    `references[starts[i]:starts[i+1]]`, at least one.
    """

    text: Int[np.ndarray, " prompts"]
    written: tuple[str, ...]
    references: tuple[str, ...]
    starts: Int[np.ndarray, " prompts_plus_one"]
