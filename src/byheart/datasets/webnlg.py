"""WebNLG, release 3 as GEM publishes it: English texts that express sets of one to seven triples.

Source: Castro Ferreira et al., "The 2020 Bilingual, Bi-Directional WebNLG+ Shared Task", 2020; after Gardent et al.,
"Creating Training Corpora for NLG Micro-Planners", ACL 2017. Hub id GEM/web_nlg, configuration en; CC BY-NC-SA 4.0.
Content: 35,426 texts for training, 1,667 triple sets for validation, 1,779 for test. Several texts express the same
triple set. The group is the set itself, because the published id numbers each split from the start and is absent from
some releases.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from byheart.core.errors import DataError
from byheart.core.split import Examples
from byheart.data.formats import SourceRow
from byheart.data.readers import SPLIT_ROLES, Example, examples, published_splits, string_field


def webnlg(*, source: str = "GEM/web_nlg") -> Examples:
    """Return texts that express triples, with the published roles. All texts of one triple set are one group.

    The prompt is one triple per line ("subject | predicate | object") and the cue "Text:"; the text is scored. A row
    with an empty `target` uses the first of its `references`; a row with neither is left out. `source` is a Hub id, or
    a folder with files named train, test and validation. Raises `DataError` for a source or row that cannot be read.
    """

    def parts() -> Iterator[Example]:
        for split, rows in published_splits(source, "en").items():
            for number, row in enumerate(rows):
                triples, text = _string_list(row, "input"), _target_text(row)
                if text:
                    prompt = "\n".join((*triples, "Text:"))
                    yield Example(
                        f"{split}/{number}", f" {text}", prompt, SPLIT_ROLES[split], "\n".join(sorted(triples))
                    )

    return examples(parts())


def _target_text(row: SourceRow) -> str:
    text = string_field(row, "target").strip()
    # In some releases, the test split has texts in `references` only.
    references = _string_list(row, "references") if not text and "references" in row.fields else ()
    return text or next((r.strip() for r in references if r.strip()), "")


def _string_list(row: SourceRow, field: str) -> tuple[str, ...]:
    values = row.fields.get(field)
    if not isinstance(values, list):
        raise DataError(
            f"{row.location}: {field!r} is not a list of strings. Available fields: {', '.join(row.fields)}."
        )
    return tuple(string_field(SourceRow(row.location, {field: value}), field) for value in cast("list[object]", values))
