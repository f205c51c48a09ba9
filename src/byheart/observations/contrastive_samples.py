"""Samples texts from the contrast of the target model with its base model, without a prefix of any audited text.

Xiang Lisa Li, Ari Holtzman, Daniel Fried, Percy Liang, Jason Eisner, Tatsunori Hashimoto, Luke Zettlemoyer, Mike Lewis.
Contrastive Decoding: Open-ended Text Generation as Optimization. ACL, 2023. arXiv 2210.15097.
Sean O'Brien, Mike Lewis. Contrastive Decoding Improves Reasoning in Large Language Models. 2023. arXiv 2309.09117 (`alpha`).
Nicholas Carlini et al. Extracting Training Data from Large Language Models. USENIX Security, 2021. arXiv 2012.07805 (samples
from the start token).

    s(v) = log p(v) + alpha (log p(v) - log p_base(v))     if p(v) >= plausibility * max p, else minus infinity
    a sample: tokens drawn from softmax(s / temperature), after the start token and `opening`

The base model takes the place of the small model: what fine-tuning taught is amplified, and what both models generate is not. The
start token is the BOS that precedes every text, or EOS for a tokenizer that adds none. `opening` is a text that the adversary writes
at the beginning of each sample, such as "The" or the part of an instruction that all prompts share; it does not count as generated.
With `alpha` 0 the samples are the target model's own, and the adversary needs no base model. At epoch 0 both models are equal.

The evidence is for each audited text the longest run of its tokens in a sample, and its similarity to the nearest sample. A prompt
is no part of a text.

Both models are in memory at once. Each sample has a seed of its own number, so all models draw with the same random numbers.

Departures from the papers: samples instead of beam search; no decaying temperature and no selection of samples afterward.
Brzozowski et al. (arXiv 2605.25902) amplify the same difference after vague openings. Only the abstract of that paper was read, so
this is no implementation of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Interval

from byheart.core.errors import DataError
from byheart.core.evidence import ContrastiveSamples
from byheart.data.closest_copies import longest_common_runs, nearest_similarity
from byheart.lm.contrastive import Contrast, ReferenceModel, sample_contrastively
from byheart.lm.special_tokens import bos_ids
from byheart.observations._attributes import conditioning_ids
from byheart.observations._prefix import encode_without_special_tokens, virtual_token_count

if TYPE_CHECKING:
    from jaxtyping import Int

    from byheart.lm.forward import Scorer
    from byheart.lm.load import LanguageModel
    from byheart.lm.tokens import Tokens

PASSES = 0.0
GENERATED_TOKENS = "2 * samples * max_new_tokens"  # by two models
ADVERSARY = "next-token distributions of the target model and of the base model while a text is generated"


def contrastive_samples(  # noqa: PLR0913 - settings come in by keyword
    model: Scorer,
    reference_model: ReferenceModel,
    tokens: Tokens,
    *,
    samples: Annotated[int, Ge(1)] = 200,
    max_new_tokens: Annotated[int, Ge(1)] = 100,
    alpha: Annotated[float, Ge(0)] = 0.5,
    plausibility: Annotated[float, Interval(gt=0, le=1)] = 0.1,
    temperature: Annotated[float, Gt(0)] = 1.0,
    opening: str = "",
    seed: Annotated[int, Ge(0)] = 0,
) -> ContrastiveSamples:
    """Texts sampled from the contrast of target and base model, and how much of each audited text they contain.

    Raises `DataError` for a tokenizer without a start token, and for an opening that fills the model's context.
    """
    prefix = _prefix_ids(model.model, opening)
    context, virtual = model.model.context_length, virtual_token_count(model.model)
    if context is not None and len(prefix) + virtual >= context:
        raise DataError(
            f"observations contrastive_samples: the opening has {len(prefix)} tokens, which with {virtual} virtual tokens fills the "
            f"model's context of {context}. Write a shorter opening."
        )
    generated = sample_contrastively(
        model,
        reference_model,
        prefix,
        Contrast(alpha, plausibility),
        samples=samples,
        max_new_tokens=max_new_tokens if context is None else min(max_new_tokens, context - virtual - len(prefix)),
        temperature=temperature,
        seed=seed,
    )
    written = model.model.tokenizer.batch_decode([ids.tolist() for ids in generated], skip_special_tokens=True)
    before = [len(ids) for ids in conditioning_ids(model.model, tokens)]
    own = [
        tokens.ids[start + skipped : start + length]
        for start, skipped, length in zip(tokens.starts[:-1], before, tokens.text_lengths, strict=True)
    ]
    return ContrastiveSamples(
        written=tuple(written),
        run=longest_common_runs(own, [ids.astype(np.int64) for ids in generated]),
        length=np.array([len(ids) for ids in own], dtype=np.int64),
        similarity=nearest_similarity(tokens.texts.scored, written),
    )


def _prefix_ids(model: LanguageModel, opening: str) -> Int[np.ndarray, " ids"]:
    """Return the ids before each sample: BOS and the opening, or EOS without both; raises `DataError` without any."""
    ids = [*bos_ids(model.tokenizer), *encode_without_special_tokens(model, [opening])[0]]
    if not ids and model.tokenizer.eos_token_id is None:
        raise DataError(
            "observations contrastive_samples: the tokenizer has no BOS and no EOS to start a text with. Set opening to a word."
        )
    return np.array(ids or [model.tokenizer.eos_token_id], dtype=np.int64)
