"""Parse a study file into a `Study`. Every error names the file, the key and the choices.

A list in place of one value is a sweep: `lora: {rank: [4, 16]}` gives two methods, `seeds: [0, 1]` doubles the cells.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from byheart.analysis.paper_values import PublishedValue, read_published_values
from byheart.core.config import Canaries, Data, Machine, Scoring, Training
from byheart.core.defaults import DEFAULT_ATTACKS, DEFAULT_METHODS, DEFAULT_METRICS
from byheart.core.errors import ByheartError, SettingError, StudyError, UnknownNameError
from byheart.core.registry import (
    Choice,
    choose,
    format_setting,
    load_function,
    parse_entry,
    setting_types,
    validate_setting,
)
from byheart.lm.base_models import default_base
from byheart.study.overrides import apply_override, rerun_command

Settings = TypeVar("Settings", Data, Training, Scoring, Machine, Canaries)


@dataclass(frozen=True)
class Cell:
    """One model to train and attack: everything that can change its weights, and its audited records."""

    base: str
    dataset: Choice
    data: Data
    method: Choice
    training: Training
    seed: int

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
                non_default_settings(self.training),
                f"seed {self.seed}",
            )
            if x
        )


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


def short_model_name(base: str) -> str:
    """Return the last part of a base model's path or id, without the ending .gguf."""
    return base.rstrip("/").rpartition("/")[2].removesuffix(".gguf")


def non_default_settings(values: Data | Training | Scoring) -> str:
    """Return the settings that differ from their defaults, as "name=value, ..."."""
    pairs = ((f.name, getattr(values, f.name), f.default) for f in dataclasses.fields(values))
    return ", ".join(f"{n}={format_setting(_without_defaults(v))}" for n, v, default in pairs if v != default)


def _without_defaults(value: Any) -> Any:
    """Return nested settings without their defaults; any other value unchanged."""
    if not isinstance(value, Canaries):
        return value
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if getattr(value, f.name) != f.default}


def read_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Return the study of a file, with `key.key=value` overrides.

    Raises `StudyError`, `UnknownNameError` or `SettingError`; the message starts with the file.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    # YAML 1.2: 1e-4 is a number and `no` is a word, unlike in YAML 1.1.
    yaml = YAML(typ="safe", pure=True)
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"))
        values = loaded if isinstance(loaded, dict) else {}
        for override in overrides:
            apply_override(values, override, yaml)
    except OSError as error:
        raise StudyError(
            f"study {path}: {error.strerror}. Name a study file such as studies/quickstart.yaml."
        ) from error
    except UnicodeDecodeError as error:
        raise StudyError(f"study {path}: not UTF-8 at byte {error.start}. Save it as UTF-8.") from error
    except YAMLError as error:
        raise StudyError(f"study {path}: {_yaml_error_text(error)}") from error
    try:
        if not isinstance(loaded, dict):
            raise StudyError("not a mapping. Write `name: ...`, `methods: [...]`, ...")
        study = parse_study(values, default_name=path.stem, folder=path.parent)
        return dataclasses.replace(study, command=rerun_command(path, overrides))
    except ByheartError as error:
        # Keep the error's type and add the file.
        error.args = (f"study {path}: {error}",)
        raise


