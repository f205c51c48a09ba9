"""Check before any work that a cell has the texts that its objective, attacks and metrics require."""

from __future__ import annotations

from collections.abc import Mapping

from byheart.core.dependencies import TOKEN_INPUTS
from byheart.core.errors import DataError, SettingError
from byheart.core.types import Texts
from byheart.stats.dp_accounting import privacy_settings
from byheart.study.cell import Cell


def check_has_pairs(texts: Texts, requester: str) -> None:
    """Raise `DataError` unless every text has a rejected response."""
    if not len(texts.rejected_texts):
        raise DataError(
            f"{requester}: requires preference pairs, and the data set has texts. Write datasets: [preferences: {{path: FILE}}], "
            "with records of prompt, chosen and rejected."
        )


def check_objective(cell: Cell) -> None:
    """Raise `SettingError` for settings of data and methods that the objective of the training does not support."""
    if cell.training.objective is None:
        return
    if cell.data.canaries is not None:
        raise SettingError(
            "training.objective = 'dpo': canaries are texts, not preference pairs. Remove data.canaries."
        )
    if cell.search is not None:
        raise SettingError(
            "training.learning_rate: a search minimizes perplexity, and dpo does not train on it. Write a number."
        )
    if privacy_settings(cell.method) is not None:
        raise SettingError(
            f"methods {cell.method.name}: private training supports text loss only. Remove it, or training.objective."
        )


def check_has_canaries(requester: str, need: str, parts: Mapping[str, Texts]) -> None:
    """Raise `DataError` without canaries, and without the canaries of a format that `need` requires."""
    if not len(parts["canaries"]):
        raise DataError(f"{requester}: requires canaries. Set data.canaries to {{}} or to {{count: 48, ...}}.")
    if not len(parts[TOKEN_INPUTS[need]]):
        raise DataError(
            f"{requester}: canaries of kind real_texts have no reference canaries. Add another kind to data.canaries.kinds."
        )
