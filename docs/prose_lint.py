"""Finds banned words and British spellings in source, tests, documentation and examples. Part of `make lint`.

Banned words are those that made earlier texts hard to read. Names in backticks, URLs, and lines marked `prose: ignore` are skipped.
Of tests, only comments, docstrings and names of functions are checked: strings are often sample texts.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BANNED = {
    r"told": "reported, distinguished from, set",
    r"(?<!with)held(?![- ]out|s?_out)": "stored, contained, passed",
    r"dealt": "split, assigned",
    r"mend(?:s|ed)?": "fix",
    r"those that": "name the things",
    r"there (?:is|are) none": "state what is missing",
    r"nobody|somebody": "name the actor",
    r"so many": "state the number",
    r"(?:is|are|was|to be) had": "is available",
    r"whereof|wherein|thereof": "rewrite",
}
BRITISH = (
    (
        r"\w*(?:memoris|tokenis|generalis|normalis|randomis|optimis|initialis|recognis|summaris|standardis|parametris|quantis)"
        r"(?:e|es|ed|er|ers|ing|ation|ations)"
    ),
    r"behaviours?",
    r"colou?rs?(?<!color)(?<!colors)",
    r"(?:un)?labell(?:ed|ing)",
    r"licences?",
    r"artefacts?",
    r"defence",  # the plural is the name of a study file
    r"analys(?:e|ed|es|ing)(?<!analyses)",
    r"modell(?:ed|ing)",
    r"centred?",
    r"favour\w*",
)
SKIPPED = re.compile(r"`[^`]*`|https?://\S+|\]\([^)]*\)|\{[^{}]*\}")
_WORDS = re.compile(rf"(?<![\w`/.-])(?:{'|'.join([*BANNED, *BRITISH])})(?![\w`/(]|\.\w)", re.IGNORECASE)


def findings(text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and word of every banned word and British spelling."""
    for number, line in enumerate(text.splitlines(), start=1):
        if "prose: ignore" not in line and not line.startswith("| "):  # tables may contain names of stored numbers
            yield from ((number, match.group(0)) for match in _WORDS.finditer(SKIPPED.sub("", line)))


def prose_of_test(source: str) -> str:
    """Return the comments, docstrings and function names of a test file, each on its line; all other text is left out."""
    lines = source.splitlines()
    prose = [""] * len(lines)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            prose[token.start[0] - 1] = token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            prose[node.lineno - 1] += " " + node.name.replace("_", " ")
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            docstring = node.body[0]
            prose[docstring.lineno - 1 : docstring.end_lineno] = lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(prose)


def test_files() -> Iterator[Path]:
    """Yield the test files."""
    yield from sorted((ROOT / "tests").rglob("*.py"))


def files() -> Iterator[Path]:
    """Yield the files whose prose is checked. Generated pages and stored results are not: their source is."""
    generated = {"benchmarks.md"}
    for folder, endings in (("src/byheart", (".py", ".jinja", ".js")), ("examples", (".py",)), ("studies", (".yaml",))):
        yield from (p for p in sorted((ROOT / folder).rglob("*")) if p.suffix in endings)
    yield ROOT / "README.md"
    pages = [p for p in sorted((ROOT / "docs").rglob("*.md")) if "results" not in p.parts and "shelves" not in p.parts]
    yield from (p for p in pages if p.name not in generated)
    yield ROOT / "docs" / "results" / "README.md"


def main() -> int:
    """Print every finding; return 1 if there are any."""
    texts = [(path, path.read_text("utf-8")) for path in files()]
    texts += [(path, prose_of_test(path.read_text("utf-8"))) for path in test_files()]
    found = [(path.relative_to(ROOT), *finding) for path, text in texts for finding in findings(text)]
    for path, number, word in found:
        hint = next(
            (fix for pattern, fix in BANNED.items() if re.fullmatch(pattern, word, re.IGNORECASE)), "American spelling"
        )
        print(f"{path}:{number}: {word!r}: write {hint}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
