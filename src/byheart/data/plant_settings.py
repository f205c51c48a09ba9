"""Settings of planting canaries in anybody's data."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Len

from byheart.core.errors import SettingError
from byheart.core.setting_values import validate_setting
from byheart.stats.epsilon_bounds import check_delta

Kind = Literal["random_tokens", "digits", "names", "in_distribution", "real_texts", "high_perplexity", "synthetic"]
WRITTEN_KINDS = ("high_perplexity", "synthetic")
"""Kinds that the base model writes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantSettings:
    """Settings of planting: every kind at every number of `repetitions` in turn.

    `references` are other samples of each kind with a format. `guesses` (None: half) of the coins of the canaries with the fewest
    repetitions will be guessed for the lower bound on epsilon at `delta`. `written_tokens` is the length of what the base model
    writes: at `temperature` (`synthetic`), or from the `least_likely` share of its tokens (`high_perplexity`).
    """

    count: Annotated[int, Interval(ge=2, le=1_000_000)] = 1000
    repetitions: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(1)] = (1, 4, 16)
    kinds: Annotated[tuple[Kind, ...], Len(1)] = ("random_tokens", "digits", "names", "in_distribution")
    references: Annotated[int, Interval(ge=1, le=1_000_000)] = 200
    guesses: Annotated[int, Ge(1)] | None = None
    delta: float = 1e-5
    near_duplicate: Annotated[float, Interval(gt=0, le=1)] = 0.8
    written_tokens: Annotated[int, Interval(ge=4, le=100_000)] = 32
    temperature: Annotated[float, Gt(0)] = 1.2
    least_likely: Annotated[float, Interval(gt=0, le=1)] = 0.1

    def __post_init__(self) -> None:
        """Raise `SettingError` for values out of range or named twice, `DataError` for a delta outside (0, 1)."""
        for name, declared in typing.get_type_hints(type(self), include_extras=True).items():
            object.__setattr__(self, name, validate_setting(f"canaries.{name}", declared, getattr(self, name)))
        check_delta(self.delta)
        for name in ("kinds", "repetitions"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise SettingError(f"canaries.{name}: {', '.join(map(str, values))}. Write each value once.")
        least = len(self.kinds) * len(self.repetitions)
        if self.count < least:
            raise SettingError(
                f"canaries.count = {self.count}: every kind at every number of repetitions requires {least} canaries. "
                f"Write {least} or more, or name fewer kinds or repetitions."
            )
