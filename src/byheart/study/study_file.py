"""A study file becomes a `Study`: pure, and every refusal names the file, the key and the choices.

A list where one value is expected is a sweep: `lora: {rank: [4, 16]}` is two methods, `seeds: [0, 1]` doubles the cells.
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
    """One model to be trained and attacked: exactly what can change its weights, and whom it is audited on."""

    base: str
    dataset: Choice
    data: Data
    method: Choice
    training: Training
    seed: int

    @property
    def label(self) -> str:
        """A line that tells this cell from the others of a study."""
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
    """What is to be trained, with what it is attacked, and how it is measured and shown.

    `tables` and `figures` are those that the report shows; empty for all that have something to show. `observations`
    are those with settings of their own: what is observed is what attacks and metrics ask for. `published` are values of
    papers that are to stand beside ours. `written` is the content that it was read from, `command` what runs it again
    ("" where it is no file's).
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
    """Return a base model's name without where it lies: the last part of a path or an id, without its ending."""
    return base.rstrip("/").rpartition("/")[2].removesuffix(".gguf")


def non_default_settings(values: Data | Training | Scoring) -> str:
    """Return the settings that differ from their defaults, as "name=value, ..."."""
    pairs = ((f.name, getattr(values, f.name), f.default) for f in dataclasses.fields(values))
    return ", ".join(f"{n}={format_setting(_without_defaults(v))}" for n, v, default in pairs if v != default)


def _without_defaults(value: Any) -> Any:
    """Return settings within settings as those of them that differ from their defaults."""
    if not isinstance(value, Canaries):
        return value
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if getattr(value, f.name) != f.default}


