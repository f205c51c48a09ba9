"""Scores every audited text with the target model after the known non-members most similar to it, one at a time.

The probes are those of ICP-MIA: Zhexi Lu, Hongliang Chi, Nathalie Baracaldo, Swanand Ravindra Kadhe, Yuseok Jeon, Lei Yu.
In-Context Probing for Membership Inference in Fine-Tuned Language Models. NDSS, 2026. arXiv 2512.16292.

Similarity is the cosine of TF-IDF vectors of words, over prompt and text. Document frequencies come from the known texts alone,
so a text's probes do not depend on the other audited texts. A probe is the prompt and completion of a known text. `separator`
follows it, then the text's own prompt and the text. The scored tokens are those of `target`. A probe that does not fit the
model's context beside the text loses its beginning; this never happens if `data.max_tokens` is at most half of the context.

Departure from the authors' code: they compare sentence embeddings of another model (of the prompts, if there are any), and
select probes from public texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Int

from byheart.observations import _prefix

if TYPE_CHECKING:
    from byheart.core.evidence import Variants
    from byheart.core.types import Texts
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = "2 * probes"
KNOWN = "probes"
ADVERSARY = "texts of the same kind that the target model was not trained on"


def after_similar(
    model: Scorer,
    tokens: Tokens,
    known_nonmember_tokens: Tokens,
    *,
    probes: Annotated[int, Ge(1)] = 10,
    separator: str = _prefix.SEPARATOR,
) -> Variants:
    """Mean log-probability (nats per token) of each audited text after each of its `probes` most similar known non-members.

    Higher is likelier. Raises `DataError` if there are fewer known texts, or a text fills the model's context.
    """
    _prefix.check_known_count("observations after_similar", "probes", probes, known_nonmember_tokens)
    # Equally similar texts keep this order, which does not depend on how they are listed.
    order = _prefix.shuffled_order(known_nonmember_tokens, 0)
    known_ids = _prefix.shot_ids(model.model, known_nonmember_tokens)
    nearest_indices = nearest(tokens.texts, known_nonmember_tokens.texts.take(order), probes)
    probe_ids = ([known_ids[order[index]] for index in column] for column in nearest_indices.T)
    return _prefix.mean_logprobs_after_probes(
        model, tokens, probe_ids, error_prefix="observations after_similar", separator=separator
    )


def nearest(texts: Texts, known: Texts, count: int) -> Int[np.ndarray, "texts count"]:
    """Return the positions of the known texts most similar to each text, the most similar first."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # Punctuation marks count as words, so that every known text has at least one word.
    vectorizer = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)  # noqa: S106 - not a password
    known_vectors = vectorizer.fit_transform(_prompted_texts(known))
    similarity = (vectorizer.transform(_prompted_texts(texts)) @ known_vectors.T).toarray()
    return np.argsort(-similarity, axis=1, kind="stable")[:, :count]


def _prompted_texts(texts: Texts) -> list[str]:
    """Return prompt and text of each record as one string."""
    return [f"{prompt} {scored}" for prompt, scored in zip(texts.prompts, texts.scored, strict=True)]
