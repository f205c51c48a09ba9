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

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from byheart.core.evidence import Candidates
from byheart.data.private_attributes import attribute_kinds, check_has_candidates, other_values, values_of_kind
from byheart.observations import _attributes, _prefix

if TYPE_CHECKING:
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
    model, kinds = base_model.model, attribute_kinds(attributes)
    pools = {kind: (values_of_kind(validation_attributes, kind), values_of_kind(attributes, kind)) for kind in kinds}
    value_counts = Counter(
        item for attribute_values in (*attributes, *validation_attributes) for item in attribute_values.items()
    )
    conditioning = _attributes.conditioning_ids(model, tokens)
    left_out = np.zeros(len(kinds), dtype=np.int64)
    occurrences: list[_attributes.AttributeOccurrence] = []
    strings: list[str] = []
    reading_values: list[str] = []
    candidate_counts: list[int] = []
    sizes: list[int] = []
    for occurrence in _attributes.attribute_occurrences(tokens, attributes):
        text = tokens.texts.scored[occurrence.text_index]
        if not occurrence.is_in_text or (
            not len(conditioning[occurrence.text_index]) and text.strip() == occurrence.value
        ):
            left_out[kinds.index(occurrence.kind)] += 1
            continue
        prompted_text = tokens.texts.prompts[occurrence.text_index] + text
        others = other_values(
            *pools[occurrence.kind], kind=occurrence.kind, truth=occurrence.value, text=prompted_text, limit=count - 1
        )
        occurrences.append(occurrence)
        strings += [text, *(_attributes.replace_value(text, occurrence.value, other) for other in others)]
        reading_values += [occurrence.value, *others]
        candidate_counts += [value_counts[occurrence.kind, value] for value in (occurrence.value, *others)]
        sizes.append(1 + len(others))
    text_indices = np.repeat([o.text_index for o in occurrences], sizes)
    encoded = _prefix.encode_without_special_tokens(model, strings)
    rows = [np.concatenate([conditioning[i], ids]) for i, ids in zip(text_indices, encoded, strict=True)]
    return Candidates(
        kinds=kinds,
        kind=np.array([kinds.index(o.kind) for o in occurrences], dtype=np.int64),
        text=np.array([o.text_index for o in occurrences], dtype=np.int64),
        starts=np.cumsum([0, *sizes]),
        ids=np.concatenate(rows),
        offsets=np.cumsum([0, *map(len, rows)]),
        first=tokens.first[text_indices],
        values=tuple(reading_values),
        common=np.array(candidate_counts, dtype=np.int64),
        limit=np.array(count - 1, dtype=np.int64),
        left_out=left_out,
    )
