"""Settings of a study's cells: frozen values with ranges and defaults, checked when a study is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Len


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a study is run. Nothing here changes a result's identity, so no key contains it.

    `device` is "auto", "cpu", "cuda" or "cuda:1". `precision` is the number format of training ("auto": bfloat16 if the
    processor supports it). `token_budget` is the maximum number of padded tokens per forward pass (at most 1,024 on a CPU).
    """

    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    token_budget: Annotated[int, Ge(1)] = 4096
    workers: Annotated[int, Ge(1)] = 1


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training settings. `learning_rate` None means the method's default; `warmup` is a share of all steps.

    `batch_size` is the number of texts per optimizer step; `clip` is the maximum gradient norm. `goldfish` is k of the
    goldfish loss, which omits one token in k from the loss, always the same one after the same context. `deduplicate` is a
    Jaccard similarity of five-word shingles: of two training texts at or above it, the later one is removed (1: exact copies).
    """

    epochs: Annotated[int, Ge(1)] = 3
    batch_size: Annotated[int, Ge(1)] = 8
    learning_rate: Annotated[float, Gt(0)] | None = None
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    weight_decay: Annotated[float, Ge(0)] = 0.0
    clip: Annotated[float, Gt(0)] = 1.0
    # None, as the default of any setting added here must be: older recipes do not contain the setting.
    goldfish: Annotated[int, Ge(2)] | None = None
    deduplicate: Annotated[float, Interval(gt=0, le=1)] | None = None


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """Privacy guarantee of differentially private training for each training text, from a method's settings of these names.

    Either `epsilon`, which is spent by the last epoch, sets the noise, or `noise_multiplier` (standard deviation of the
    noise, in units of `clip`) does; the other is None. `clip` is the maximum norm of one text's gradient. `delta` None
    means n to the power of -1.1, with n training texts.
    """

    epsilon: Annotated[float, Gt(0)] | None
    noise_multiplier: Annotated[float, Gt(0)] | None
    delta: Annotated[float, Interval(gt=0, lt=1)] | None
    clip: Annotated[float, Gt(0)]


CanaryKind = Literal["random_tokens", "digits", "names", "in_distribution", "real_texts"]


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Synthetic texts that a coin includes in the training data or holds out, to measure their memorization.

    `count` canaries cycle through every kind at every number of `repetitions`. `coin` is the probability that a canary is
    trained on; `by_seed` flips a new coin for each training seed. `references` is the number of reference canaries per kind.
    """

    count: Annotated[int, Ge(2)] = 48
    repetitions: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(1)] = (1, 4, 16)
    kinds: Annotated[tuple[CanaryKind, ...], Len(1)] = ("random_tokens", "digits", "names", "in_distribution")
    coin: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    by_seed: bool = False
    references: Annotated[int, Ge(1)] = 200


@dataclass(frozen=True, kw_only=True)
class Data:
    """Split of a data set into training, audited, validation and known records.

    `train` None means all remaining records (`group`) or all published training records (`published`). `members` is the
    number of audited training records. `max_tokens` counts BOS, prompt and scored text; longer records are truncated and
    counted. `known` is the number of members and of non-members that the adversary of some attacks knows (shots,
    calibration, a population); these are never audited. `canaries` are trained on in addition.
    """

    train: Annotated[int, Ge(1)] | None = None
    members: Annotated[int, Ge(2)] = 200
    nonmembers: Annotated[int, Ge(2)] = 200
    validation: Annotated[int, Ge(1)] = 100
    known: Annotated[int, Ge(0)] = 0
    split: Literal["group", "published"] = "group"
    near_duplicate: Annotated[float, Interval(gt=0, le=1)] = 0.8
    max_tokens: Annotated[int, Ge(2)] = 512
    seed: Annotated[int, Ge(0)] = 0
    canaries: Canaries | None = None


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Precision of the scoring pass: float32 by default, because bfloat16 changes the scores of some attacks."""

    precision: Literal["float32", "bfloat16"] = "float32"
