"""Display names and reading order of methods, attacks, data sets and base models, for all tables, figures and reports.

`DisplayNames` gives each entry the shortest unique name. The name includes settings only if the same method (attack, data
set) occurs with several settings. Two entries never share a name, so no table or figure mixes them.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byheart.analysis.known_labels import ATTACK_LABELS, DATASET_LABELS, FALLBACK_COLORS, METHOD_STYLES, METRIC_LABELS
from byheart.analysis.row_values import split_settings
from byheart.core.adversary import adversary_order
from byheart.core.row import adversary_label
from byheart.core.types import Row

Key = tuple[str, ...]


BASE_LABEL = "base model"
"""Label of the base model, epoch 0."""


@dataclass(frozen=True)
class DisplayNames:
    """Display names of the methods, the attacks, the data sets or the base models, in reading order.

    `key` returns a row's key in `names`. `shared_settings` has, by display name, the non-default settings that all entries of
    that name share; no name includes them.
    """

    key: Callable[[Row], Key]
    names: Mapping[Key, str]
    shared_settings: Mapping[str, str]

    def __call__(self, row: Row) -> str:
        """Return the display name for a row."""
        return self.names[self.key(row)]

    def split(self, rows: Iterable[Row]) -> dict[str, list[Row]]:
        """Return the rows by name, in reading order, without names that have no row."""
        by_key: defaultdict[Key, list[Row]] = defaultdict(list)
        for row in rows:
            by_key[self.key(row)].append(row)
        return {name: by_key[key] for key, name in self.names.items() if key in by_key}


def variants(rows: Sequence[Row]) -> DisplayNames:
    """Name the trained model: the method, with the settings of method and training in which its cells differ."""
    return _display_names(
        rows, lambda r: (r.method, r.method_settings, r.training_settings), method_name, tuple(METHOD_STYLES)
    )


def series(rows: Sequence[Row]) -> DisplayNames:
    """Name the trained model and its measurement: as `variants`, with the settings of attack and metric."""
    return _display_names(
        rows,
        lambda r: (r.method, r.method_settings, r.training_settings, r.attack_settings, r.metric_settings),
        method_name,
        tuple(METHOD_STYLES),
    )


def attacks(rows: Sequence[Row], *, of_metrics: bool = True) -> DisplayNames:
    """Name the attack, with the settings of attack and metric in which its rows differ, grouped by adversary.

    The weakest adversary comes first. The name includes the adversary only if the same attack occurs with several. Without
    `of_metrics`, rows that differ only in the settings of their metric have one name.
    """
    adversaries: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        adversaries[row.attack].add(adversary_label(row))

    def key(row: Row) -> Key:
        label = adversary_label(row) if len(adversaries[row.attack]) > 1 else ""
        return row.attack, row.attack_settings, row.metric_settings if of_metrics else "", label

    by_key = {key(r): adversary_order(adversary_label(r)) for r in rows}
    return _display_names(rows, key, attack_name, tuple(ATTACK_LABELS), by_key.__getitem__)


def adversaries(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of attacks by what their adversary must have, the weakest adversary first."""
    by_label: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_label[adversary_label(row)].append(row)
    return {label: by_label[label] for label in sorted(by_label, key=adversary_order)}


def datasets(rows: Sequence[Row]) -> DisplayNames:
    """Name the data set."""
    return _display_names(rows, lambda r: (r.dataset, r.dataset_settings), dataset_name, ())


def bases(rows: Sequence[Row]) -> DisplayNames:
    """Name the base model by the last part of its address; smallest first if rows of full fine-tuning give the sizes."""
    sizes = {r.base: r.value for r in rows if r.method == "full" and r.metric == "trained_parameters"}
    by_size = tuple(sorted(sizes, key=lambda base: (sizes[base], base)))
    return _display_names(rows, lambda r: (r.base,), base_name, by_size)


def panels(rows: Sequence[Row]) -> DisplayNames:
    """Name the panel of a figure: the data set, with the base model if there are several."""
    dataset_names, base_names = datasets(rows), bases(rows)
    present = {(r.dataset, r.dataset_settings, r.base) for r in rows}
    names = {
        (*dataset, *base): f"{dataset_label} · {base_label}" if len(base_names.names) > 1 else dataset_label
        for dataset, dataset_label in dataset_names.names.items()
        for base, base_label in base_names.names.items()
        if (*dataset, *base) in present
    }
    return DisplayNames(lambda r: (r.dataset, r.dataset_settings, r.base), names, dataset_names.shared_settings)


def method_name(method: str) -> str:
    """Return a method's display name."""
    return METHOD_STYLES[method][0] if method in METHOD_STYLES else _underscores_to_spaces(method)


def attack_name(attack: str) -> str:
    """Return an attack's display name."""
    return ATTACK_LABELS.get(attack) or _underscores_to_spaces(attack)


def dataset_name(dataset: str) -> str:
    """Return a data set's display name."""
    return DATASET_LABELS.get(dataset) or _underscores_to_spaces(dataset)


def metric_name(metric: str) -> str:
    """Return a metric's display name."""
    return METRIC_LABELS.get(metric) or _underscores_to_spaces(metric)


def base_name(base: str) -> str:
    """Return the last part of a base model's address, without the suffix .gguf."""
    return re.split(r"[/\\]", base.rstrip("/\\"))[-1].removesuffix(".gguf") or base


def method_color(method: str) -> str:
    """Return the method's color, the same in every figure; an unknown method gets one of FALLBACK_COLORS by its name."""
    return (
        METHOD_STYLES[method][1]
        if method in METHOD_STYLES
        else FALLBACK_COLORS[zlib.crc32(method.encode()) % len(FALLBACK_COLORS)]
    )


def _display_names(
    rows: Iterable[Row],
    key: Callable[[Row], Key],
    display_name: Callable[[str], str],
    known_order: Key,
    group_order: Callable[[Key], Any] = lambda _: 0,
) -> DisplayNames:
    def order(k: Key) -> tuple[Any, ...]:
        position = known_order.index(k[0]) if k[0] in known_order else len(known_order)
        return group_order(k), position, _natural_sort_key(" ".join(k))

    settings_of = {k: split_settings(*k[1:]) for k in sorted({key(r) for r in rows}, key=order)}
    shared: dict[str, list[str]] = {}
    for (thing, *_), settings in settings_of.items():
        shared[thing] = [s for s in shared.get(thing, settings) if s in settings]
    short_names = {
        k: " ".join([display_name(k[0]), ", ".join(s for s in settings if s not in shared[k[0]])]).strip()
        for k, settings in settings_of.items()
    }
    uses = Counter(short_names.values())
    unique_names = {k: name if uses[name] == 1 else " | ".join(k) for k, name in short_names.items()}
    # A control character in a name would break the XML of a picture, or control a terminal.
    names = {k: "".join(c if c.isprintable() else " " for c in name) for k, name in unique_names.items()}
    return DisplayNames(
        key, names, {display_name(thing): ", ".join(settings) for thing, settings in shared.items() if settings}
    )


def _natural_sort_key(text: str) -> list[tuple[int, str]]:
    # rank=4 before rank=16, and a number before a word.
    return [(int(p), "") if p.isdecimal() else (2**63, p.lower()) for p in re.split(r"(\d+)", text) if p]


def _underscores_to_spaces(name: str) -> str:
    return name.replace("_", " ")


def attack_label(row: Row) -> str:
    """Return a row's attack with its non-default settings, as the scores of an evaluation name it."""
    return f"{row.attack}({row.attack_settings})" if row.attack_settings else row.attack
