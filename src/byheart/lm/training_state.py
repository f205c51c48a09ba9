"""State of training: trained parameters, AdamW's moments, and inside an epoch its progress and random generators."""

from __future__ import annotations

from typing import NamedTuple

import torch

from byheart.lm.devices import device_of
from byheart.lm.dp_sgd import PrivateGradients
from byheart.lm.sharding import placed_as, whole_on_cpu

TrainingState = dict[str, torch.Tensor]
"""Trained parameters and AdamW's moments by name: the complete state for the next epoch.

Inside an epoch, also the epoch's progress and the states of the random generators.
"""

PROGRESS = "progress"


class EpochProgress(NamedTuple):
    """Steps of an epoch that are done, the sum of their texts' losses (nats per token), and the number of these texts."""

    steps: int = 0
    total_loss: float = 0.0
    texts: int = 0

    @property
    def mean_loss(self) -> float:
        """Mean loss of the texts (nats per token)."""
        return self.total_loss / max(self.texts, 1)

    def after(self, loss: float, texts: int) -> EpochProgress:
        """Return the progress after one more step with this mean loss over its texts."""
        return EpochProgress(self.steps + 1, self.total_loss + loss * texts, self.texts + texts)

    def as_tensor(self) -> torch.Tensor:
        """Return the progress as a tensor that is stored."""
        return torch.tensor(self, dtype=torch.float64)

    @classmethod
    def from_tensor(cls, stored: torch.Tensor) -> EpochProgress:
        """Return the progress of a stored tensor."""
        steps, total_loss, texts = stored.tolist()
        return cls(int(steps), total_loss, int(texts))


def random_state(module: torch.nn.Module, private: PrivateGradients | None) -> TrainingState:
    """Return the states of the generators that training draws from: dropout, and the noise of private training."""
    device = device_of(module)
    state = {"random/cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["random/cuda"] = torch.cuda.get_rng_state(device)
    return state if private is None else {**state, "random/noise": private.noise_rng.get_state()}


def set_random_state(state: TrainingState, private: PrivateGradients | None) -> None:
    """Set the generators that training draws from to a stored state."""
    torch.set_rng_state(state["random/cpu"])
    if "random/cuda" in state:
        torch.cuda.set_rng_state(state["random/cuda"])
    if private is not None:
        private.noise_rng.set_state(state["random/noise"])


def training_state(parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> TrainingState:
    """Return trained parameters ("weight/NAME") and AdamW's moments ("exp_avg/NAME", ...) on the CPU.

    Tensors on the CPU share memory with the model, and the next step changes them: copies would take three times the memory of the
    trained weights while a state is written. Sharded ones are gathered, one at a time, and are complete in the first process only.
    """
    state = {f"weight/{n}": whole_on_cpu(p) for n, p in parameters.items()}
    for name, parameter in parameters.items():
        for moment, value in optimizer.state[parameter].items():
            state[f"{moment}/{name}"] = whole_on_cpu(value)
    return state


def restore_state(
    parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Set trained parameters and AdamW's moments to a stored state; that of the last epoch has no moments."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(placed_as(state[f"weight/{name}"], parameter))
            if f"step/{name}" not in state:
                continue
            optimizer.state[parameter]["step"] = state[f"step/{name}"].to(parameter.device, copy=True)
            for moment in ("exp_avg", "exp_avg_sq"):
                optimizer.state[parameter][moment] = placed_as(state[f"{moment}/{name}"], parameter)
