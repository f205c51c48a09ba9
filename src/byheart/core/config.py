"""Settings of a study's cells: frozen values with ranges and defaults, checked when a study is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Len

from byheart.core.errors import SettingError

Executor = Literal["local", "ray", "slurm"]
"""Names of the executors, which run the tasks of a study."""


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """Settings of Slurm jobs, which have the names of `sbatch`; None is the cluster's default.

    `minutes` is the time limit of a job, which is queued again when it ends. `cluster: local` runs the jobs as processes
    of this machine.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    partition: str | None = None
    account: str | None = None
    gres: str | None = None
    minutes: Annotated[int, Ge(1)] = 1440


@dataclass(frozen=True, kw_only=True)
class BaseFormat:
    """Number format of a base model's weights in a study: how they are scored, and trained on while they are frozen.

    With `quantize`, bitsandbytes stores the weights of linear layers in 4 bits (NF4) or 8 bits; all other weights have the
    `base_precision`. Both change results, so they are in the keys.
    """

    base_precision: Literal["float32", "bfloat16", "float16"] = "float32"
    quantize: Literal[4, 8] | None = None

    @property
    def non_default(self) -> dict[str, str | int]:
        """The settings that differ from their defaults: {} for a base model in float32."""
        return {n: v for n, v in vars(self).items() if v not in {"float32", None}}


