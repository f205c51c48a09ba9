"""Fine-tuning: one loop for every method, told what to train by what requires a gradient and nothing else.

AdamW with warm-up and a schedule, clipping, batches of texts split by a token budget, the loss on the scored tokens
only (the mean over all of a step's). What is frozen is cast to the training precision once, not at every step. Where
nothing below the output head is trained, the trunk's hidden states are computed once, in the training precision, and
reused in every epoch.
Private training (`spending`) draws its texts, clips and adds noise in `private.py`; all else is the same loop.

Every epoch draws its order and its dropout from (key, epoch), so that training resumed at an epoch's border takes
the same steps as training that was never broken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from peft.helpers import disable_input_dtype_casting

from byheart.core.config import Training
from byheart.core.errors import TrainingError
from byheart.lm.allocator import release_free_memory
from byheart.lm.dp_sgd import PrivateGradients
from byheart.lm.forward import cached_hidden_states, causal_lm, trunk
from byheart.lm.load import LanguageModel
from byheart.lm.loss import StepLoss
from byheart.lm.placement import device_of
from byheart.lm.tokens import Tokens
from byheart.stats.dp_accounting import DpSgdParameters

if TYPE_CHECKING:
    from jaxtyping import Int

MAX_EAGER_TOKENS = 384
"""Tokens of a text up to which plain products are faster than fused attention, in bfloat16 on a CPU."""

TrainingState = dict[str, torch.Tensor]
"""Trained parameters and AdamW's moments by name: all that the next epoch needs."""


@dataclass(frozen=True)
class Epoch:
    """An epoch that has ended: its number (from 1), its mean training loss (nats a token), and its state on demand."""

    number: int
    loss: float
    state: Callable[[], TrainingState]


def seed_rngs(key: str, epoch: int = 0) -> np.random.Generator:
    """Set torch's seeds from a key and an epoch, and return NumPy's generator for the same. The only place that does."""
    entropy = [int(key, 16), epoch]
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))
    return np.random.default_rng(entropy)


