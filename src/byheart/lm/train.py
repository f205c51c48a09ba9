"""Fine-tuning: one loop for every method, told what to train by what requires a gradient and nothing else.

AdamW with warm-up and a schedule, clipping, batches of texts split by a token budget, the loss on the scored tokens
only (the mean over all of a step's). What is frozen is cast to the training precision once, not at every step. Where
nothing below the output head is trained, the trunk's hidden states are computed once and reused in every epoch.

Every epoch draws its order and its dropout from (key, epoch), so that training resumed at an epoch's border takes
the same steps as training that was never broken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy

from byheart.errors import TrainingError
from byheart.lm.forward import batches, hidden_rows, logits, remembered, trunk
from byheart.lm.load import LanguageModel
from byheart.lm.placing import device_of
from byheart.lm.tokens import Tokens
from byheart.settings import Training

if TYPE_CHECKING:
    from jaxtyping import Int

State = dict[str, torch.Tensor]
"""Trained parameters and AdamW's moments by name: all that the next epoch needs."""


@dataclass(frozen=True)
class Epoch:
    """An epoch that has ended: its number (from 1), its mean training loss (nats a token), and its state on demand."""

    number: int
    loss: float
    state: Callable[[], State]


def seed(key: str, epoch: int = 0) -> np.random.Generator:
    """Set torch's seeds from a key and an epoch, and return NumPy's generator for the same. The only place that does."""
    entropy = [int(key, 16), epoch]
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))
    return np.random.default_rng(entropy)


