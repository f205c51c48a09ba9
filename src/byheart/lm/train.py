"""Fine-tuning: one training loop for every method. It trains the parameters that require a gradient.

AdamW with warm-up and a schedule, gradient clipping, and batches split by a token budget. The loss is the mean over all
scored tokens of a step. Frozen weights are cast to the training precision once, not at every step. If no parameter
below the output head is trained, the trunk's hidden states are computed once, in the training precision, and reused in
every epoch.
Private training (`dp_parameters`) samples texts, clips and adds noise in `dp_sgd.py`; the rest of the loop is the same.

Each epoch seeds its order and dropout with (key, epoch), so training resumed after an epoch takes the same steps as
uninterrupted training. A state inside an epoch contains the random generators' states for the same reason.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from accelerate import Accelerator

from byheart.core.config import Training
from byheart.core.errors import TrainingError
from byheart.lm.allocator import release_free_memory, release_scarce_memory
from byheart.lm.bfloat16 import fast_products, multiplies_bfloat16
from byheart.lm.devices import device_of
from byheart.lm.dp_sgd import PrivateGradients, private_gradients
from byheart.lm.forward import cached_hidden_states
from byheart.lm.load import LanguageModel
from byheart.lm.loss import StepLoss
from byheart.lm.preference_loss import PreferenceLoss, PreferencePairs
from byheart.lm.sharding import clip_sharded_gradients, sharded_root
from byheart.lm.tokens import Tokens
from byheart.lm.training_mode import cast_frozen_weights, eager_attention, output_head
from byheart.lm.training_state import (
    PROGRESS,
    EpochProgress,
    TrainingState,
    random_state,
    restore_state,
    set_random_state,
    training_state,
)
from byheart.lm.trunk_and_head import trunk
from byheart.stats.dp_accounting import DpSgdParameters

if TYPE_CHECKING:
    from jaxtyping import Int


@dataclass(frozen=True)
class Epoch:
    """A completed epoch or part of one: number (from 1; a fraction inside an epoch), loss, and a function that returns the state.

    The loss (nats per token) is the mean over the epoch's texts until then.
    """

    number: float
    loss: float
    state: Callable[[], TrainingState]


def seed_rngs(key: str, epoch: int = 0) -> np.random.Generator:
    """Seed torch from a key and an epoch, and return a NumPy generator with the same seed. No other code seeds training."""
    entropy = [int(key, 16), epoch]
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))
    return np.random.default_rng(entropy)


def trainable_parameters(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the trained parameters by name; shared parameters appear once."""
    return {n: p for n, p in module.named_parameters() if p.requires_grad}


def with_hidden_cache(model: LanguageModel) -> LanguageModel:
    """Return the model with a hidden-state cache if no parameter in or before the trunk is trained."""
    trunk_ids = {id(p) for p in trunk(model.module).parameters()}
    head_ids = {id(p) for p in output_head(model.module)}
    trained = trainable_parameters(model.module).values()
    is_only_head_trained = all(id(p) in head_ids and id(p) not in trunk_ids for p in trained)
    return LanguageModel(model.module, model.tokenizer, model.name, {} if is_only_head_trained else None)


