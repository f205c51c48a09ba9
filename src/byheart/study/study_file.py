"""Parse a study file into a `Study`. Every error names the file, the key and the choices.

A list in place of one value is a sweep: `lora: {rank: [4, 16]}` gives two methods, `seeds: [0, 1]` doubles the cells.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byheart.analysis.paper_values import PublishedValue, read_published_values
from byheart.core.config import Data, Machine, Scoring, Training
from byheart.core.defaults import DEFAULT_ATTACKS, DEFAULT_METHODS, DEFAULT_METRICS
from byheart.core.errors import ByheartError, SettingError, StudyError, UnknownNameError
from byheart.core.registry import Choice
from byheart.core.setting_values import check_plain, shown_setting, validate_setting
from byheart.lm.base_models import default_base
from byheart.study.cell import Cell, distinct_cells
from byheart.study.overrides import apply_override, rerun_command
from byheart.study.searched_rates import search_of, split_search
from byheart.study.study_entries import (
    as_list,
    entry_choices,
    expand_sweep,
    observation_choices,
    parse_settings,
    shelf_choices,
)
from byheart.study.yaml_values import read_yaml


@dataclass(frozen=True)
class Study:
    """The cells to train, their attacks and metrics, and the report's tables and figures.

    Empty `tables` and `figures` stand for every entry that the rows can fill. `observations` are those with non-default
    settings; attacks and metrics decide which observations are made. `published` are values of papers for comparison.
    `content` is the content of the study file, `command` the command that runs the study again ("" without a file).
    """

    name: str
    cells: tuple[Cell, ...]
    attacks: tuple[Choice, ...]
    metrics: tuple[Choice, ...]
    scoring: Scoring
    machine: Machine
    tables: tuple[Choice, ...]
    figures: tuple[Choice, ...]
    observations: tuple[Choice, ...] = ()
    published: tuple[PublishedValue, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)
    command: str = field(default="", compare=False, repr=False)


def read_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Return the study of a file, with `key.key=value` overrides.

    Raises `StudyError`, `UnknownNameError` or `SettingError`; the message starts with the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(
            f"study {path}: {error.strerror}. Name a study file such as studies/quickstart.yaml."
        ) from error
    except UnicodeDecodeError as error:
        raise StudyError(f"study {path}: not UTF-8 at byte {error.start}. Save it as UTF-8.") from error
    try:
        loaded = read_yaml("", text, fix="Write a YAML mapping: `name: ...`, `methods: [...]`.")
        values = loaded if isinstance(loaded, dict) else {}
        for override in overrides:
            apply_override(values, override)
        if not isinstance(loaded, dict):
            raise StudyError("not a mapping. Write `name: ...`, `methods: [...]`, ...")
        study = parse_study(values, default_name=path.stem, folder=path.parent)
        return dataclasses.replace(study, command=rerun_command(path, overrides))
    except ByheartError as error:
        # Keep the error's type and add the file.
        error.args = (f"study {path}: {error}",)
        raise


def parse_study(values: Mapping[str, Any], *, default_name: str = "study", folder: Path = Path()) -> Study:
    """Return the study of a mapping (a study file's content); paths of published values are relative to `folder`.

    Raises `StudyError`, `UnknownNameError` or `SettingError`.
    """
    if not isinstance(values, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - from Python, anything
        raise StudyError(
            f"study: {shown_setting(values)} is not a mapping. Pass a study file's path, or its content as a dict."
        )
    check_plain("", values)
    for key in values:
        if key not in _KEYS:
            raise UnknownNameError("key", str(key), _KEYS)
    name = validate_setting("name", str, values.get("name", default_name))
    if not name or not all(c.isalnum() or c in "-_." for c in name):
        raise SettingError(
            f"name = {shown_setting(name)}: contains other characters than letters, digits, '-', '_' and '.'. Use only these."
        )
    data = values.get("data") or {}
    if not isinstance(data, dict):
        raise StudyError(
            f"data: {shown_setting(data)} is not a mapping of settings. Write for example data: {{train: 1000}}."
        )
    seeds = validate_setting("seeds", list[int], as_list(values.get("seeds", [0])))
    training = values.get("training") or {}
    if not isinstance(training, dict):
        raise StudyError(
            f"training: {shown_setting(training)} is not a mapping of settings. Write for example training: {{epochs: 3}}."
        )
    methods = [
        (method, *_trainings(method, training, own))
        for method, own in entry_choices("methods", values.get("methods", DEFAULT_METHODS), "training")
    ]
    machine = _machine(values.get("machine") or {})
    cells = distinct_cells(
        Cell(base, dataset, sizes, method, settings, seed, search_of(method, rates, seed=seeds[0]), machine.base_format)
        for base in [validate_setting("models", str, m) for m in as_list(values.get("models") or default_base())]
        for dataset, dataset_sizes in entry_choices("datasets", values.get("datasets", ["records"]), "data")
        for sizes in expand_sweep("data", Data, {**data, **dataset_sizes})
        for method, trainings, rates in methods
        for settings in trainings
        for seed in seeds
    )
    return Study(
        name=name,
        cells=cells,
        attacks=tuple(shelf_choices("attacks", values.get("attacks", DEFAULT_ATTACKS))),
        metrics=tuple(shelf_choices("metrics", values.get("metrics", DEFAULT_METRICS))),
        scoring=parse_settings("scoring", Scoring, values.get("scoring") or {}),
        machine=machine,
        tables=tuple(shelf_choices("tables", values.get("tables", []))),
        figures=tuple(shelf_choices("figures", values.get("figures", []))),
        observations=observation_choices(values.get("observations", [])),
        published=read_published_values(values.get("published"), folder),
        content=values,
    )


_KEYS = (
    "name",
    "models",
    "datasets",
    "data",
    "methods",
    "training",
    "seeds",
    "attacks",
    "metrics",
    "scoring",
    "machine",
    "tables",
    "figures",
    "observations",
    "published",
)


def _trainings(
    method: Choice, training: Mapping[str, Any], own: Mapping[str, Any]
) -> tuple[tuple[Training, ...], tuple[float, ...] | None]:
    """Return the settings of each training of a method, and the rates of its search; `own` are those beside the method's name.

    An error in settings of the method's own names the method.
    """
    try:
        values, rates = split_search({**training, **own})
        return tuple(expand_sweep("training", Training, values)), rates
    except ByheartError as error:
        if own:
            error.args = (f"methods {method.name}: {error}",)
        raise


def _machine(settings: Any) -> Machine:
    machine = parse_settings("machine", Machine, settings)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", machine.device):
        raise SettingError(f"machine.device = {machine.device!r}: unknown device. Write auto, cpu, cuda or cuda:1.")
    return machine