FLOAT32_BASE = BaseFormat()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a study is run. No key contains these settings, except `base_precision` and `quantize`, which change results.

    `shard` is the number of processes of a launch that share the weights of one model.

    `device` is "auto", "cpu", "cuda" or "cuda:1". `precision` is the number format of training ("auto": bfloat16 if the
    processor supports it). `base_precision` is the number format in which the base model is kept and scored ("auto": float32), and
    `quantize` the number of bits of its linear layers. `token_budget` is the maximum number of padded tokens per forward pass
    (at most 1,024 on a CPU).

    `executor` is where `workers` run: as processes of this machine, on Ray, or as Slurm jobs (docs/scale.md). `ray_address` is
    "auto" or the HOST:PORT of a cluster; None starts Ray on this machine. A task or job on a cluster has `task_cpus` cores,
    `task_gpus` GPUs (None: one if Ray has any) and `task_memory_gb` GiB (None: the cluster's default).
    """

    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    base_precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantize: Literal[4, 8] | None = None
    shard: Annotated[int, Interval(ge=1, le=1024)] = 1
    token_budget: Annotated[int, Ge(1)] = 4096
    workers: Annotated[int, Interval(ge=1, le=1024)] = 1
    executor: Executor = "local"
    ray_address: str | None = None
    task_cpus: Annotated[int, Ge(1)] = 1
    task_gpus: Annotated[float, Ge(0)] | None = None
    task_memory_gb: Annotated[float, Gt(0)] | None = None
    slurm: Slurm | None = None

    @property
    def base_format(self) -> BaseFormat:
        """Number format of the base models."""
        precision = "float32" if self.base_precision == "auto" else self.base_precision
        return BaseFormat(base_precision=precision, quantize=self.quantize)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training settings. `learning_rate` None means the method's default; `warmup` is a share of all steps.

    A study file may write `learning_rate: search`: for each method, the rate with the lowest perplexity after the last epoch is
    chosen among five around its default, or among `{search: [1e-4, 3e-4, 1e-3]}`, on half of the validation texts.
    `batch_size` is the number of texts per optimizer step; `clip` is the maximum gradient norm. `goldfish` is k of the
    goldfish loss, which omits one token in k from the loss, always the same one after the same context. `deduplicate` is a
    similarity of texts, as `near_duplicate` but without containment: of two training texts at or above it, the later one is removed
    (1: the same words).
    `objective` is what training minimizes: None is the mean loss of the scored tokens, `dpo` is Direct Preference Optimization
    on pairs of a chosen and a rejected response (`byheart.lm.preference_loss`), with `beta` (None: 0.1).
    `observe` lists the epochs after which the model is observed; 0.25 is a quarter of the first epoch, rounded to whole
    optimizer steps. The last epoch is always observed. None means every epoch. It does not change the trained weights.
    """

    epochs: Annotated[int, Interval(ge=1, le=100_000)] = 3
    batch_size: Annotated[int, Ge(1)] = 8
    learning_rate: Annotated[float, Gt(0)] | None = None
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    weight_decay: Annotated[float, Ge(0)] = 0.0
    clip: Annotated[float, Gt(0)] = 1.0
    # None, as the default of any setting added here must be: older recipes do not contain the setting.
    goldfish: Annotated[int, Ge(2)] | None = None
    deduplicate: Annotated[float, Interval(gt=0, le=1)] | None = None
    observe: tuple[Annotated[float, Gt(0)], ...] | None = None
    objective: Literal["dpo"] | None = None
    beta: Annotated[float, Gt(0)] | None = None

    def __post_init__(self) -> None:
        """Raise `SettingError` for an observed epoch after the last one, and for settings that the objective does not use."""
        if self.objective is None and self.beta is not None:
            raise SettingError(
                "training.beta: only the objective dpo uses it. Set training.objective to dpo, or remove beta."
            )
        if self.objective == "dpo" and self.goldfish is not None:
            raise SettingError(
                "training.goldfish: it omits tokens of the text loss, which dpo does not use. Remove goldfish or objective."
            )
        if late := [e for e in self.observe or () if e > self.epochs]:
            raise SettingError(
                f"training.observe = {late[0]:g}: is after the last epoch, {self.epochs}. "
                f"Write {self.epochs} or less, or raise training.epochs."
            )


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


Tokenization = Literal["joined", "apart"]
"""How a prompt and its completion are tokenized: as one string, or separately."""


@dataclass(frozen=True, kw_only=True)
class TokenFormat:
    """How a text becomes tokens. With `end_token`, every text that is not truncated ends with an end token."""

    end_token: bool = False
    tokenization: Tokenization = "joined"


DEFAULT_TOKEN_FORMAT = TokenFormat()


CanaryKind = Literal["random_tokens", "digits", "names", "in_distribution", "real_texts"]


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Synthetic texts that a coin includes in the training data or holds out, to measure their memorization.

    `count` canaries cycle through every kind at every number of `repetitions`. `coin` is the probability that a canary is
    trained on; `by_seed` flips a new coin for each training seed. `references` is the number of reference canaries per kind.
    """

    count: Annotated[int, Interval(ge=2, le=1_000_000)] = 48
    repetitions: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(1)] = (1, 4, 16)
    kinds: Annotated[tuple[CanaryKind, ...], Len(1)] = ("random_tokens", "digits", "names", "in_distribution")
    coin: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    by_seed: bool = False
    references: Annotated[int, Interval(ge=1, le=1_000_000)] = 200


@dataclass(frozen=True, kw_only=True)
class Data:
    """Split of a data set into training, audited, validation and known records.

    `train` None means all remaining records (`group`) or all published training records (`published`). `members` is the
    number of audited training records. `max_tokens` counts BOS, prompt and scored text; longer records are truncated and
    counted. `known` is the number of members and of non-members that the adversary of some attacks knows (shots,
    calibration, a population); these are never audited. `canaries` are trained on in addition. `end_token` trains and scores
    an end token after every text that is not truncated: the tokenizer's EOS, or the chat template's end of a turn.
    `tokenization` is how a prompt and its completion are tokenized: as one string, as trainers do, or apart.
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
    end_token: bool = False
    tokenization: Tokenization = "joined"

    @property
    def token_format(self) -> TokenFormat:
        """How the texts become tokens."""
        return TokenFormat(end_token=self.end_token, tokenization=self.tokenization)


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Precision of the scoring pass: float32 by default, because bfloat16 changes the scores of some attacks."""

    precision: Literal["float32", "bfloat16"] = "float32"
