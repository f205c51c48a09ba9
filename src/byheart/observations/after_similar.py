"""The model under attack reads every audited text after the known non-members that are most like it, one at a time.

Likeness is the cosine of TF-IDF vectors of words, over prompt and text, how rare a word is being counted in the known
texts alone: what a text is read after does not depend on which others are audited. The authors of ICP-MIA (Zhexi Lu,
Hongliang Chi, Nathalie Baracaldo, Swanand Ravindra Kadhe, Yuseok Jeon, Lei Yu. NDSS, 2026. arXiv 2512.16292) compare
sentence embeddings of another model, where there is a prompt those of the prompt, among public texts.

A probe is prompt and completion of a known text; `separator` stands after it, then come the text's own prompt and the
text, whose scored tokens are those of `target`. A probe that does not fit the model's context beside the text loses its
beginning: nothing is cut where `data.max_tokens` is at most half of the context.
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
ADVERSARY = "texts of the same kind that were not trained on"


def after_similar(
    model: Scorer,
    tokens: Tokens,
    known_nonmember_tokens: Tokens,
    *,
    probes: Annotated[int, Ge(1)] = 10,
    separator: str = _prefix.SEPARATOR,
) -> Variants:
    """Mean log-probability (nats per token) of each audited text after each of the `probes` known texts most like it.

    Raises `DataError` where there are fewer known texts, and where a text fills the model's context.
    """
    _prefix.check_known_count("observations after_similar", "probes", probes, known_nonmember_tokens)
    # Equally like ones keep this order, which does not depend on how they are listed.
    order = _prefix.shuffled_order(known_nonmember_tokens, 0)
    bare = _prefix.ids_without_bos(model.model, known_nonmember_tokens)
    chosen = nearest(tokens.texts, known_nonmember_tokens.texts.take(order), probes)
    found = ([bare[order[k]] for k in column] for column in chosen.T)
    return _prefix.mean_logprobs_after_probes(
        model, tokens, found, error_prefix="observations after_similar", separator=separator
    )


def nearest(texts: Texts, known: Texts, count: int) -> Int[np.ndarray, "texts count"]:
    """Return the positions of the known texts that are most like each text, the most alike first."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # Marks count as words, so that no known text is without one.
    rarity = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)  # noqa: S106 - no password
    theirs = rarity.fit_transform(_prompted_texts(known))
    likeness = (rarity.transform(_prompted_texts(texts)) @ theirs.T).toarray()
    return np.argsort(-likeness, axis=1, kind="stable")[:, :count]


def _prompted_texts(texts: Texts) -> list[str]:
    return [f"{prompt} {scored}" for prompt, scored in zip(texts.prompts, texts.scored, strict=True)]
