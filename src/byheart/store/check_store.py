"""Read every result and note of a store and compare it with its checksums, as `byheart verify STORE` does."""

from __future__ import annotations

from pathlib import Path

from byheart.core.errors import StoreError
from byheart.store.result_files import RECIPE, check_files, damaged_result_error, read_json


def check_store(root: Path) -> tuple[int, list[str]]:
    """Return the number of results and notes of a store, and a message for each one whose bytes have changed."""
    recipes, notes = sorted(root.glob(f"*/*/{RECIPE}")), sorted(root.glob("*/*.json"))
    messages: list[str] = []
    finished = [path for path in (*recipes, *notes) if not path.relative_to(root).parts[0].startswith(".")]
    for path in (root / "store.json", *finished):
        try:
            read_json(path)
            if path.name == RECIPE:
                _check_result(path.parent)
        except StoreError as error:
            if path.exists():  # otherwise a run that goes on has removed it, such as the state of a finished training
                messages.append(str(error))
    return len(finished), messages


def _check_result(folder: Path) -> None:
    try:
        check_files(folder)
    except (OSError, ValueError) as error:
        raise damaged_result_error(folder, error) from error
