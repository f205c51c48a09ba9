"""Scores every audited text with the target model after copies of the text in which most words are masked.

The masked copies are those of ICP-MIA: Zhexi Lu, Hongliang Chi, Nathalie Baracaldo, Swanand Ravindra Kadhe, Yuseok Jeon, Lei Yu.
In-Context Probing for Membership Inference in Fine-Tuned Language Models. NDSS, 2026. arXiv 2512.16292.

A probe is the unchanged prompt and the text, with the share `share` of its words replaced by the word "word", as in the authors'
code. Each probe masks other words. `separator` follows the probe, then the text's own prompt and the text. The scored tokens
are those of `target`. The masked words depend only on the text and its prompt, so every epoch and model reads the same probes.
A probe that does not fit the model's context beside its text loses its beginning; this never happens if `data.max_tokens` is
at most half of the context.

Departures from the authors' code:

- A word is a run of non-space characters with a letter or digit. Theirs requires a letter from a to z, so it masks nothing in
  other scripts.
- They mask int(share N) of N words, none in a text of one word, whose probe is then a full copy. Ours masks at least one.
- They put a single space between words. Ours preserves the original spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Interval

from byheart.core.types import digest
from byheart.observations import _prefix

if TYPE_CHECKING:
    from byheart.core.evidence import Variants
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = "2 * probes"
ADVERSARY = "log-probabilities of the target model"

MASK = "word"


def after_masked(
    model: Scorer,
    tokens: Tokens,
    *,
    probes: Annotated[int, Ge(1)] = 10,
    share: Annotated[float, Interval(gt=0, le=1)] = 0.7,
    separator: str = _prefix.SEPARATOR,
) -> Variants:
    """Mean log-probability (nats per token) of each audited text after each of its `probes` masked copies; higher is likelier.

    Raises `DataError` if a text fills the model's context.
    """
    return _prefix.mean_logprobs_after_probes(
        model,
        tokens,
        _masked_copies(model, tokens, probes, share),
        error_prefix="observations after_masked",
        separator=separator,
    )


def _masked_copies(model: Scorer, tokens: Tokens, count: int, share: float) -> Iterator[list[_prefix.TokenIds]]:
    """Yield a masked copy of every text, `count` times."""
    texts = tokens.texts
    generators = [
        np.random.default_rng(int(digest([(prompt, scored)]), 16))
        for prompt, scored in zip(texts.prompts, texts.scored, strict=True)
    ]
    prompts = _prefix.prompt_ids(model.model, tokens)
    for _ in range(count):
        copies = [masked(text, share, rng) for text, rng in zip(texts.scored, generators, strict=True)]
        yield [
            np.concatenate(parts)
            for parts in zip(prompts, _prefix.encode_without_special_tokens(model.model, copies), strict=True)
        ]


def masked(text: str, share: float, rng: np.random.Generator) -> str:
    """Return the text with the share of its words, at least one, replaced by "word"."""
    pieces = re.split(r"(\S+)", text)  # alternating spaces and words
    # In a text without letters or digits, punctuation marks count as words.
    words = [i for i in range(1, len(pieces), 2) if any(map(str.isalnum, pieces[i]))] or range(1, len(pieces), 2)
    for i in rng.choice(words, max(1, int(share * len(words))), replace=False):
        pieces[i] = MASK
    return "".join(pieces)
