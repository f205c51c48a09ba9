"""Adds to the site the files outside docs/ that its pages link to: examples, studies. Links work as in the repository.

A hook of mkdocs: https://www.mkdocs.org/user-guide/configuration/#hooks
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<=\]\()(\.\./[^)#\s]+)")
FOLDER = "repository"
"""Where in the site such files lie."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add each linked file outside docs/; a link to a missing file stays broken, which fails the build."""
    root = Path(config.docs_dir).parent
    pages = {page.src_uri: page.content_string for page in files.documentation_pages()}
    outside = {_outside(page, link) for page, text in pages.items() for link in LINK.findall(text)} - {None}
    for path in sorted(p for p in outside if (root / p).is_file()):
        files.append(File.generated(config, f"{FOLDER}/{path}", abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs names them
    """Replace links to files outside docs/ by the places where `on_files` added them."""
    here = posixpath.dirname(page.file.src_uri) or "."

    def turned(link: re.Match[str]) -> str:
        outside = _outside(page.file.src_uri, link[1])
        return posixpath.relpath(f"{FOLDER}/{outside}", here) if outside else link[1]

    return LINK.sub(turned, markdown)


def _outside(page: str, link: str) -> str | None:
    """Return the path in the repository of a link to a file outside docs/, else None."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    return path.removeprefix("../") if path.startswith("../") else None