def trainable(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that are trained, by name, each once."""
    return {n: p for n, p in module.named_parameters() if p.requires_grad}


def keep_hidden(model: LanguageModel) -> LanguageModel:
    """Return the model, made to remember its trunk's hidden states if nothing in the trunk or before it is trained."""
    inside = {id(p) for p in trunk(model.module).parameters()}
    head = {id(p) for p in _output_head(model.module)}
    changing = trainable(model.module).values()
    fixed = all(id(p) in head and id(p) not in inside for p in changing)
    return LanguageModel(model.module, model.tokenizer, model.name, {} if fixed else None)


def _output_head(module: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    yield from module.get_output_embeddings().parameters()


def precision_of(choice: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """Return what training computes in: "auto" is bfloat16 where the processor multiplies it natively."""
    if choice != "auto":
        return getattr(torch, choice)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # Older releases of torch do not tell what the processor can do; float32 is right on any.
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def train(
    model: LanguageModel,
    tokens: Tokens,
    *,
    training: Training,
    learning_rate: float,
    key: str,
    precision: torch.dtype,
    budget: int,
    start: tuple[int, State] | None = None,
) -> Iterator[Epoch]:
    """Train and yield after every epoch, with the model then in evaluation mode and at full precision.

    `start` is an ended epoch's number and state: training goes on after it. Raises `TrainingError` for a loss or a
    gradient that is not finite, naming the step and the settings to try.
    """
    accelerator = Accelerator(cpu=device_of(model.module).type == "cpu")
    parameters = trainable(model.module)
    optimizer = torch.optim.AdamW(parameters.values(), lr=learning_rate, weight_decay=training.weight_decay, fused=True)
    if start is not None:
        _restore(parameters, optimizer, start[1])
    run = _Run(model, tokens, accelerator, precision, budget)
    if model.hidden is not None:
        # Now, while every weight still has its full precision.
        remembered(model, tokens, budget)
    steps = math.ceil(len(tokens) / training.batch_size)
    for epoch in range(1 + (start[0] if start else 0), training.epochs + 1):
        order = seed(key, epoch).permutation(len(tokens))
        total = 0.0
        with _lowered(model.module, precision):
            for step in range(steps):
                _set_rate(
                    optimizer, learning_rate * rate(training, (epoch - 1) * steps + step, training.epochs * steps)
                )
                chosen = order[step * training.batch_size : (step + 1) * training.batch_size]
                loss = run.gradients(chosen)
                norm = float(accelerator.clip_grad_norm_(parameters.values(), training.clip))
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    place = f"epoch {epoch}, step {step + 1} of {steps}"
                    raise TrainingError(_not_finite(loss, norm, place, learning_rate))
                optimizer.step()
                optimizer.zero_grad()
                total += loss * len(chosen)
        yield Epoch(epoch, total / len(tokens), lambda: _state(parameters, optimizer))
    accelerator.free_memory()


def _not_finite(loss: float, norm: float, place: str, learning_rate: float) -> str:
    what = f"training loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
    return (
        f"{what} at {place}; try learning_rate {learning_rate / 10:g} (it is {learning_rate:g}), more training.warmup, "
        "or --set machine.precision=float32"
    )


def rate(training: Training, step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a linear rise over the warm-up, then the schedule down to 0."""
    rise = round(training.warmup * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    left = (steps - step) / max(steps - rise, 1)
    return {"constant": 1.0, "linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left)}[training.schedule]


def _set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


@dataclass(frozen=True)
class _Run:
    """What stays the same from step to step."""

    model: LanguageModel
    tokens: Tokens
    accelerator: Accelerator
    precision: torch.dtype
    budget: int

    def gradients(self, chosen: Int[np.ndarray, " batch"]) -> float:
        """Set the gradients of the mean loss over these texts' scored tokens; return that loss (nats a token).

        With several processes each takes its share of the texts, and gradients are summed over all once a step.
        A wrapper that exchanges them inside the backward pass would miss a head that is trained without its trunk.
        """
        share = chosen[self.accelerator.process_index :: self.accelerator.num_processes]
        scored = int((self.tokens.lengths - self.tokens.first)[chosen].sum())
        loss = torch.zeros((), device=device_of(self.model.module))
        for part in batches(self.tokens.lengths[share], self.budget):
            mean = self._summed_loss(share[part]) / scored
            self.accelerator.backward(mean)
            loss += mean.detach()
        if self.accelerator.num_processes == 1:
            return float(loss)
        for parameter in trainable(self.model.module).values():
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = self.accelerator.reduce(own, "sum")
        return float(self.accelerator.reduce(loss, "sum"))

    def _summed_loss(self, chosen: Int[np.ndarray, " batch"]) -> torch.Tensor:
        module, device = self.model.module, device_of(self.model.module)
        places = self.tokens.places(chosen)
        true_R = torch.from_numpy(self.tokens.true[places]).to(device)
        module.train()
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            if self.model.hidden is None:
                hidden_RD = hidden_rows(module, self.tokens, chosen)
            else:
                hidden_RD = remembered(self.model, self.tokens, self.budget)[torch.from_numpy(places)].to(device)
            logits_RV = logits(module, hidden_RD)
        return cross_entropy(logits_RV, true_R, reduction="sum")


@contextmanager
def _lowered(module: torch.nn.Module, precision: torch.dtype) -> Generator[None]:
    """Hold frozen parameters at the training precision, cast once; give back the very same tensors afterwards.

    Also puts the model back into evaluation mode, which is how observers expect it.
    """
    full = {p: p.data for p in module.parameters() if not p.requires_grad and p.is_floating_point()}
    try:
        if precision != torch.float32:
            for parameter in full:
                parameter.data = parameter.data.to(precision)
        yield
    finally:
        for parameter, whole in full.items():
            parameter.data = whole
        module.eval()


def _state(parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> State:
    """Return trained parameters ("weight/NAME") and AdamW's moments ("exp_avg/NAME", ...), copied to the CPU."""
    state = {f"weight/{n}": p.detach().cpu().clone().contiguous() for n, p in parameters.items()}
    for name, parameter in parameters.items():
        for what, value in optimizer.state[parameter].items():
            state[f"{what}/{name}"] = value.detach().cpu().clone().contiguous()
    return state


def _restore(parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, state: State) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[f"weight/{name}"])
            for what in ("step", "exp_avg", "exp_avg_sq"):
                optimizer.state[parameter][what] = state[f"{what}/{name}"].to(parameter.device, copy=True)
