"""WikiText-2 and WikiText-103, the raw variants: paragraphs, or windows of words, of good and featured Wikipedia articles.

Source: Merity, Xiong, Bradbury, Socher, "Pointer Sentinel Mixture Models", ICLR 2017, arXiv 1609.07843; Hub id
Salesforce/wikitext, configurations wikitext-2-raw-v1 and wikitext-103-raw-v1; CC BY-SA 3.0. Content: 600 articles for training
(WikiText-103: 28,475), 60 for validation, 60 for test, as lines: a heading, an empty line or a paragraph each. Other libraries
score lines or fixed windows of tokens, which puts parts of one article among members and non-members alike; here the article is
the group.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

from annotated_types import Ge

from byheart.core.split import Examples
from byheart.data.formats import SourceRow
from byheart.data.readers import SPLIT_ROLES, Example, examples, published_splits, string_field

WIKITEXT_2 = "wikitext-2-raw-v1"
"""The configuration of `variant` None: a setting that is added later keeps older stores valid if its default is None."""
_TITLE = re.compile(r"= (?!=)(.+?)(?<!=) =")
_HEADING = re.compile(r"=.*=")
_DETOKENIZATION_RULES = (
    (re.compile(r" @([-,.])@ "), r"\1"),
    (re.compile(r" ([.,:;?!%)\]]|'s\b|n't\b)"), r"\1"),
    (re.compile(r"([(\[$£]) "), r"\1"),
    (re.compile(r'" ([^"]*) "'), r'"\1"'),
)


def wikitext(
    *,
    source: str = "Salesforce/wikitext",
    variant: Literal["wikitext-103-raw-v1"] | None = None,
    min_characters: Annotated[int, Ge(1)] = 50,
    detokenise: bool = False,  # prose: ignore
    per_article: Annotated[int, Ge(1)] | None = None,
    words: Annotated[int, Ge(1)] | None = None,
) -> Examples:
    """Return the paragraphs, or windows of `words` words, with their published roles. The article is the group.

    `source` is a Hub id, whose configuration is `variant` (None: wikitext-2-raw-v1), or a folder with files named train, test and
    validation with the lines, in their order, in the field `text`. Headings, and paragraphs shorter than `min_characters`, are left
    out. `detokenise` removes the spaces around punctuation and the `@-@` of numbers and hyphens. `words` joins an article's
    paragraphs and cuts them into windows of exactly this many words; what remains of the article is left out. `per_article` keeps
    only this many paragraphs or windows of each article, the first ones: intervals and split checks need many articles, and one
    article has up to a hundred paragraphs.
    Raises `DataError` for a source that cannot be read.
    """

    def parts() -> Iterator[Example]:
        for split, rows in published_splits(source, variant or WIKITEXT_2).items():
            kept = Counter[str]()
            lines = _paragraphs(list(rows))
            paragraphs = ((n, a, _detokenize(p) if detokenise else p) for n, a, p in lines)  # prose: ignore
            whole = (one for one in paragraphs if len(one[2]) >= min_characters)
            for name, article, text in whole if words is None else _windows(whole, words):
                if per_article is None or kept[article] < per_article:
                    kept[article] += 1
                    yield Example(f"{split}/{name}", text, role=SPLIT_ROLES[split], group=f"{split}/{article}")

    return examples(parts())


def _paragraphs(rows: Sequence[SourceRow]) -> Iterator[tuple[int, str, str]]:
    """Yield line number (from 0), article and text of each paragraph."""
    lines = ["", *(string_field(row, "text").strip() for row in rows), ""]
    article = ""
    for number, (before, line, after) in enumerate(zip(lines, lines[1:], lines[2:], strict=False)):
        # Formulas resemble titles ("= 1 / s and a nominal k ="), but are inside a paragraph.
        is_heading = _HEADING.fullmatch(line) and not before and not after
        if is_heading and (title := _TITLE.fullmatch(line)):
            # With the line number, because many titles of the tokenized variant are "<unk>".
            article = f"{number} {title[1]}"
        elif line and not is_heading:
            yield number, article, line


def _windows(paragraphs: Iterable[tuple[int, str, str]], words: int) -> Iterator[tuple[str, str, str]]:
    """Yield the line number of the article's first paragraph with the window's number, the article, and a window's text."""
    for article, parts in itertools.groupby(paragraphs, key=lambda one: one[1]):
        lines = list(parts)
        found = [word for _, _, text in lines for word in text.split()]
        for number, start in enumerate(range(0, len(found) - words + 1, words)):
            yield f"{lines[0][0]}.{number}", article, " ".join(found[start : start + words])


def _detokenize(text: str) -> str:
    for pattern, replacement in _DETOKENIZATION_RULES:
        text = pattern.sub(replacement, text)
    return text
