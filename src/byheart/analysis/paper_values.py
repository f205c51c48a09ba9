"""Values that papers print, from small CSV files beside a study's file: read and checked once, with the study.

A line is one value: `dataset`, `metric`, `value` and `source` (the paper, with its arXiv id and table) are always said,
the rest where the paper says it. An empty cell of `base`, `method` or `epoch` stands for whatever was run here, an empty
`attack` for a number of the model itself. `*_settings` are written as in rows ("targets=attention"). What is known of how
the paper came by the value (`train_texts`, `members`, `nonmembers`, `split`) picks no number of ours: it is told beside it.
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
from byheart.core.registry import default_settings, entry_names, load_function, validate_setting
from byheart.store.rows import study_notes
from byheart.store.store import Store, damaged_result_error

DATA_COUNT_METRICS = ("train_texts", "member_texts", "nonmember_texts", "validation_texts")
"""What is counted of a cell's data, which is no metric of the shelf and stands in rows like one."""
RATE_METRICS = frozenset(
    {"auc", "group_auc", "tpr_at_fpr", "extraction_rate", "extraction_rate_nonmembers"},
)
"""Metrics that lie between 0 and 1."""
PERPLEXITY_METRICS = frozenset({"perplexity", "train_perplexity"})
"""Metrics that are never below 1."""
SPLITS = ("group", "published")
MAX_PERCENT = 100.0
"""A share above 1 and up to this may have been meant in per cent."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_PART = re.compile(r", (?=\w+=)")


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """One value that a paper prints, with what it is of; checked when made. Empty and None: the paper does not say.

    `printed` is the value as it stands in the file, its last zeros too.
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
        """Refuse names that are on no shelf, values that the metric cannot have, and a value without its source."""
        for name in ("dataset", "metric", "source"):
            if not getattr(self, name):
                raise DataError(f"{name} is empty; write it")
        for shelf, name in (
            ("datasets", self.dataset),
            ("methods", self.method),
            ("attacks", self.attack),
            ("metrics", self.metric),
        ):
            known = (*entry_names(shelf), *(DATA_COUNT_METRICS if shelf == "metrics" else ()))
            if name and ":" not in name and name not in known:
                raise UnknownNameError(f"{shelf} entry", name, known)
        for shelf, name, told in (
            ("methods", self.method, self.method_settings),
            ("attacks", self.attack, self.attack_settings),
            ("metrics", self.metric, self.metric_settings),
        ):
            _check_settings(shelf, name, told)
        if self.split not in ("", *SPLITS):
            raise UnknownNameError("split", self.split, SPLITS)
        _check_value(self.metric, self.value)

    @property
    def identity(self) -> tuple[object, ...]:
        """What the value is of: no two of one source are of the same."""
        told = ("base", "dataset", "method", "method_settings", "attack", "attack_settings", "metric")
        return (*(getattr(self, n) for n in told), self.metric_settings, self.epoch, self.source)


CSV_COLUMNS = tuple(f.name for f in dataclasses.fields(PublishedValue) if f.name != "printed")
"""The columns that a file may have; those of `dataset`, `metric`, `value` and `source` it must have."""
REQUIRED_COLUMNS = ("dataset", "metric", "value", "source")
INTEGER_COLUMNS = ("epoch", "train_texts", "members", "nonmembers")


def read_published_values(written: Any, folder: Path) -> tuple[PublishedValue, ...]:
    """Return the values of the files that a study names, whose paths begin at a folder; () where it names none.

    Raises `SettingError` for what is no path, `DataError` and `UnknownNameError`, in one line with file and line, for a
    file that cannot be read and for a line that cannot be right.
    """
    if written is None:
        return ()
    paths = validate_setting("published", list[str], list(written) if isinstance(written, list | tuple) else [written])
    found: dict[tuple[object, ...], str] = {}
    values: list[PublishedValue] = []
    for path in paths:
        for place, value in _csv_values(folder, path):
            if value.identity in found:
                raise DataError(f"{place} is of the same as {found[value.identity]}; leave one of them out")
            found[value.identity] = place
            values.append(value)
    return tuple(values)


