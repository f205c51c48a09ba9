"""The model under attack goes on from the first half of every audited text, several times over.

Whoever uses it needs no numbers from the model, only what it writes. The halves are of the scored tokens; a prompt
conditions the model as in training and is no part of either half. Of an odd number of tokens the second half has one
more, and a text of a single scored token has all of it in the second. A continuation has at most as many tokens as the
second half, fewer where the model ends by itself.

Every text draws from chances of its own, seeded by its id and content: what is written does not depend on the other
texts or their order, and every model is asked with the same chances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt

from byheart.core.evidence import Generations
from byheart.core.registry import key_of
from byheart.lm.generate import GenerationRequest, generate_samples

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = "samples"
ADVERSARY = "what the model under attack writes"


def continuations(
    model: Scorer,
    tokens: Tokens,
    *,
    samples: Annotated[int, Ge(1)] = 10,
    top_k: Annotated[int, Ge(1)] = 50,
    temperature: Annotated[float, Gt(0)] = 1.0,
) -> Generations:
    """What the model that is attacked writes after the first half of each audited text, and the text's own second half."""
    openings, rests, seeds = [], [], []
    for i, half in enumerate(tokens.first + (tokens.lengths - tokens.first) // 2):
        own = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]
        openings.append(GenerationRequest(own[:half], len(own) - half))
        rests.append(own[half:].tolist())
        content = {n: getattr(tokens.texts, n)[i] for n in ("ids", "prompts", "scored")}
        seeds.append(int(key_of(content), 16))
    written = generate_samples(
        model.model,
        openings,
        seeds,
        samples=samples,
        top_k=top_k,
        temperature=temperature,
        budget=model.budget,
        precision=model.precision,
    )
    decode = model.model.tokenizer.batch_decode
    return Generations(
        written=tuple(decode([w.tolist() for several in written for w in several], skip_special_tokens=True)),
        rest=tuple(decode(rests, skip_special_tokens=True)),
        starts=samples * np.arange(len(tokens) + 1),
    )
