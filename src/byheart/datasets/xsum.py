"""XSum: BBC articles, each with a summary of one sentence.

Source: Narayan, Cohen, Lapata, "Don't Give Me the Details, Just the Summary!", EMNLP 2018, arXiv 1808.08745; Hub id
EdinburghNLP/xsum; the license is not stated, the articles are the BBC's. Content: 204,045 documents for training (431
words on average), 11,332 for validation, 11,334 for test, each with a summary of 23 words on average.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from byheart.core.split import Examples
from byheart.datasets._summaries import summary_examples


def xsum(
    *,
    source: str = "EdinburghNLP/xsum",
    prompt_characters: Annotated[int, Ge(1)] | None = 1600,
    limit: Annotated[int, Ge(1)] | None = None,
) -> Examples:
    """Return summaries of BBC articles with the published roles. All summaries of one article are one group.

    The prompt is the first `prompt_characters` of the article (null: all of it) and the cue "Summary:"; the summary is
    scored. The default fits into 512 tokens, so that `max_tokens` does not truncate the beginning of the article.
    `limit` is the maximum number of rows from the beginning of each split. `source` is a Hub id, or a folder with files
    named train, test and validation. Raises `DataError` for a source or row that cannot be read.
    """
    return summary_examples(
        source,
        document_field="document",
        summary_field="summary",
        prompt_characters=prompt_characters,
        limit=limit,
    )
