"""Published values of papers, from CSV files next to a study file. They are read and checked with the study.

A line is one value. `dataset`, `metric`, `value` and `source` (the paper, with its arXiv id and table) are required, the
other columns are optional. An empty `base`, `method` or `epoch` matches every one of the study; an empty `attack` means a
number of the model. `*_settings` are written as in rows ("targets=attention"). `train_texts`, `members`, `nonmembers` and
`split` describe the paper's experiment: they are displayed next to the value and do not select rows.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byheart.core.errors import ByheartError, DataError, SettingError, UnknownNameError
from byheart.core.paths import expanded
from byheart.core.registry import default_settings, entry_names, load_function
from byheart.core.setting_values import validate_setting
from byheart.store.result_files import damaged_result_error
from byheart.store.rows import study_notes
from byheart.store.store import Store

DATA_COUNT_METRICS = ("train_texts", "member_texts", "nonmember_texts", "validation_texts")
"""Counts of a cell's data, which rows contain like metrics although the metrics shelf does not."""
RATE_METRICS = frozenset(
    {"auc", "group_auc", "tpr_at_fpr", "extraction_rate", "extraction_rate_nonmembers"},
)
"""Metrics with values between 0 and 1."""
PERPLEXITY_METRICS = frozenset({"perplexity", "train_perplexity"})
"""Metrics with values of at least 1."""
SPLITS = ("group", "published")
MAX_PERCENT = 100.0
"""A rate above 1 and up to this is probably written in percent."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_PART = re.compile(r", (?=\w+=)")


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """One published value and what it measures; checked when made. Empty or None: the paper does not report it.

    `printed` is the value as written in the file, with trailing zeros.
    """

    dataset: str
    metric: str
    value: float
    source: str
    base: str = ""
    method: str = ""
    method_settings: str = ""
    attack: str = ""
    attack_settings: str = ""
    metric_settings: str = ""
    epoch: int | None = None
    train_texts: int | None = None
    members: int | None = None
    nonmembers: int | None = None
    split: str = ""
    printed: str = ""

    def __post_init__(self) -> None:
        """Raise an error for names that are on no shelf, values out of the metric's range, and a missing source."""
        for name in ("dataset", "metric", "source"):
            if not getattr(self, name):
                raise DataError(f"{name}: is empty. Write a value.")
        for shelf, name in (
            ("datasets", self.dataset),
            ("methods", self.method),
            ("attacks", self.attack),
            ("metrics", self.metric),
        ):
            choices = (*entry_names(shelf), *(DATA_COUNT_METRICS if shelf == "metrics" else ()))
            if name and ":" not in name and name not in choices:
                raise UnknownNameError(f"{shelf} entry", name, choices)
        for shelf, name, settings in (
            ("methods", self.method, self.method_settings),
            ("attacks", self.attack, self.attack_settings),
            ("metrics", self.metric, self.metric_settings),
        ):
            _check_settings(shelf, name, settings)
        if self.split not in ("", *SPLITS):
            raise UnknownNameError("split", self.split, SPLITS)
        _check_value(self.metric, self.value)

    @property
    def identity(self) -> tuple[object, ...]:
        """What the value measures, and its source; unique among the values of a study."""
        fields = ("base", "dataset", "method", "method_settings", "attack", "attack_settings", "metric")
        return (*(getattr(self, f) for f in fields), self.metric_settings, self.epoch, self.source)


CSV_COLUMNS = tuple(f.name for f in dataclasses.fields(PublishedValue) if f.name != "printed")
"""The columns that a file may have; `REQUIRED_COLUMNS` are required."""
REQUIRED_COLUMNS = ("dataset", "metric", "value", "source")
INTEGER_COLUMNS = ("epoch", "train_texts", "members", "nonmembers")


def read_published_values(written: Any, folder: Path) -> tuple[PublishedValue, ...]:
    """Return the values of the CSV files that a study names, relative to a folder; () if it names none.

    Raises `SettingError` for a value that is not a path, and `DataError`, `SettingError` or `UnknownNameError`, with file
    and line, for a file that cannot be read and for an invalid line.
    """
    if written is None:
        return ()
    paths = validate_setting("published", list[str], list(written) if isinstance(written, list | tuple) else [written])
    locations: dict[tuple[object, ...], str] = {}
    values: list[PublishedValue] = []
    for path in paths:
        for location, value in _csv_values(folder, path):
            if value.identity in locations:
                raise DataError(f"{location}: measures the same as {locations[value.identity]}. Remove one of them.")
            locations[value.identity] = location
            values.append(value)
    return tuple(values)