def _csv_values(folder: Path, path: str) -> Iterator[tuple[str, PublishedValue]]:
    """Yield each line's place and value."""
    try:
        text = (folder / Path(path).expanduser()).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"not UTF-8 at byte {error.start}"
        raise DataError(f"published {path}: {why}; write the path from the study's file to a CSV file") from error
    table = csv.DictReader(io.StringIO(text), strict=True)
    try:
        header = [h.strip() for h in table.fieldnames or ()]
        for name in header:
            if name not in CSV_COLUMNS:
                raise UnknownNameError(f"published {path}: column", name, CSV_COLUMNS)
        if absent := [n for n in REQUIRED_COLUMNS if n not in header]:
            raise DataError(f"published {path}: has no column {absent[0]}; it needs {', '.join(REQUIRED_COLUMNS)}")
        if len(set(header)) < len(header):
            raise DataError(f"published {path}: a column is named twice; rename or remove one")
        table.fieldnames = header
        number = 0
        for cells in table:
            number = table.line_num
            yield f"published {path} line {number}", _parse_line(cells, f"published {path} line {number}")
        if not number:
            raise DataError(f"published {path}: holds no value; write a line for each")
    except csv.Error as error:
        raise DataError(
            f"published {path} line {table.line_num}: is no CSV ({error}); quote cells with commas"
        ) from error


def _parse_line(cells: Mapping[Any, Any], location: str) -> PublishedValue:
    if None in cells or None in cells.values():
        raise DataError(f"{location}: has other cells than the header has columns; quote cells with commas")
    told = {name: str(cell).strip() for name, cell in cells.items()}
    try:
        whole: dict[str, Any] = {n: _parse_integer(n, told[n]) for n in INTEGER_COLUMNS if told.get(n)}
        words = {n: cell for n, cell in told.items() if n not in {*INTEGER_COLUMNS, "value"}}
        return PublishedValue(**words, **whole, value=_parse_number(told["value"]), printed=told["value"])
    except ByheartError as error:
        error.args = (f"{location}: {error}",)
        raise


def _parse_number(cell: str) -> float:
    if not _NUMBER.fullmatch(cell):
        raise DataError(f"value {cell!r} is no number; write digits with a point, as in 0.87")
    return float(cell)


def _parse_integer(name: str, cell: str) -> int:
    if not re.fullmatch(r"\d+", cell):
        raise DataError(f"{name} {cell!r} is no whole number; write digits alone, as in 1779")
    return int(cell)


def _check_value(metric: str, value: float) -> None:
    if metric in RATE_METRICS and not 0 <= value <= 1:
        mend = f"write {value / MAX_PERCENT:g}" if 1 < value <= MAX_PERCENT else "mend it"
        raise SettingError(f"value {value:g}: {metric} lies between 0 and 1; {mend}")
    if metric in PERPLEXITY_METRICS and value < 1:
        raise SettingError(f"value {value:g}: {metric} is never below 1; is it a loss? write its exponential")


def _check_settings(shelf: str, name: str, settings: str) -> None:
    """Raise `SettingError` for settings that are not written as in rows, `UnknownNameError` for ones that there are not."""
    if not settings:
        return
    if not name or name in DATA_COUNT_METRICS:
        raise SettingError(f"{shelf} settings {settings!r}: of nothing; name what they are settings of")
    known: Callable[..., Any] = load_function(shelf, name)
    for part in _PART.split(settings):
        setting, equals, value = part.partition("=")
        if not equals or not value:
            raise SettingError(f"{shelf} settings {settings!r}: write name=value, with ', ' between several")
        if setting not in default_settings(known):
            raise UnknownNameError(f"setting of {shelf} {name}", setting, default_settings(known))


def stored_published_values(store: Store, name: str | None = None) -> tuple[PublishedValue, ...]:
    """Return the values of papers that a study, or every study, is to stand beside, as they were read with it."""
    noted = {n: s.get("published", []) for n, s in study_notes(store).items() if name in {None, n}}
    found: dict[PublishedValue, None] = {}
    for study, values in noted.items():
        try:
            found |= dict.fromkeys(PublishedValue(**v) for v in values)
        except (TypeError, ByheartError) as error:
            raise damaged_result_error(store.root / "studies" / f"{study}.json", error) from error
    return tuple(found)
