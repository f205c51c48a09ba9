"""Fine-tuning: one training loop for every method. It trains the parameters that require a gradient.

AdamW with warm-up and a schedule, gradient clipping, and batches split by a token budget. The loss is the mean over all
scored tokens of a step. Frozen weights are cast to the training precision once, not at every step. If no parameter
below the output head is trained, the trunk's hidden states are computed once, in the training precision, and reused in
every epoch.
Private training (`dp_parameters`) samples texts, clips and adds noise in `dp_sgd.py`; the rest of the loop is the same.

Each epoch seeds its order and dropout with (key, epoch), so training resumed after an epoch takes the same steps as
uninterrupted training.
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
from byheart.lm.forward import cached_hidden_states
from byheart.lm.load import LanguageModel
from byheart.lm.loss import StepLoss
from byheart.lm.placement import device_of
from byheart.lm.tokens import Tokens
from byheart.lm.trunk_and_head import causal_lm, trunk
from byheart.stats.dp_accounting import DpSgdParameters

if TYPE_CHECKING:
    from jaxtyping import Int

MAX_EAGER_TOKENS = 384
"""Maximum text length (tokens) at which eager attention is faster than fused attention in bfloat16 on a CPU."""

TrainingState = dict[str, torch.Tensor]
"""Trained parameters and AdamW's moments by name: the complete state for the next epoch."""


@dataclass(frozen=True)
class Epoch:
    """A completed epoch: number (from 1), mean training loss (nats per token), and a function that returns the state."""

    number: int
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
    head_ids = {id(p) for p in _output_head(model.module)}
    trained = trainable_parameters(model.module).values()
    is_only_head_trained = all(id(p) in head_ids and id(p) not in trunk_ids for p in trained)
    return LanguageModel(model.module, model.tokenizer, model.name, {} if is_only_head_trained else None)


def _output_head(module: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    yield from module.get_output_embeddings().parameters()


def training_dtype(choice: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """Return the training precision: "auto" is bfloat16 if the processor multiplies it natively, else float32."""
    if choice != "auto":
        return getattr(torch, choice)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # Older torch releases do not report the CPU's capabilities; float32 works on every CPU.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else torch.float32


def train(  # noqa: PLR0913 - all parameters besides model and tokens are keywords
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
    """Train the model and yield after every epoch; the model is then in evaluation mode and at full precision.

    `resume_from` is a completed epoch's number and state; training continues with the next epoch. With `dp_parameters`
    training is private and ignores `training.clip`. Raises `TrainingError` for a loss or gradient norm that is not
    finite; the message contains the step and the settings to change.
    """
    accelerator = Accelerator(cpu=device_of(model.module).type == "cpu")
    parameters = trainable_parameters(model.module)
    optimizer = torch.optim.AdamW(parameters.values(), lr=learning_rate, weight_decay=training.weight_decay, fused=True)
    if resume_from is not None:
        _restore_state(parameters, optimizer, resume_from[1])
    step_loss = StepLoss(model, tokens, accelerator, precision, budget, training.goldfish)
    private = PrivateGradients(optimizer, dp_parameters, len(tokens)) if dp_parameters else None
    if model.hidden is not None:
        # Cached before an epoch switches to eager attention: scoring must read the same hidden states.
        cached_hidden_states(model, tokens, budget, precision)
    steps = math.ceil(len(tokens) / training.batch_size)
    for epoch in range(1 + (resume_from[0] if resume_from else 0), training.epochs + 1):
        rng = seed_rngs(key, epoch)
        step_batches = (
            private.sampled_batches(rng)
            if private
            else _consecutive_batches(rng.permutation(len(tokens)), training.batch_size)
        )
        total, text_count = 0.0, 0
        with (
            _cast_frozen_weights(model, precision),
            _eager_attention(model.module, precision, int(tokens.lengths.max())),
        ):
            for step, batch in enumerate(step_batches):
                _set_rate(
                    optimizer,
                    learning_rate * learning_rate_factor(training, (epoch - 1) * steps + step, training.epochs * steps),
                )
                if private:
                    loss, norm = private.gradients(batch, step_loss.gradients)
                else:
                    loss = step_loss.gradients(batch)
                    norm = float(accelerator.clip_grad_norm_(parameters.values(), training.clip))
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise TrainingError(
                        _not_finite_message(loss, norm, f"epoch {epoch}, step {step + 1} of {steps}", learning_rate)
                    )
                optimizer.step()
                optimizer.zero_grad()
                total, text_count = total + loss * len(batch), text_count + len(batch)
        yield Epoch(epoch, total / max(text_count, 1), lambda: _training_state(parameters, optimizer))
    accelerator.free_memory()
    release_free_memory()  # not after each epoch: the next epoch reuses these blocks and would page them in again


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


def _set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


@contextmanager
def _cast_frozen_weights(model: LanguageModel, precision: torch.dtype) -> Generator[None]:
    """Cast frozen parameters to the training precision once; restore the original tensors on exit.

    A trunk with cached hidden states does not run and is not cast. Adapters stay in float32; peft's casting of their
    inputs is disabled, because autocast would cast them back. On exit the model is in evaluation mode, as observations
    require.
    """
    module = model.module
    parameters = module.parameters() if model.hidden is None else _output_head(module)
    full_precision = {p: p.data for p in parameters if not p.requires_grad and p.is_floating_point()}
    try:
        if precision != torch.float32:
            for parameter in full_precision:
                parameter.data = parameter.data.to(precision)
        with disable_input_dtype_casting(module, precision != torch.float32):
            yield
    finally:
        for parameter, weights in full_precision.items():
            parameter.data = weights
        module.eval()


@contextmanager
def _eager_attention(module: torch.nn.Module, precision: torch.dtype, longest_text: int) -> Generator[None]:
    """Use eager attention while short texts train in bfloat16 on a CPU, where fused attention's backward pass takes twice as long.

    Scoring between epochs uses the model's configured attention.
    """
    causal_model: Any = causal_lm(module)
    is_fused = getattr(causal_model.config, "_attn_implementation", None) == "sdpa"
    is_eager = (
        is_fused
        and precision == torch.bfloat16
        and device_of(module).type == "cpu"
        and longest_text <= MAX_EAGER_TOKENS
    )
    if is_eager:
        causal_model.set_attn_implementation("eager")
    try:
        yield
    finally:
        if is_eager:
            causal_model.set_attn_implementation("sdpa")


def _training_state(parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> TrainingState:
    """Return trained parameters ("weight/NAME") and AdamW's moments ("exp_avg/NAME", ...), copied to the CPU."""
    state = {f"weight/{n}": p.detach().cpu().clone().contiguous() for n, p in parameters.items()}
    for name, parameter in parameters.items():
        for moment, value in optimizer.state[parameter].items():
            state[f"{moment}/{name}"] = value.detach().cpu().clone().contiguous()
    return state


def _restore_state(
    parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[f"weight/{name}"])
            for moment in ("step", "exp_avg", "exp_avg_sq"):
                optimizer.state[parameter][moment] = state[f"{moment}/{name}"].to(parameter.device, copy=True)
