"""What a study sets of its cells: frozen values with their ranges and defaults, checked when a study is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Len


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a study is run: nothing here may change a result's identity, so no key sees it.

    `device` is "auto", "cpu", "cuda" or "cuda:1"; `precision` is what training computes in ("auto": bfloat16
    where the processor has it); `token_budget` bounds the padded tokens of one forward pass, which has 1,024 at most
    on a CPU.
    """

    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    token_budget: Annotated[int, Ge(1)] = 4096
    workers: Annotated[int, Ge(1)] = 1


@dataclass(frozen=True, kw_only=True)
class Training:
    """How weights are changed. `learning_rate` None means the method's own; `warmup` is a share of all steps.

    `batch_size` counts the texts of one optimiser step, `clip` is the largest gradient norm. `goldfish` is k of the
    goldfish loss: one token in k, always the same ones after the same words, is left out of the loss. `deduplicate` is the
    overlap of words (Jaccard, of five-word shingles) from which on the later of two training texts is left out; 1 for copies.
    """

    epochs: Annotated[int, Ge(1)] = 3
    batch_size: Annotated[int, Ge(1)] = 8
    learning_rate: Annotated[float, Gt(0)] | None = None
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    weight_decay: Annotated[float, Ge(0)] = 0.0
    clip: Annotated[float, Gt(0)] = 1.0
    # None, as the default of any setting added here must be: recipes written before it was there hold none.
    goldfish: Annotated[int, Ge(2)] | None = None
    deduplicate: Annotated[float, Interval(gt=0, le=1)] | None = None


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """What differentially private training is to promise each training text, as a method's settings of these names.

    `epsilon` is spent by the last epoch and sets the noise; or `noise_multiplier` (standard deviation of the noise, in
    units of `clip`) is given and `epsilon` is None. `clip` is the largest norm of one text's gradient. `delta` None
    stands for n to the power of -1.1, n being the number of training texts.
    """

    epsilon: Annotated[float, Gt(0)] | None
    noise_multiplier: Annotated[float, Gt(0)] | None
    delta: Annotated[float, Interval(gt=0, lt=1)] | None
    clip: Annotated[float, Gt(0)]


CanaryKind = Literal["random_tokens", "digits", "names", "in_distribution", "real_texts"]


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Texts that are trained on or held out by a coin each, so that what a training keeps of them can be measured.

    `count` of them, of every kind at every number of `repetitions` in turn. `coin` is the chance of being trained on,
    flipped anew for every training seed where `by_seed` says so. `references` are drawn for each kind.
    """

    count: Annotated[int, Ge(2)] = 48
    repetitions: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(1)] = (1, 4, 16)
    kinds: Annotated[tuple[CanaryKind, ...], Len(1)] = ("random_tokens", "digits", "names", "in_distribution")
    coin: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    by_seed: bool = False
    references: Annotated[int, Ge(1)] = 200


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which texts of a data set play which part.

    `train` None means all that are left (`group`) or all that are published (`published`). `members` of the training
    texts are audited. `max_tokens` counts BOS, prompt and scored text; what is longer is cut and counted. `known` texts
    of either side are known to the adversary of some attacks (shots, calibration, a population) and never audited.
    `canaries` are trained on besides.
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
    """How numbers are computed that are reported: float32 unless chosen otherwise, because it moves some attacks."""

    precision: Literal["float32", "bfloat16"] = "float32"