def training_dtype(choice: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """Return the training precision: "auto" is bfloat16 if the processor multiplies it natively, else float32."""
    if choice != "auto":
        return getattr(torch, choice)
    return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32


def train(  # noqa: PLR0913 - all parameters besides model and tokens are keywords
    model: LanguageModel,
    tokens: Tokens,
    *,
    training: Training,
    learning_rate: float,
    key: str,
    precision: torch.dtype,
    budget: int,
    inside_epochs: Mapping[int, float] = MappingProxyType({}),
    resume_from: tuple[float, TrainingState] | None = None,
    dp_parameters: DpSgdParameters | None = None,
    pairs: PreferencePairs | None = None,
) -> Iterator[Epoch]:
    """Train the model and yield after every epoch; the model is then in evaluation mode and at full precision.

    Yields inside epochs too, after the optimizer steps in `inside_epochs` (from 1, over all epochs), which has the number
    of each as a fraction of epochs. This does not change the trained weights: the same steps with the same random
    numbers follow. `resume_from` is the number and the state of an epoch that was yielded: this epoch is yielded again, with a
    loss of nan, and the next ones follow. With `dp_parameters` training is private and ignores `training.clip`. With `pairs`,
    `tokens` are the chosen responses, and the loss is that of DPO.
    Raises `TrainingError` for a loss or gradient norm that is not finite; the message contains the step and the settings to change.
    """
    accelerator = Accelerator(cpu=device_of(model.module).type == "cpu")
    parameters = trainable_parameters(model.module)
    optimizer = torch.optim.AdamW(parameters.values(), lr=learning_rate, weight_decay=training.weight_decay, fused=True)
    step_loss = (
        StepLoss(model, tokens, accelerator, precision, budget, training.goldfish)
        if pairs is None
        else PreferenceLoss(model, tokens, accelerator, precision, budget, pairs)
    )
    parts = (tokens,) if pairs is None else (tokens, pairs.rejected)
    longest = max(int(part.lengths.max()) for part in parts)
    private = private_gradients(optimizer, dp_parameters, step_loss) if dp_parameters else None
    if model.hidden is not None:
        # Cached before an epoch switches to eager attention: scoring must read the same hidden states.
        for part in parts:
            cached_hidden_states(model, part, budget, precision)
    trainer = _Trainer(training, learning_rate, optimizer, step_loss, private)
    done, start = resume_from or (0, {})
    if start:
        restore_state(parameters, optimizer, start)
        model.module.eval()
        yield Epoch(done, math.nan, lambda: training_state(parameters, optimizer))
    for epoch in range(math.floor(done) + 1, training.epochs + 1):
        step_batches = trainer.step_batches(seed_rngs(key, epoch))
        is_inside = epoch == math.floor(done) + 1 and PROGRESS in start
        progress = _resume_inside_epoch(start, step_batches, private) if is_inside else EpochProgress()
        before = (epoch - 1) * trainer.steps
        stops = sorted(s - before for s in inside_epochs if before + progress.steps < s < before + trainer.steps)
        for stop in (*stops, trainer.steps):
            release_scarce_memory()
            with (
                cast_frozen_weights(model, precision),
                eager_attention(model.module, precision, longest),
                fast_products(device_of(model.module), precision),
            ):
                for batch in itertools.islice(step_batches, stop - progress.steps):
                    progress = trainer.take_step(batch, epoch, progress)
                    release_scarce_memory()
            if stop == trainer.steps:
                yield Epoch(epoch, progress.mean_loss, lambda: training_state(parameters, optimizer))
                continue
            # The observer may draw random numbers; training continues with its own.
            inside = {PROGRESS: progress.as_tensor(), **random_state(model.module, private)}
            yield Epoch(
                inside_epochs[before + stop],
                progress.mean_loss,
                lambda inside=inside: {**training_state(parameters, optimizer), **inside},
            )
            set_random_state(inside, private)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    release_free_memory()  # after an epoch only if memory is scarce: the next epoch would page these blocks in again


def _resume_inside_epoch(
    start: TrainingState, step_batches: Iterator[Int[np.ndarray, " batch"]], private: PrivateGradients | None
) -> EpochProgress:
    """Return the stored progress of an epoch, after repeating its draws of batches and restoring the random generators."""
    progress = EpochProgress.from_tensor(start[PROGRESS])
    collections.deque(itertools.islice(step_batches, progress.steps), maxlen=0)
    set_random_state(start, private)
    return progress


@dataclass(frozen=True)
class _Trainer:
    """Takes optimizer steps; `learning_rate` is the maximum of the schedule."""

    training: Training
    learning_rate: float
    optimizer: torch.optim.Optimizer
    step_loss: StepLoss | PreferenceLoss
    private: PrivateGradients | None

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        return math.ceil(len(self.step_loss.tokens) / self.training.batch_size)

    def step_batches(self, rng: np.random.Generator) -> Iterator[Int[np.ndarray, " batch"]]:
        """Return the texts of each step of an epoch."""
        if self.private is not None:
            return self.private.sampled_batches(rng)
        return _consecutive_batches(rng.permutation(len(self.step_loss.tokens)), self.training.batch_size)

    def take_step(self, batch: Int[np.ndarray, " batch"], epoch: int, progress: EpochProgress) -> EpochProgress:
        """Take a step on these texts and return the epoch's progress; raises `TrainingError` as `train` does."""
        factor = learning_rate_factor(
            self.training, (epoch - 1) * self.steps + progress.steps, self.training.epochs * self.steps
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * factor
        if self.private is not None:
            loss, norm = self.private.gradients(batch, self.step_loss.gradients)
        else:
            loss = self.step_loss.gradients(batch)
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            norm = self._clip(parameters)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            step = f"epoch {epoch}, step {progress.steps + 1} of {self.steps}"
            raise TrainingError(_not_finite_message(loss, norm, step, self.learning_rate))
        self.optimizer.step()
        self.optimizer.zero_grad()
        return progress.after(loss, len(batch))

    def _clip(self, parameters: list[torch.nn.Parameter]) -> float:
        """Clip the gradients and return their norm before."""
        if sharded_root(self.step_loss.model.module) is not None:
            return clip_sharded_gradients(parameters, self.training.clip)
        return float(self.step_loss.accelerator.clip_grad_norm_(parameters, self.training.clip))


def _consecutive_batches(order: Int[np.ndarray, " texts"], size: int) -> Iterator[Int[np.ndarray, " batch"]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _not_finite_message(loss: float, norm: float, step: str, learning_rate: float) -> str:
    problem = f"training loss is {loss}" if not math.isfinite(loss) else f"gradient norm is {norm}"
    return (
        f"{step}: {problem}. Try learning_rate {learning_rate / 10:g} (now {learning_rate:g}), more training.warmup, "
        "or --set machine.precision=float32."
    )


def learning_rate_factor(training: Training, step: int, steps: int) -> float:
    """Return the learning rate at a step as a fraction of the maximum: linear warm-up, then the schedule down to 0."""
    warmup_steps = round(training.warmup * steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    remaining = (steps - step) / max(steps - warmup_steps, 1)
    return {"constant": 1.0, "linear": remaining, "cosine": 0.5 - 0.5 * math.cos(math.pi * remaining)}[
        training.schedule
    ]
