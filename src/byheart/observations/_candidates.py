"""Readings of texts in which a private value is replaced, in the scored part or in the prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from byheart.core.evidence import Candidates
from byheart.data.private_attributes import attribute_kinds, other_values, values_of_kind
from byheart.observations import _attributes, _prefix

if TYPE_CHECKING:
    from byheart.lm.load import LanguageModel
    from byheart.lm.tokens import Tokens


def candidate_readings(
    model: LanguageModel,
    tokens: Tokens,
    passages: Sequence[_attributes.Passage],
    attributes: Sequence[Mapping[str, str]],
    validation_attributes: Sequence[Mapping[str, str]],
    *,
    count: int,
) -> Candidates:
    """Return each passage with the true value, and with other values, of each attribute; what follows it stays the same.

    A reading is scored from the passage on, or from what follows it if there is something.
    """
    kinds = attribute_kinds(attributes)
    pools = {kind: (values_of_kind(validation_attributes, kind), values_of_kind(attributes, kind)) for kind in kinds}
    value_counts = Counter(
        item for attribute_values in (*attributes, *validation_attributes) for item in attribute_values.items()
    )
    left_out = np.zeros(len(kinds), dtype=np.int64)
    occurrences: list[_attributes.AttributeOccurrence] = []
    strings: list[str] = []
    reading_values: list[str] = []
    candidate_counts: list[int] = []
    sizes: list[int] = []
    for occurrence in _attributes.attribute_occurrences(passages, attributes):
        passage, i = passages[occurrence.text_index], occurrence.text_index
        is_all = not len(passage.before) and not len(passage.after) and passage.string.strip() == occurrence.value
        if not occurrence.is_in_passage or is_all:
            left_out[kinds.index(occurrence.kind)] += 1
            continue
        others = other_values(
            *pools[occurrence.kind],
            kind=occurrence.kind,
            truth=occurrence.value,
            text=tokens.texts.prompts[i] + tokens.texts.scored[i],
            limit=count - 1,
        )
        occurrences.append(occurrence)
        strings += [
            passage.string,
            *(_attributes.replace_value(passage.string, occurrence.value, other) for other in others),
        ]
        reading_values += [occurrence.value, *others]
        candidate_counts += [value_counts[occurrence.kind, value] for value in (occurrence.value, *others)]
        sizes.append(1 + len(others))
    text_indices = np.repeat(np.array([o.text_index for o in occurrences], dtype=np.int64), sizes)
    encoded = _prefix.encode_without_special_tokens(model, strings) if strings else []
    rows, first = [], tokens.first[text_indices]
    for r, (i, ids) in enumerate(zip(text_indices.tolist(), encoded, strict=True)):
        rows.append(np.concatenate([passages[i].before, ids, passages[i].after]))
        if len(passages[i].after):
            first[r] = len(rows[-1]) - len(passages[i].after)
    return Candidates(
        kinds=kinds,
        kind=np.array([kinds.index(o.kind) for o in occurrences], dtype=np.int64),
        text=np.array([o.text_index for o in occurrences], dtype=np.int64),
        starts=np.cumsum([0, *sizes]),
        ids=np.concatenate([np.zeros(0, dtype=np.int64), *rows]),
        offsets=np.cumsum([0, *map(len, rows)]),
        first=first,
        values=tuple(reading_values),
        common=np.array(candidate_counts, dtype=np.int64),
        limit=np.array(count - 1, dtype=np.int64),
        left_out=left_out,
    )
