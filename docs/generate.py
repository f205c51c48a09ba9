"""Writes one page a shelf into docs/shelves, from signatures and docstrings: `make docs`."""

from pathlib import Path

from byheart.cli.describe import attacks_markdown, shelf_markdown
from byheart.core.registry import SHELVES

FOLDER = Path(__file__).parent / "shelves"


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    shelves = {FOLDER / f"{shelf}.md": shelf_markdown(shelf) for shelf in SHELVES}
    return {FOLDER.parent / "attacks.md": attacks_markdown(), **shelves}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
