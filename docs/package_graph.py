"""Draws the packages of byheart and their imports as a Mermaid graph, for docs/architecture.md."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "byheart"
_CONTRACT = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
LAYERS = tuple(
    tuple(name.strip().removeprefix("byheart.") for name in layer.split("|"))
    for layer in _CONTRACT["contracts"][0]["layers"]
)
"""The layers of `lint-imports`, from the top."""


def imports() -> set[tuple[str, str]]:
    """Return the pairs (importing package, imported package) in the source, imports for type annotations included."""
    packages = {name for layer in LAYERS for name in layer}
    pairs: set[tuple[str, str]] = set()
    for package in packages:
        for path in (SOURCE / package).rglob("*.py"):
            pairs |= {(package, name) for name in _imported(ast.parse(path.read_text(encoding="utf-8")))}
    return {(a, b) for a, b in pairs if a != b and b in packages}


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("byheart"):
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("byheart."))


def mermaid() -> str:
    """Return the graph: one row of boxes per layer, and the imports that no path through other packages implies."""
    pairs = imports()
    nodes = {name for layer in LAYERS for name in layer}
    direct = [
        (a, b) for a, b in sorted(pairs) if not any(_reaches(m, b, pairs) for m in nodes if (a, m) in pairs and m != b)
    ]
    lines = ["graph TD"]
    for number, layer in enumerate(LAYERS):
        if len(layer) > 2:  # noqa: PLR2004 - a frame around a row of three or more
            lines += [f'  subgraph layer{number} ["{_title(layer)}"]', *(f"    {name}" for name in layer), "  end"]
        else:
            lines += [f"  {name}" for name in layer]
    lines += [f"  {a} --> {b}" for a, b in direct]
    return "\n".join(lines)


def _title(layer: tuple[str, ...]) -> str:
    return "shelves" if "attacks" in layer else "data, models, results"


def _reaches(start: str, end: str, pairs: set[tuple[str, str]]) -> bool:
    seen, stack = set[str](), [start]
    while stack:
        name = stack.pop()
        if name == end:
            return True
        stack += [b for a, b in pairs if a == name and b not in seen]
        seen.add(name)
    return False
