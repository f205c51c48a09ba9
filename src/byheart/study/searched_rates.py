"""The setting `learning_rate: search` of a study's training: the rates to try, and the choice among them.

A comparison of methods at one rate each, mostly the first that was tried, compares rates as much as methods: leakage grows
with the rate. So each method gets the rate with the lowest perplexity on texts that no attack reads (Dodge, Gururangan, Card,
Schwartz, Smith, Show Your Work, EMNLP 2019, arXiv 1909.03004: report the search with the result).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from annotated_types import Gt, Len

from byheart.core.errors import SettingError
from byheart.core.registry import Choice
from byheart.core.row import build_row
from byheart.core.setting_values import shown_setting, validate_setting
from byheart.core.types import Estimate, Row
from byheart.stats.dp_accounting import privacy_settings

HALF_DECADES = 2
"""Half decades below and above a method's default rate that are tried, and that extend a grid whose best rate is its end."""


class TriedRate(NamedTuple):
    """A tried learning rate and its perplexity on `texts` selection texts, with interval; None if the training diverged."""

    rate: float
    perplexity: float | None
    low: float | None
    high: float | None
    texts: int


@dataclass(frozen=True)
class LearningRateSearch:
    """Search of one method's learning rate: the rates to try, whether the grid may be extended once, and the training seed."""

    rates: tuple[float, ...]
    is_extended: bool
    seed: int

    def extension(self, tried: Sequence[TriedRate]) -> tuple[float, ...]:
        """Return further rates to try after all of `rates`: beyond the end that is best; () if the best is not an end."""
        best = best_rate(tried)
        if not self.is_extended or best is None:
            return ()
        ends = {max(self.rates): range(1, HALF_DECADES + 1), min(self.rates): range(-HALF_DECADES, 0)}
        return tuple(half_decades_from(best.rate, n) for n in ends.get(best.rate, ()))


def best_rate(tried: Sequence[TriedRate]) -> TriedRate | None:
    """Return the rate with the lowest perplexity, the lower rate of equal ones; None if every training diverged."""
    finite = [t for t in tried if t.perplexity is not None]
    return min(finite, key=lambda t: (t.perplexity, t.rate), default=None)


def is_end_of_grid(rate: float, tried: Sequence[TriedRate]) -> bool:
    """Whether no lower rate, or no higher rate, was tried."""
    return rate in {min(t.rate for t in tried), max(t.rate for t in tried)}


def search_rows(tried: Sequence[TriedRate], chosen: float, labels: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rows of a search: the perplexity at each tried rate, the rates that diverged, and whether an end was chosen."""
    for rate, perplexity, low, high, texts in tried:
        label = f"rate={rate:g}"
        if perplexity is None:
            yield build_row(labels, None, "learning_rate_diverged", Estimate(rate), label=label)
        else:
            estimate = Estimate(perplexity, low, high, None, texts)
            yield build_row(labels, None, "learning_rate_search", estimate, label=label)
    if tried:
        is_end = is_end_of_grid(chosen, tried)
        yield build_row(labels, None, "learning_rate_at_end", Estimate(float(is_end)))


def half_decades_from(rate: float, number: int) -> float:
    """Return the rate a number of half decades above: 1, 3, 10, 30, ... times a power of ten, else two significant digits."""
    half_decade = round(2 * math.log10(rate))
    if math.isclose(_round_rate(half_decade), rate, rel_tol=1e-9):
        return _round_rate(half_decade + number)
    return float(f"{rate * 10 ** (number / 2):.1e}")


def _round_rate(half_decade: int) -> float:
    return float(f"{3 if half_decade % 2 else 1}e{half_decade // 2}")


def split_search(training: Any) -> tuple[Any, tuple[float, ...] | None]:
    """Return the training settings without a search, and its rates: () for the default grid, None without a search.

    Raises `SettingError` for a word or a mapping that is not `search` or `{search: [rate, rate, ...]}`.
    """
    value = training.get("learning_rate") if isinstance(training, Mapping) else None
    words = value if isinstance(value, list) else [value]
    if not any(isinstance(word, str | Mapping) for word in words):
        return training, None
    without = {n: v for n, v in training.items() if n != "learning_rate"}
    if value == "search":
        return without, ()
    if not isinstance(value, Mapping) or list(value) != ["search"]:
        raise SettingError(
            f"training.learning_rate = {shown_setting(value)}: neither a rate nor a search. Write a number, "
            "learning_rate: search, or learning_rate: {search: [1e-4, 3e-4, 1e-3]}."
        )
    declared = Annotated[tuple[Annotated[float, Gt(0)], ...], Len(2)]
    rates = validate_setting("training.learning_rate.search", declared, value["search"])
    return without, tuple(sorted(set(rates)))


def search_of(method: Choice, rates: tuple[float, ...] | None, *, seed: int) -> LearningRateSearch | None:
    """Return the search of a method's rate; None without a search, and for a method entry that sets its own rate.

    Raises `SettingError` for a method without the setting `learning_rate`, and for private training: its accountant counts
    one training, and a choice among several trainings reveals more (Nicolas Papernot, Thomas Steinke, Hyperparameter Tuning
    with Renyi Differential Privacy, ICLR 2022, arXiv 2110.03620).
    """
    if rates is None or "learning_rate" in method.explicit_settings:
        return None
    default = method.defaults.get("learning_rate")
    if not isinstance(default, float | int):
        raise SettingError(
            f"methods {method.name}: has no setting learning_rate, so training.learning_rate = search cannot set it. "
            "Add the setting to the method, or write training.learning_rate as a number."
        )
    if privacy_settings(method) is not None:
        raise SettingError(
            f"methods {method.name}: the accountant does not count a search of the learning rate of private training. "
            f"Write the rate: {method.name}: {{learning_rate: {default:g}}}."
        )
    around = (half_decades_from(default, n) for n in range(-HALF_DECADES, HALF_DECADES + 1))
    return LearningRateSearch(rates or tuple(around), is_extended=not rates, seed=seed)
