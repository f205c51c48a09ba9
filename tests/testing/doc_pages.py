"""The pages of the documentation, and the blocks of code in them."""

import importlib.util
import re
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

from byheart.store.store import Store

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


class Block(NamedTuple):
    """A fenced block: its content, and the file name in its title ("" for none)."""

    text: str
    title: str


def blocks(page, language):
    """The blocks of a page in this language, in order."""
    found = re.findall(
        rf'^```{language}(?: title="([^"\n]*)")?\n(.*?)^```$', page.read_text(), re.DOTALL | re.MULTILINE
    )
    return [Block(text, title) for title, text in found]


def load_page_script(name):
    """The module of a script in the docs folder, which may import its neighbors."""
    if str(DOCS) not in sys.path:
        sys.path.append(str(DOCS))
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def unpacked(archive, folder):
    """The store of a packed study, unpacked into a folder."""
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return Store.open(Path(folder))


def lines(page):
    """The lines of a page's commands, continued ones joined, without comments."""
    for block in blocks(page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                yield from line.split(" && ")


def table(page, name):
    """The cells of the table after `<!-- from name -->`, by row, without its head."""
    text = re.search(rf"<!-- from {re.escape(name)} -->\n(.*?)<!-- end -->", page.read_text(), re.DOTALL)[1]
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]


def name(page):
    return str(page.relative_to(ROOT))
