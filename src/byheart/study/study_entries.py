"""Entries and settings of a study file: a list in place of one value is a sweep."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from byheart.core.config import Canaries, Data, Machine, Scoring, Slurm, Training
from byheart.core.errors import SettingError, StudyError, UnknownNameError
from byheart.core.registry import Choice, choose, load_function, setting_types
from byheart.core.setting_values import parse_entry, shown_setting, validate_setting

Settings = TypeVar("Settings", Data, Training, Scoring, Machine, Canaries, Slurm)


def as_list(value: Any) -> list[Any]:
    """Return a list or tuple as a list, and any other value as a list with one item."""
    return list(value) if isinstance(value, list | tuple) else [value]


def shelf_choices(shelf: str, entries: Any) -> Iterator[Choice]:
    """Yield the choices of one entry or of a list of entries, one for every combination of swept settings."""
    for entry in as_list(entries):
        name, sweep = parse_entry(shelf, entry)
        for settings in _setting_combinations(sweep, setting_types(load_function(shelf, name))):
            yield choose(shelf, name, settings)


def observation_choices(entries: Any) -> tuple[Choice, ...]:
    """Return the choices of observations; raises `SettingError` for an observation that is set twice."""
    choices = tuple(shelf_choices("observations", entries))
    for name in (c.name for c in choices):
        if [c.name for c in choices].count(name) > 1:
            raise SettingError(f"observations {name}: set twice in one study. Remove one of the entries.")
    return choices


def entry_choices(shelf: str, entries: Any, key: str) -> Iterator[tuple[Choice, dict[str, Any]]]:
    """Yield the choices of a shelf, each with the settings that its entry has under `key` beside the name.

    `datasets` have the key `data` and `methods` the key `training`: settings of this entry only, in place of the study's.
    Raises `StudyError` for a value that is not a mapping.
    """
    for entry in as_list(entries):
        without, beside = _without_key(shelf, entry, key) if isinstance(entry, dict) else (entry, {})
        yield from ((choice, beside) for choice in shelf_choices(shelf, [without]))


def _without_key(shelf: str, entry: dict[str, Any], key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an entry without its key beside the name, and the settings under this key."""
    names = [name for name in entry if name != key]
    example = f"{key}: {{{_EXAMPLES[key]}}}"
    if len(names) != 1:
        problem = (
            f"the keys {', '.join(map(shown_setting, names))} stand beside each other"
            if names
            else "an entry has no name"
        )
        raise StudyError(f"{shelf}: {problem}. Write name: {{setting: value}}, and at most {example} beside it.")
    (name,) = names
    if isinstance(entry[name], dict) and key in entry[name]:
        raise StudyError(
            f"{shelf} {name}: {key} is not a setting of {name}. Write it beside the name: {{{name}: {{...}}, {example}}}."
        )
    beside = {} if entry.get(key) is None else entry[key]
    if not isinstance(beside, dict):
        raise StudyError(
            f"{shelf}: {key} = {shown_setting(beside)} is not a mapping of settings. Write for example {example}."
        )
    return {name: entry[name]}, beside


_EXAMPLES = {"data": "train: 1000", "training": "epochs: 3"}


def _setting_combinations(sweep: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every combination of settings: a list is a sweep, unless the setting itself is a list."""
    lists = [v if isinstance(v, list) and not _takes_list(types.get(k)) else [v] for k, v in sweep.items()]
    for name, values in zip(sweep, lists, strict=True):
        if not values:
            raise SettingError(f"{name} = []: the list is empty. List at least one value, or remove {name}.")
    for values in itertools.product(*lists):
        yield dict(zip(sweep, values, strict=True))


def _takes_list(setting_type: Any) -> bool:
    parts: Iterable[Any] = (setting_type, *typing.get_args(setting_type))
    return any(typing.get_origin(p) in {tuple, list} for p in parts)


def expand_sweep(where: str, kind: type[Settings], sweep: Any) -> Iterator[Settings]:
    """Yield the settings of every combination of swept values; raises `StudyError` and `SettingError`."""
    if not isinstance(sweep, dict):
        raise StudyError(f"{where}: {shown_setting(sweep)} is not a mapping of settings. Write {where}: {{...}}.")
    for settings in _setting_combinations(sweep, _types(kind)):
        yield parse_settings(where, kind, settings)


def parse_settings(where: str, kind: type[Settings], settings: Any) -> Settings:
    """Return validated settings; raises `StudyError`, `SettingError` and `UnknownNameError`."""
    if not isinstance(settings, dict):
        raise StudyError(f"{where}: {shown_setting(settings)} is not a mapping of settings. Write {where}: {{...}}.")
    types = _types(kind)
    for name in settings:
        if name not in types:
            raise UnknownNameError(f"setting of {where}", str(name), types)
    return kind(**{name: _value(f"{where}.{name}", types[name], value) for name, value in settings.items()})


def _value(where: str, setting_type: Any, value: Any) -> Any:
    """Return one validated setting; nested settings are parsed like settings, so that unknown names are errors there too."""
    nested = next(
        (k for k in typing.get_args(setting_type) if isinstance(k, type) and dataclasses.is_dataclass(k)), None
    )
    if nested is None or value is None:
        return validate_setting(where, setting_type, value)
    return parse_settings(where, typing.cast("type[Any]", nested), value)


@functools.cache
def _types(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)
