"""Writes the generated pages: shelves, comparison of attacks, differences from papers, choice of a method, formats, packages.

Run by `make docs`.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import choose_page
import formats_page
import results_page
from package_graph import mermaid

from byheart.cli.departures import departures_markdown
from byheart.cli.describe import attacks_markdown, shelf_markdown
from byheart.core.registry import SHELVES

DOCS = Path(__file__).parent
FOLDER = DOCS / "shelves"
BLOCK = re.compile(r"(<!-- packages: .*? -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    shelves = {FOLDER / f"{shelf}.md": shelf_markdown(shelf) for shelf in SHELVES}
    architecture = DOCS / "architecture.md"
    text = BLOCK.sub(rf"\1```mermaid\n{mermaid()}\n```\n\2", architecture.read_text(encoding="utf-8"))
    return {
        DOCS / "attacks.md": attacks_markdown(),
        DOCS / "methods.md": departures_markdown(),
        architecture: text,
        choose_page.PAGE: choose_page.page(),
        formats_page.PAGE: formats_page.page(),
        results_page.PAGE: results_page.page(),
        **shelves,
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
