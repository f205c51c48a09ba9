"""The model under attack reads every audited text after copies of it most of whose words are masked.

A probe is the prompt as it is and the text with the share `share` of its words, drawn for each probe, replaced by the
word "word", as in the authors' code for ICP-MIA (Zhexi Lu, Hongliang Chi, Nathalie Baracaldo, Swanand Ravindra Kadhe,
Yuseok Jeon, Lei Yu. NDSS, 2026. arXiv 2512.16292). `separator` stands after it, then come the text's own prompt and the
text, whose scored tokens are those of `target`.

A word is what stands between spaces and holds a letter or digit; theirs asks for one of a to z, and so masks nothing of
a text in another script. They mask int(share N) of N words, none in a text of one, which then follows a full copy of
itself; ours masks one at least. They put a single space between words; ours keeps what is there.

What is drawn depends on the text and its prompt alone, so that every epoch and model reads the same probes. A probe
that does not fit the model's context beside its text loses its beginning: nothing is cut where `data.max_tokens` is at
most half of the context.
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
ADVERSARY = "log-probabilities of the model under attack"

MASK = "word"


def after_masked(
    model: Scorer,
    tokens: Tokens,
    *,
    probes: Annotated[int, Ge(1)] = 10,
    share: Annotated[float, Interval(gt=0, le=1)] = 0.7,
    separator: str = _prefix.SEPARATOR,
) -> Variants:
    """Mean log-probability (nats per token) of each audited text after each of its `probes` masked copies.

    Raises `DataError` where a text fills the model's context.
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
    chances = [
        np.random.default_rng(int(digest([(prompt, scored)]), 16))
        for prompt, scored in zip(texts.prompts, texts.scored, strict=True)
    ]
    prompts = _prefix.prompt_ids(model.model, tokens)
    for _ in range(count):
        copies = [masked(text, share, chance) for text, chance in zip(texts.scored, chances, strict=True)]
        yield [
            np.concatenate(p)
            for p in zip(prompts, _prefix.encode_without_special_tokens(model.model, copies), strict=True)
        ]


def masked(text: str, share: float, chance: np.random.Generator) -> str:
    """Return the text with the share of its words, one at least, replaced by "word"."""
    pieces = re.split(r"(\S+)", text)  # spaces and words in turn
    # Where nothing holds a letter or digit, marks are words too.
    words = [i for i in range(1, len(pieces), 2) if any(map(str.isalnum, pieces[i]))] or range(1, len(pieces), 2)
    for i in chance.choice(words, max(1, int(share * len(words))), replace=False):
        pieces[i] = MASK
    return "".join(pieces)
