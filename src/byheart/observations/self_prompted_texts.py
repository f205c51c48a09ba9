"""Generates texts with the target model after the first tokens of known non-members: the training texts of a reference model.

Wenjie Fu, Huandong Wang, Chen Gao, Guanghua Liu, Yong Li, Tao Jiang. Membership Inference Attacks against Fine-tuned
Large Language Models via Self-prompt Calibration. NeurIPS, 2024. arXiv 2311.06062.

The target continues the first `prompt_tokens` tokens of texts of the same kind that it was not trained on (`data.known`), and at
least their prompts, if the data have prompts. A generated text is at most as long as its known non-member, and shorter if the model
stops. It includes the tokens that it continues, as in the authors' code, which prompts with 16 tokens and samples from the 50
likeliest tokens. The adversary knows no member, and no audited text is a prompt.

Departure: each prompt has `samples` texts, in place of one text for each of 10,000 prompts.

A text that the model ends early has its end token only where the target was trained on one (`data.end_token`), or where it is the
only token of the text. Each text has its own seed, from its known non-member, and every model samples with the same seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt

from byheart.core.evidence import PromptedTexts
from byheart.core.registry import key_of
from byheart.lm.generate import GenerationRequest, end_tokens, generate_samples

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = "samples"
ADVERSARY = "texts that the target model generates after the first tokens of texts of the same kind"


def self_prompted_texts(
    model: Scorer,
    known_nonmember_tokens: Tokens,
    *,
    samples: Annotated[int, Ge(1)] = 4,
    prompt_tokens: Annotated[int, Ge(0)] = 16,
    top_k: Annotated[int, Ge(1)] = 50,
    temperature: Annotated[float, Gt(0)] = 1.0,
) -> PromptedTexts:
    """Tokens of the texts by which the target model continues the first tokens of each known non-member."""
    known = known_nonmember_tokens
    own = [known.ids[start:][:length] for start, length in zip(known.starts[:-1], known.text_lengths, strict=True)]
    begins = [max(int(first), min(prompt_tokens, len(ids) - 1)) for ids, first in zip(own, known.first, strict=True)]
    names = zip(known.texts.ids, known.texts.prompts, known.texts.scored, strict=True)
    generated = generate_samples(
        model.model,
        [GenerationRequest(ids[:begin], len(ids) - begin) for ids, begin in zip(own, begins, strict=True)],
        [int(key_of({"text": name}), 16) for name in names],
        samples=samples,
        top_k=top_k,
        temperature=temperature,
        budget=model.budget,
        precision=model.precision,
    )
    texts = [
        np.concatenate([ids[:begin], continuation, _end(model, known, i, begin + len(continuation))])
        for i, (ids, begin) in enumerate(zip(own, begins, strict=True))
        for continuation in generated[i]
    ]
    return PromptedTexts(
        ids=np.concatenate(texts).astype(np.int64),
        starts=np.concatenate([[0], np.cumsum([len(ids) for ids in texts])]),
        first=np.repeat(known.first, samples),
    )


def _end(model: Scorer, known: Tokens, i: int, length: int) -> list[int]:
    """Return the end token of a text of this length that continues known non-member `i`; [] for a text without one."""
    if length == known.text_lengths[i] or (known.ended is None and length > known.first[i]):
        return []
    is_own = known.ended is not None and known.ended[i]
    return [int(known.ids[known.starts[i + 1] - 1]) if is_own else end_tokens(model.model)[0]]
