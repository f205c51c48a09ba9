"""A cell of a study: one model to train and attack; and the list of a study's cells, without duplicates and contradictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from byheart.core.config import FLOAT32_BASE, BaseFormat, Canaries, Data, Scoring, Training
from byheart.core.errors import SettingError, StudyError
from byheart.core.registry import Choice
from byheart.core.setting_values import format_setting
from byheart.study.searched_rates import LearningRateSearch


@dataclass(frozen=True)
class Cell:
    """One model to train and attack: everything that can change its weights, and its audited records.

    With a `search`, the learning rate of the method is chosen before the cell is trained.
    """

    base: str
    dataset: Choice
    data: Data
    method: Choice
    training: Training
    seed: int
    search: LearningRateSearch | None = None
    base_format: BaseFormat = FLOAT32_BASE

    @property
    def label(self) -> str:
        """Name of the cell that is unique in the study, unless only data settings differ."""
        method = f"{self.method.name} {self.method.label}".strip()
        return " · ".join(
            x
            for x in (
                method,
                self.dataset.name,
                short_model_name(self.base),
                self.training_label,
                f"seed {self.seed}",
            )
            if x
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """What distinguishes the cell from the others of its study."""
        return self.base, self.dataset.key, self.data, self.method.key, self.training, self.seed, self.search

    @property
    def training_label(self) -> str:
        """The settings of the training and of the base model's number format that differ from their defaults."""
        return ", ".join(x for x in (non_default_settings(self.training), non_default_settings(self.base_format)) if x)


def short_model_name(base: str) -> str:
    """Return the last part of a base model's path or id, without the ending .gguf."""
    return base.rstrip("/").rpartition("/")[2].removesuffix(".gguf")


def non_default_settings(values: Data | Training | Scoring | BaseFormat) -> str:
    """Return the settings that differ from their defaults, as "name=value, ...".

    Without the observed epochs, which distinguish no trained models.
    """
    pairs = ((f.name, getattr(values, f.name), f.default) for f in dataclasses.fields(values) if f.name != "observe")
    return ", ".join(f"{n}={format_setting(_without_defaults(v))}" for n, v, default in pairs if v != default)


def _without_defaults(value: Any) -> Any:
    """Return nested settings without their defaults; any other value unchanged."""
    if not isinstance(value, Canaries):
        return value
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if getattr(value, f.name) != f.default}


def distinct_cells(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return the cells without duplicates, which sweeps and lists can produce.

    Raises `StudyError` without a cell, and `SettingError` for numbers of records and settings that contradict each other.
    """
    distinct = tuple({cell.identity: cell for cell in cells}.values())
    if not distinct:
        raise StudyError("models, datasets, methods, seeds: nothing to train. List at least one entry in each of them.")
    for cell in distinct:
        _check_sizes(cell.data)
        _check_one_rate(cell)
    _check_different_models(distinct)
    return distinct


def _check_sizes(data: Data) -> None:
    members, known, train = data.members, data.known, data.train
    if train is not None and members + known > train:
        and_known = f" and data.known = {known}" if known else ""
        keys = "data.members + data.known" if known else "data.members"
        raise SettingError(
            f"data.members = {members}{and_known}: more than data.train = {train} training texts. Set {keys} to at most {train}, or "
            "raise data.train."
        )


def _check_one_rate(cell: Cell) -> None:
    """Raise `SettingError` for a learning rate of the method beside one of its training: one of them would have no effect."""
    own, of_training = cell.method.explicit_settings.get("learning_rate"), cell.training.learning_rate
    if own is not None and of_training is not None:
        raise SettingError(
            f"methods {cell.method.name}: learning_rate = {own:g}, and training.learning_rate = {of_training:g}. Only one can be used; "
            "remove the other."
        )


def _check_different_models(cells: Sequence[Cell]) -> None:
    """Raise `SettingError` for two cells that train the same model: they would count as two seeds."""
    seen: dict[object, Cell] = {}
    for cell in cells:
        if seen.setdefault(_trained_model(cell), cell) is not cell:
            raise SettingError(
                f"methods {cell.method.name}: two entries train the same model, and differ only in training.observe or in where the "
                "learning rate is written. Write one entry, whose observe lists all epochs."
            )


def _trained_model(cell: Cell) -> object:
    """Return what determines the model: the learning rate counts as one setting, wherever it is written."""
    rate = cell.training.learning_rate or cell.method.settings.get("learning_rate")
    others = {n: v for n, v in cell.method.explicit_settings.items() if n != "learning_rate"}
    method = dataclasses.replace(cell.method, explicit_settings=others)
    training = dataclasses.replace(cell.training, observe=None, learning_rate=None)
    return rate, dataclasses.replace(cell, method=method, training=training).identity