def trainable_parameters(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that are trained, by name, each once."""
    return {n: p for n, p in module.named_parameters() if p.requires_grad}


def with_hidden_cache(model: LanguageModel) -> LanguageModel:
    """Return the model, made to remember its trunk's hidden states if nothing in the trunk or before it is trained."""
    inside = {id(p) for p in trunk(model.module).parameters()}
    head = {id(p) for p in _output_head(model.module)}
    changing = trainable_parameters(model.module).values()
    fixed = all(id(p) in head and id(p) not in inside for p in changing)
    return LanguageModel(model.module, model.tokenizer, model.name, {} if fixed else None)


def _output_head(module: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    yield from module.get_output_embeddings().parameters()


def training_dtype(choice: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """Return what training computes in: "auto" is bfloat16 where the processor multiplies it natively."""
    if choice != "auto":
        return getattr(torch, choice)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # Older releases of torch do not tell what the processor can do; float32 is right on any.
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def train(  # noqa: PLR0913 - what it takes besides model and tokens comes in by keyword
    model: LanguageModel,
    tokens: Tokens,
    *,
    training: Training,
    learning_rate: float,
    key: str,
    precision: torch.dtype,
    budget: int,
    resume_from: tuple[int, TrainingState] | None = None,
    dp_parameters: DpSgdParameters | None = None,
) -> Iterator[Epoch]:
    """Train and yield after every epoch, with the model then in evaluation mode and at full precision.

    `start` is an ended epoch's number and state: training goes on after it. With `spending` training is private:
    `training.clip` says nothing then. Raises `TrainingError` for a loss or a gradient that is not finite, naming the
    step and the settings to try.
    """
    accelerator = Accelerator(cpu=device_of(model.module).type == "cpu")
    parameters = trainable_parameters(model.module)
    optimizer = torch.optim.AdamW(parameters.values(), lr=learning_rate, weight_decay=training.weight_decay, fused=True)
    if resume_from is not None:
        _restore_state(parameters, optimizer, resume_from[1])
    loss_of = StepLoss(model, tokens, accelerator, precision, budget, training.goldfish)
    private = PrivateGradients(optimizer, dp_parameters, len(tokens)) if dp_parameters else None
    if model.hidden is not None:
        # Before an epoch has the model attend by plain products: these are the states of a pass that scores.
        cached_hidden_states(model, tokens, budget, precision)
    steps = math.ceil(len(tokens) / training.batch_size)
    for epoch in range(1 + (resume_from[0] if resume_from else 0), training.epochs + 1):
        chance = seed_rngs(key, epoch)
        drawn = (
            private.sampled_batches(chance)
            if private
            else _consecutive_batches(chance.permutation(len(tokens)), training.batch_size)
        )
        total, seen = 0.0, 0
        with (
            _cast_frozen_weights(model, precision),
            _eager_attention(model.module, precision, int(tokens.lengths.max())),
        ):
            for step, chosen in enumerate(drawn):
                _set_rate(
                    optimizer,
                    learning_rate * learning_rate_factor(training, (epoch - 1) * steps + step, training.epochs * steps),
                )
                if private:
                    loss, norm = private.gradients(chosen, loss_of.gradients)
                else:
                    loss = loss_of.gradients(chosen)
                    norm = float(accelerator.clip_grad_norm_(parameters.values(), training.clip))
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    place = f"epoch {epoch}, step {step + 1} of {steps}"
                    raise TrainingError(_not_finite_message(loss, norm, place, learning_rate))
                optimizer.step()
                optimizer.zero_grad()
                total, seen = total + loss * len(chosen), seen + len(chosen)
        yield Epoch(epoch, total / max(seen, 1), lambda: _training_state(parameters, optimizer))
    accelerator.free_memory()
    release_free_memory()  # not after each epoch: the next takes the same blocks, and would have them paged in again


def _consecutive_batches(order: Int[np.ndarray, " texts"], size: int) -> Iterator[Int[np.ndarray, " batch"]]:
    for at in range(0, len(order), size):
        yield order[at : at + size]


def _not_finite_message(loss: float, norm: float, place: str, learning_rate: float) -> str:
    what = f"training loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
    return (
        f"{what} at {place}; try learning_rate {learning_rate / 10:g} (it is {learning_rate:g}), more training.warmup, "
        "or --set machine.precision=float32"
    )


def learning_rate_factor(training: Training, step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a linear rise over the warm-up, then the schedule down to 0."""
    rise = round(training.warmup * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    left = (steps - step) / max(steps - rise, 1)
    return {"constant": 1.0, "linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left)}[training.schedule]


def _set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


@contextmanager
def _cast_frozen_weights(model: LanguageModel, precision: torch.dtype) -> Generator[None]:
    """Hold frozen parameters at the training precision, cast once; give back the very same tensors afterwards.

    A trunk whose states are kept is not passed and stays as it is. Adapters keep float32 weights, which peft would cast
    their inputs to, only for autocast to cast them back. Also puts the model back into evaluation mode, which is how
    observers expect it.
    """
    module = model.module
    used = module.parameters() if model.hidden is None else _output_head(module)
    full = {p: p.data for p in used if not p.requires_grad and p.is_floating_point()}
    try:
        if precision != torch.float32:
            for parameter in full:
                parameter.data = parameter.data.to(precision)
        with disable_input_dtype_casting(module, precision != torch.float32):
            yield
    finally:
        for parameter, whole in full.items():
            parameter.data = whole
        module.eval()


@contextmanager
def _eager_attention(module: torch.nn.Module, precision: torch.dtype, longest: int) -> Generator[None]:
    """Attend by plain products while short texts train in bfloat16 on a CPU: backwards, fused attention takes twice as long.

    What is scored in between is scored by the model's own attention.
    """
    whole: Any = causal_lm(module)
    fused = getattr(whole.config, "_attn_implementation", None) == "sdpa"
    plain = fused and precision == torch.bfloat16 and device_of(module).type == "cpu" and longest <= MAX_EAGER_TOKENS
    if plain:
        whole.set_attn_implementation("eager")
    try:
        yield
    finally:
        if plain:
            whole.set_attn_implementation("sdpa")


def _training_state(parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> TrainingState:
    """Return trained parameters ("weight/NAME") and AdamW's moments ("exp_avg/NAME", ...), copied to the CPU."""
    state = {f"weight/{n}": p.detach().cpu().clone().contiguous() for n, p in parameters.items()}
    for name, parameter in parameters.items():
        for what, value in optimizer.state[parameter].items():
            state[f"{what}/{name}"] = value.detach().cpu().clone().contiguous()
    return state


def _restore_state(
    parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[f"weight/{name}"])
            for what in ("step", "exp_avg", "exp_avg_sq"):
                optimizer.state[parameter][what] = state[f"{what}/{name}"].to(parameter.device, copy=True)
