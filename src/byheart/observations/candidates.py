"""Generates copies of the audited texts in which one private attribute is replaced by another value of its kind.

Nils Lukas, Ahmed Salem, Robert Sim, Shruti Tople, Lukas Wutschitz, Santiago Zanella-Béguelin. Analyzing Leakage of
Personally Identifiable Information in Language Models. IEEE Symposium on Security and Privacy, 2023. arXiv 2302.00539.

    C = {the true value}, up to `count` - 1 values of the validation texts, and up to 2 (`count` - 1) values of other audited texts;
    a reading of the text for each of them

C is the set of candidate values of one attribute. A value is replaced wherever it occurs in the scored text as whole words, and
inside longer words only if it never occurs as whole words. Each reading is tokenized anew, after the text's own BOS and prompt.
Attributes that were truncated with the end of a long text, and attributes that are the whole text without anything before it,
are left out and counted. The other values depend only on the text and the value. This uses the base model's tokenizer, but no
model.

The audited texts are members and non-members, in any order: no reading shows which values the model was trained on. The metric
`attribute_inference`, which knows it, forms one pool of the values that occurred in training and one of all other values, with
up to `count` - 1 values each.

Departure from the paper: its candidates come from the training data only. Ours come from validation texts and audited texts of the
same source, so that candidates that the model was trained on can be compared with candidates that it was not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from byheart.data.private_attributes import check_has_candidates
from byheart.observations import _attributes
from byheart.observations._candidates import candidate_readings

if TYPE_CHECKING:
    from byheart.core.evidence import Candidates
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

REVISION = 1  # values of other audited texts too
PASSES = 0.0
ADVERSARY = "a text without one private attribute, and candidate values for it"


def candidates(
    base_model: Scorer,
    tokens: Tokens,
    attributes: Sequence[Mapping[str, str]],
    validation_attributes: Sequence[Mapping[str, str]],
    *,
    count: Annotated[int, Ge(2)] = 10,
) -> Candidates:
    """Token ids of each audited text with the true value, and with other values, of each private attribute.

    `count` is the largest number of candidates of a pool, with the true value.

    Raises `DataError` for an attribute if the validation texts have no other value of its kind.
    """
    check_has_candidates(attributes, validation_attributes, "observations candidates")
    passages = _attributes.scored_passages(base_model.model, tokens)
    return candidate_readings(base_model.model, tokens, passages, attributes, validation_attributes, count=count)