def _yaml_error_text(error: Exception) -> str:
    """Return the line and the reason of a YAML error, with the fix."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return f"not YAML ({' '.join(str(error).split())}). Write a YAML mapping."
    return f"line {mark.line + 1}: {' '.join(problem.split())}. Write a YAML mapping: `name: ...`, `methods: [...]`."


def parse_study(values: Mapping[str, Any], *, default_name: str = "study", folder: Path = Path()) -> Study:
    """Return the study of a mapping (a study file's content); paths of published values are relative to `folder`.

    Raises `StudyError`, `UnknownNameError` or `SettingError`.
    """
    for key in values:
        if key not in _KEYS:
            raise UnknownNameError("key", str(key), _KEYS)
    name = validate_setting("name", str, values.get("name", default_name))
    if not name or not all(c.isalnum() or c in "-_." for c in name):
        raise SettingError(
            f"name = {name!r}: contains other characters than letters, digits, '-', '_' and '.'. Use only these."
        )
    data = values.get("data") or {}
    if not isinstance(data, dict):
        raise StudyError(f"data: {data!r} is not a mapping of settings. Write for example data: {{train: 1000}}.")
    cells = _without_duplicates(
        Cell(base, dataset, sizes, method, training, seed)
        for base in _list(values.get("models") or default_base())
        for dataset, dataset_sizes in _datasets(values.get("datasets", ["records"]))
        for sizes in _expand_sweep("data", Data, {**data, **dataset_sizes})
        for training in _expand_sweep("training", Training, values.get("training") or {})
        for method in _choices("methods", values.get("methods", DEFAULT_METHODS))
        for seed in validate_setting("seeds", list[int], _list(values.get("seeds", [0])))
    )
    _check_cells(cells)
    return Study(
        name=name,
        cells=cells,
        attacks=tuple(_choices("attacks", values.get("attacks", DEFAULT_ATTACKS))),
        metrics=tuple(_choices("metrics", values.get("metrics", DEFAULT_METRICS))),
        scoring=_parse_settings("scoring", Scoring, values.get("scoring") or {}),
        machine=_machine(values.get("machine") or {}),
        tables=tuple(_choices("tables", values.get("tables", []))),
        figures=tuple(_choices("figures", values.get("figures", []))),
        observations=_observations(values.get("observations", [])),
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


def _without_duplicates(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return the cells without duplicates, which sweeps and lists can produce."""
    return tuple({(c.base, c.dataset.key, c.data, c.method.key, c.training, c.seed): c for c in cells}.values())


def _check_cells(cells: Sequence[Cell]) -> None:
    if not cells:
        raise StudyError("nothing to train. Give models, datasets, methods and seeds at least one entry each.")
    for cell in cells:
        validate_setting("models", str, cell.base)
        members, known, train = cell.data.members, cell.data.known, cell.data.train
        if train is not None and members + known > train:
            and_known = f" and data.known = {known}" if known else ""
            raise SettingError(
                f"data.members = {members}{and_known}: more than data.train = {train} training texts. Set {train} or fewer in total."
            )


def _machine(settings: Any) -> Machine:
    machine = _parse_settings("machine", Machine, settings)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", machine.device):
        raise SettingError(f"machine.device = {machine.device!r}: unknown device. Write auto, cpu, cuda or cuda:1.")
    return machine


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _choices(shelf: str, entries: Any) -> Iterator[Choice]:
    for entry in _list(entries):
        name, sweep = parse_entry(shelf, entry)
        for settings in _setting_combinations(sweep, setting_types(load_function(shelf, name))):
            yield choose(shelf, name, settings)


def _observations(entries: Any) -> tuple[Choice, ...]:
    choices = tuple(_choices("observations", entries))
    for name in (c.name for c in choices):
        if [c.name for c in choices].count(name) > 1:
            raise SettingError(f"observations {name}: set twice in one study. Remove one of the entries.")
    return choices


def _datasets(entries: Any) -> Iterator[tuple[Choice, dict[str, Any]]]:
    """Yield the data sets, each with the `data` settings beside its name."""
    for entry in _list(entries):
        sizes = entry.get("data") or {} if isinstance(entry, dict) else {}
        without_sizes = {k: v for k, v in entry.items() if k != "data"} if isinstance(entry, dict) else entry
        if not isinstance(sizes, dict):
            raise StudyError(
                f"datasets: data = {sizes!r} is not a mapping of settings. Write for example data: {{train: 1000}}."
            )
        yield from ((choice, sizes) for choice in _choices("datasets", without_sizes))


def _setting_combinations(sweep: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every combination of settings: a list is a sweep, unless the setting itself is a list."""
    lists = [v if isinstance(v, list) and not _takes_list(types.get(k)) else [v] for k, v in sweep.items()]
    for values in itertools.product(*lists):
        yield dict(zip(sweep, values, strict=True))


def _takes_list(setting_type: Any) -> bool:
    parts: Iterable[Any] = (setting_type, *typing.get_args(setting_type))
    return any(typing.get_origin(p) in {tuple, list} for p in parts)


def _expand_sweep(where: str, kind: type[Settings], sweep: Any) -> Iterator[Settings]:
    if not isinstance(sweep, dict):
        raise StudyError(f"{where}: {json.dumps(sweep)[:80]} is not a mapping of settings. Write {where}: {{...}}.")
    for settings in _setting_combinations(sweep, _types(kind)):
        yield _parse_settings(where, kind, settings)


def _parse_settings(where: str, kind: type[Settings], settings: Any) -> Settings:
    if not isinstance(settings, dict):
        raise StudyError(
            f"{where}: {format_setting(settings)[:80]} is not a mapping of settings. Write {where}: {{...}}."
        )
    types = _types(kind)
    for name in settings:
        if name not in types:
            raise UnknownNameError(f"setting of {where}", str(name), types)
    return kind(**{name: _value(f"{where}.{name}", types[name], value) for name, value in settings.items()})


def _value(where: str, setting_type: Any, value: Any) -> Any:
    """Return one validated setting; nested settings are parsed like settings, so that unknown names are errors there too."""
    is_nested = Canaries in typing.get_args(setting_type) and value is not None
    return _parse_settings(where, Canaries, value) if is_nested else validate_setting(where, setting_type, value)


@functools.cache
def _types(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)