def _csv_values(folder: Path, path: str) -> Iterator[tuple[str, PublishedValue]]:
    """Yield location and value of each line."""
    try:
        text = (folder / expanded(path)).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 at byte {error.start}"
        raise DataError(
            f"published {path}: {reason}. Write the path of a UTF-8 CSV file, relative to the study file."
        ) from error
    table = csv.DictReader(io.StringIO(text), strict=True)
    try:
        header = [h.strip() for h in table.fieldnames or ()]
        for name in header:
            if name not in CSV_COLUMNS:
                raise UnknownNameError(f"published {path}: column", name, CSV_COLUMNS)
        if missing := [n for n in REQUIRED_COLUMNS if n not in header]:
            raise DataError(
                f"published {path}: has no column {missing[0]}. Required columns: {', '.join(REQUIRED_COLUMNS)}."
            )
        if len(set(header)) < len(header):
            raise DataError(f"published {path}: two columns have the same name. Rename or remove one.")
        table.fieldnames = header
        number = 0
        for cells in table:
            number = table.line_num
            yield f"published {path} line {number}", _parse_line(cells, f"published {path} line {number}")
        if not number:
            raise DataError(f"published {path}: contains no value. Write one line per value.")
    except csv.Error as error:
        raise DataError(
            f"published {path} line {table.line_num}: is not valid CSV ({error}). Quote cells that contain commas."
        ) from error


def _parse_line(cells: Mapping[Any, Any], location: str) -> PublishedValue:
    if None in cells or None in cells.values():
        raise DataError(
            f"{location}: the number of cells differs from the number of columns. Quote cells that contain commas."
        )
    stripped = {name: str(cell).strip() for name, cell in cells.items()}
    try:
        integers: dict[str, Any] = {n: _parse_integer(n, stripped[n]) for n in INTEGER_COLUMNS if stripped.get(n)}
        strings = {n: cell for n, cell in stripped.items() if n not in {*INTEGER_COLUMNS, "value"}}
        return PublishedValue(**strings, **integers, value=_parse_number(stripped["value"]), printed=stripped["value"])
    except ByheartError as error:
        error.args = (f"{location}: {error}",)
        raise


def _parse_number(cell: str) -> float:
    if not _NUMBER.fullmatch(cell):
        raise DataError(f"value {cell!r}: is not a number. Write digits with a decimal point, as in 0.87.")
    return float(cell)


def _parse_integer(name: str, cell: str) -> int:
    if not re.fullmatch(r"\d+", cell):
        raise DataError(f"{name} {cell!r}: is not an integer. Write digits only, as in 1779.")
    return int(cell)


def _check_value(metric: str, value: float) -> None:
    if metric in RATE_METRICS and not 0 <= value <= 1:
        fix = f"Write {value / MAX_PERCENT:g}" if 1 < value <= MAX_PERCENT else "Correct the value"
        raise SettingError(f"value {value:g}: {metric} is between 0 and 1. {fix}.")
    if metric in PERPLEXITY_METRICS and value < 1:
        raise SettingError(f"value {value:g}: {metric} is at least 1. If it is a loss, write its exponential.")


def _check_settings(shelf: str, name: str, settings: str) -> None:
    """Raise `SettingError` for settings that are not written as in rows, `UnknownNameError` for unknown settings."""
    if not settings:
        return
    if not name or name in DATA_COUNT_METRICS:
        raise SettingError(f"{shelf} settings {settings!r}: have no {shelf} entry. Name the entry, or remove them.")
    function: Callable[..., Any] = load_function(shelf, name)
    for part in _PART.split(settings):
        setting, equals, value = part.partition("=")
        if not equals or not value:
            raise SettingError(
                f"{shelf} settings {settings!r}: are not name=value. Write name=value, separated by ', '."
            )
        if setting not in default_settings(function):
            raise UnknownNameError(f"setting of {shelf} {name}", setting, default_settings(function))


def stored_published_values(store: Store, name: str | None = None) -> tuple[PublishedValue, ...]:
    """Return the published values stored with a study, or with every study."""
    values_by_study = {n: s.get("published", []) for n, s in study_notes(store).items() if name in {None, n}}
    published: dict[PublishedValue, None] = {}  # an ordered set
    for study, values in values_by_study.items():
        try:
            published |= dict.fromkeys(PublishedValue(**v) for v in values)
        except (TypeError, ByheartError) as error:
            raise damaged_result_error(store.root / "studies" / f"{study}.json", error) from error
    return tuple(published)
