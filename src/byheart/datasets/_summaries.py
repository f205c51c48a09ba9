"""Load documents with summaries: the common part of `dialogsum` and `xsum`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from byheart.core.split import Examples
from byheart.core.types import digest
from byheart.data.readers import SPLIT_ROLES, Example, examples, published_splits, string_field, truncate_text


def summary_examples(
    source: str, *, document_field: str, summary_field: str, prompt_characters: int | None, limit: int | None
) -> Examples:
    """Return summaries with their documents as prompts and with the published roles. A document is one group.

    The prompt is the beginning of the document and the cue "Summary:"; the summary is scored. Rows with an empty
    document or summary are left out. Raises `DataError` for a source or a row that cannot be read.
    """

    def parts() -> Iterator[Example]:
        for split, rows in published_splits(source).items():
            for number, row in enumerate(itertools.islice(rows, limit)):
                text, scored = string_field(row, document_field).strip(), string_field(row, summary_field).strip()
                if text and scored:
                    prompt = f"{truncate_text(text, prompt_characters)}\nSummary:"
                    yield Example(f"{split}/{number}", f" {scored}", prompt, SPLIT_ROLES[split], digest([[text]]))

    return examples(parts())
