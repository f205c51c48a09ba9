"""SHA-256 of the files that an audit reads: texts by part, and weights. What is on the Hub is identified by its revision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from byheart.core.paths import expanded
from byheart.data.row_selection import split_selection
from byheart.lm.base_models import locate
from byheart.lm.model_folder import identifying_files
from byheart.store.seal import file_sha256, hashes_of

EXPORT_PARTS = {"model": "exported_from", "adapter": "exported_from", "base": "exported_from_base"}
"""Names of the parts of the weights that a model was exported from, by their own parts."""
WEIGHT_PARTS = ("model", "adapter", "base", *dict.fromkeys(EXPORT_PARTS.values()))


def input_hashes(sources: Mapping[str, str], weights: Mapping[str, str | None]) -> dict[str, dict[str, str]]:
    """Return hashes by input and file name: texts by part ("member", ...), and weights by part ("model", ...).

    Inputs that are not local files are left out. A selection of rows has the hash of its complete file.
    """
    hashes = {part: _source_hashes(expanded(split_selection(source)[0])) for part, source in sources.items()}
    hashes |= {part: _weight_hashes(name) for part, name in weights.items() if name}
    return {name: files for name, files in hashes.items() if files}


def _source_hashes(path: Path) -> dict[str, str]:
    if path.is_file():
        return {path.name: file_sha256(path)}
    return hashes_of((p for p in path.rglob("*") if p.is_file()), path) if path.is_dir() else {}


def _weight_hashes(name: str) -> dict[str, str]:
    path = locate(name)
    if path is None:
        return {}
    return {path.name: file_sha256(path)} if path.is_file() else hashes_of(identifying_files(path), path)
