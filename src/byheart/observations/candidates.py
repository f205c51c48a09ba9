"""The audited texts with each private attribute exchanged for other values of its kind.

Nils Lukas, Ahmed Salem, Robert Sim, Shruti Tople, Lukas Wutschitz, Santiago Zanella-Béguelin. Analyzing Leakage of
Personally Identifiable Information in Language Models. IEEE Symposium on Security and Privacy, 2023. arXiv 2302.00539.

    C = {the true value} and up to `count` - 1 others of its kind; a reading of the text for each of them

The others are distinct values of the validation texts: drawn as the audited texts are, and trained on by nobody, so that
a non-member's true value is one of many that are new to the model. In the paper they come from the data that the model
was tuned on. There, a model that prefers all it has seen would put a non-member's true value last, and the members'
lead over non-members would be as large as it is for a model that knows whose value is whose.

A value is exchanged wherever it stands in the scored text by itself, and inside of words only where it stands nowhere
else. Each reading is cut into tokens anew behind the text's own BOS and prompt. An attribute that was cut off with the
end of a text that is too long, or that is all of its text with nothing before it, is left out, and counted. Which others
are drawn hangs on the text and the value alone.

No model is passed here; of the base its tokenizer is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from byheart.core.evidence import Candidates
from byheart.data.private_attributes import attribute_kinds, candidate_values, check_has_candidates, values_of_kind
from byheart.observations import _attributes, _prefix

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = 0.0
ADVERSARY = "a text but for one private attribute, and values that it may have"


def candidates(
    base_model: Scorer,
    tokens: Tokens,
    attributes: Sequence[Mapping[str, str]],
    validation_attributes: Sequence[Mapping[str, str]],
    *,
    count: Annotated[int, Ge(2)] = 10,
) -> Candidates:
    """Each audited text with each private attribute as it is, and exchanged for up to `count` - 1 others, as token ids.

    Raises `DataError` for an attribute whose kind has no other value among the validation texts.
    """
    check_has_candidates(attributes, validation_attributes, "observations candidates")
    model, there = base_model.model, attribute_kinds(attributes)
    pools = {kind: values_of_kind(validation_attributes, kind) for kind in there}
    known = Counter(item for own in (*attributes, *validation_attributes) for item in own.items())
    fronts = _attributes.conditioning_ids(model, tokens)
    left_out = np.zeros(len(there), dtype=np.int64)
    asked: list[_attributes.AttributeOccurrence] = []
    strings: list[str] = []
    common: list[int] = []
    sizes: list[int] = []
    for place in _attributes.attribute_occurrences(tokens, attributes):
        text = tokens.texts.scored[place.text_index]
        if not place.is_in_text or (not len(fronts[place.text_index]) and text.strip() == place.value):
            left_out[there.index(place.kind)] += 1
            continue
        whole = tokens.texts.prompts[place.text_index] + text
        others = candidate_values(pools[place.kind], kind=place.kind, truth=place.value, text=whole, count=count - 1)
        asked.append(place)
        strings += [text, *(_attributes.replace_value(text, place.value, other) for other in others)]
        common += [known[place.kind, value] for value in (place.value, *others)]
        sizes.append(1 + len(others))
    owner = np.repeat([p.text_index for p in asked], sizes)
    plain = _prefix.encode_without_special_tokens(model, strings)
    rows = [np.concatenate([fronts[i], ids]) for i, ids in zip(owner, plain, strict=True)]
    return Candidates(
        kinds=there,
        kind=np.array([there.index(p.kind) for p in asked], dtype=np.int64),
        text=np.array([p.text_index for p in asked], dtype=np.int64),
        starts=np.cumsum([0, *sizes]),
        ids=np.concatenate(rows),
        offsets=np.cumsum([0, *map(len, rows)]),
        first=tokens.first[owner],
        common=np.array(common, dtype=np.int64),
        left_out=left_out,
    )
