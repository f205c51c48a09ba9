"""Files of texts."""

from __future__ import annotations

LINES = ("", " = Otter = \n", "", " = = Diet = = \n", "", " Otters eat fish , crabs and what else they find .\n")
"""WikiText's column: one article with a heading of its own, a section and a paragraph."""


def rows(split: str) -> list[dict]:
    """Rows with the columns of every published data set; a new one with other columns adds them here."""
    return [
        {
            "text": line,
            "input": [f"Otter_{number} | eats | Fish", f"Otter_{number} | in | {split}"],
            "target": f"Otter {number} eats fish.",
            "document": f"The {split} otter number {number} was seen.\nIt ate.",
            "dialogue": f"#Person1#: An otter?\n#Person2#: Number {number} of {split}.",
            "summary": f"Otter {number} was seen.",
        }
        for number, line in enumerate(LINES)
    ]
