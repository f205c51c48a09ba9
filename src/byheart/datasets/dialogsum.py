"""DialogSum: everyday dialogues and their summaries.

Source: Chen, Liu, Chen, Zhang, "DialogSum: A Real-Life Scenario Dialogue Summarization Dataset", Findings of ACL
2021, arXiv 2105.06762; Hub id knkarthick/dialogsum; CC BY-NC-SA 4.0. Content: 12,460 dialogues for training, 500 for
validation, 500 for test, the last with up to three summaries each. Speakers are #Person1# and #Person2#.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from byheart.core.split import Examples
from byheart.datasets._summaries import summary_examples


def dialogsum(
    *,
    source: str = "knkarthick/dialogsum",
    prompt_characters: Annotated[int, Ge(1)] | None = 1600,
    limit: Annotated[int, Ge(1)] | None = None,
) -> Examples:
    """Return summaries of dialogues with the published roles. All summaries of one dialogue are one group.

    The prompt is the first `prompt_characters` of the dialogue (null: all of it) and the cue "Summary:"; the summary is
    scored. The default fits into 512 tokens, so that `max_tokens` does not truncate the beginning of the dialogue.
    `limit` is the maximum number of rows from the beginning of each split. `source` is a Hub id, or a folder with files
    named train, test and validation. Raises `DataError` for a source or row that cannot be read.
    """
    return summary_examples(
        source,
        document_field="dialogue",
        summary_field="summary",
        prompt_characters=prompt_characters,
        limit=limit,
    )