def read_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Return the study of a file, with `key.key=value` overrides.

    Raises `StudyError`, `UnknownNameError` or `SettingError` in one line that begins with the file.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    # YAML 1.2: 1e-4 is a number and `no` is a word, unlike in YAML 1.1.
    yaml = YAML(typ="safe", pure=True)
    try:
        written = yaml.load(path.read_text(encoding="utf-8"))
        values = written if isinstance(written, dict) else {}
        for written_so in overrides:
            apply_override(values, written_so, yaml)
    except OSError as error:
        raise StudyError(
            f"study {path}: {error.strerror}; name a study file such as studies/quickstart.yaml"
        ) from error
    except UnicodeDecodeError as error:
        raise StudyError(f"study {path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except YAMLError as error:
        raise StudyError(f"study {path}: {_yaml_error_text(error)}") from error
    try:
        if not isinstance(written, dict):
            raise StudyError("is not a mapping; write `name: ...`, `methods: [...]`, ...")
        whole = parse_study(values, default_name=path.stem, folder=path.parent)
        return dataclasses.replace(whole, command=rerun_command(path, overrides))
    except ByheartError as error:
        # The same kind of error, with the file that the reader must open.
        error.args = (f"study {path}: {error}",)
        raise


def _yaml_error_text(error: Exception) -> str:
    """Say where a file stops being YAML, and why."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return f"is not YAML ({' '.join(str(error).split())})"
    return f"line {mark.line + 1}: {' '.join(problem.split())}; write a mapping of YAML, `name: ...`, `methods: [...]`"


def parse_study(values: Mapping[str, Any], *, default_name: str = "study", folder: Path = Path()) -> Study:
    """Return the study that a mapping describes (a study file's content); paths of published values begin at `folder`.

    Raises `StudyError`, `UnknownNameError` or `SettingError`.
    """
    for key in values:
        if key not in _KEYS:
            raise UnknownNameError("key", str(key), _KEYS)
    name = validate_setting("name", str, values.get("name", default_name))
    if not name or not all(c.isalnum() or c in "-_." for c in name):
        raise SettingError(f"name = {name!r}: use letters, digits, '-', '_' and '.'")
    data = values.get("data") or {}
    if not isinstance(data, dict):
        raise StudyError(f"data: write settings, such as data: {{train: 1000}}, not {data!r}")
    cells = _without_duplicates(
        Cell(base, dataset, sizes, method, training, seed)
        for base in _list(values.get("models") or default_base())
        for dataset, own in _datasets(values.get("datasets", ["records"]))
        for sizes in _expand_sweep("data", Data, {**data, **own})
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
    """Return cells without those that a sweep or a list names twice."""
    return tuple({(c.base, c.dataset.key, c.data, c.method.key, c.training, c.seed): c for c in cells}.values())


def _check_cells(cells: Sequence[Cell]) -> None:
    if not cells:
        raise StudyError("nothing to train: models, datasets, methods and seeds need one entry each")
    for cell in cells:
        validate_setting("models", str, cell.base)
        audited, known, trained = cell.data.members, cell.data.known, cell.data.train
        if trained is not None and audited + known > trained:
            also = f" and data.known = {known}" if known else ""
            raise SettingError(
                f"data.members = {audited}{also}: only {trained} texts are trained on (data.train); ask for as many or fewer"
            )


def _machine(given: Any) -> Machine:
    machine = _parse_settings("machine", Machine, given)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", machine.device):
        raise SettingError(f"machine.device = {machine.device!r}: write auto, cpu, cuda or cuda:1")
    return machine


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _choices(shelf: str, written: Any) -> Iterator[Choice]:
    for item in _list(written):
        name, given = parse_entry(shelf, item)
        for settings in _setting_combinations(given, setting_types(load_function(shelf, name))):
            yield choose(shelf, name, settings)


def _observations(written: Any) -> tuple[Choice, ...]:
    chosen = tuple(_choices("observations", written))
    for name in (c.name for c in chosen):
        if [c.name for c in chosen].count(name) > 1:
            raise SettingError(f"observations {name}: is set twice; one study observes it one way")
    return chosen


def _datasets(written: Any) -> Iterator[tuple[Choice, dict[str, Any]]]:
    """Yield data sets, each with the sizes of its own that stand beside its name under `data`."""
    for item in _list(written):
        own = item.get("data") or {} if isinstance(item, dict) else {}
        bare = {k: v for k, v in item.items() if k != "data"} if isinstance(item, dict) else item
        if not isinstance(own, dict):
            raise StudyError(f"datasets: data beside a name holds settings such as {{train: 1000}}, not {own!r}")
        yield from ((choice, own) for choice in _choices("datasets", bare))


def _setting_combinations(given: Mapping[str, Any], declared: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every combination of settings: a list is a sweep, unless the setting itself is a list."""
    lists = [v if isinstance(v, list) and not _takes_list(declared.get(k)) else [v] for k, v in given.items()]
    for values in itertools.product(*lists):
        yield dict(zip(given, values, strict=True))


def _takes_list(declared: Any) -> bool:
    parts: Iterable[Any] = (declared, *typing.get_args(declared))
    return any(typing.get_origin(p) in {tuple, list} for p in parts)


def _expand_sweep(where: str, kind: type[Settings], given: Any) -> Iterator[Settings]:
    if not isinstance(given, dict):
        raise StudyError(f"{where}: write settings, such as {where}: {{...}}, not {json.dumps(given)[:80]}")
    for settings in _setting_combinations(given, _types(kind)):
        yield _parse_settings(where, kind, settings)


def _parse_settings(where: str, kind: type[Settings], given: Any) -> Settings:
    if not isinstance(given, dict):
        raise StudyError(f"{where}: write settings, such as {where}: {{...}}, not {format_setting(given)[:80]}")
    declared = _types(kind)
    for name in given:
        if name not in declared:
            raise UnknownNameError(f"setting of {where}", str(name), declared)
    return kind(**{n: _value(f"{where}.{n}", declared[n], v) for n, v in given.items()})


def _value(where: str, declared: Any, given: Any) -> Any:
    """Return one setting; settings within settings are read as settings are, so that a wrong name is told there too."""
    nested = Canaries in typing.get_args(declared) and given is not None
    return _parse_settings(where, Canaries, given) if nested else validate_setting(where, declared, given)


@functools.cache
def _types(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)
