"""XSum: BBC articles and the one sentence that says what each is about.

Source: Narayan, Cohen, Lapata, "Don't Give Me the Details, Just the Summary!", EMNLP 2018, arXiv 1808.08745; Hub id
EdinburghNLP/xsum; the license is not stated, the articles are the BBC's. What is in it: 204,045 documents for
training (431 words on average), 11,332 for validation, 11,334 for test, each with a summary of 23 words on average.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from byheart.core.types import Examples
from byheart.datasets._summaries import summary_examples


def xsum(
    *,
    source: str = "EdinburghNLP/xsum",
    prompt_characters: Annotated[int, Ge(1)] | None = 1600,
    limit: Annotated[int, Ge(1)] | None = None,
) -> Examples:
    """Give BBC article -> summary with the published roles; all summaries of one article are one group.

    The prompt is the article's first `prompt_characters` (null: all of it) and the cue "Summary:"; the summary is
    scored. The default fits into 512 tokens, so that a limit of tokens does not cut off the article's beginning.
    `limit` takes the first texts of each split. `source` is a Hub id, or a folder with files named
    train, test and validation. Raises `DataError` for a source or row that cannot be read.
    """
    return summary_examples(
        source,
        document_field="document",
        summary_field="summary",
        prompt_characters=prompt_characters,
        limit=limit,
    )
