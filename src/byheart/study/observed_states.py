"""States of a cell's model that are observed: the base model, the initialized method, and states during training."""

from __future__ import annotations

import math
from typing import NamedTuple

from byheart.core.config import Training


class ModelState(NamedTuple):
    """A state of a cell's model: the epochs of training behind it, a fraction inside an epoch.

    Epoch 0 is the base model, or if `initialized`, the method before its first step. Methods whose initialized model gives
    the outputs of the base model (`STARTS_AT_BASE`) are not observed there.
    """

    epoch: float
    initialized: bool = False

    @property
    def label(self) -> str:
        """Name of the state in progress messages."""
        return "initialized method" if self.initialized else f"epoch {self.epoch:g}"


BASE = ModelState(0)
INITIALIZED = ModelState(0, initialized=True)


def epochs_by_step(training: Training, texts: int) -> dict[int, float]:
    """Return the observed epochs by their number of optimizer steps, in order; the last epoch is always among them.

    An epoch is rounded to the nearest whole step, at least one. Of several epochs with the same step, a whole one or the
    first counts. Whole epochs are `int`.
    """
    steps = steps_per_epoch(training, texts)
    epochs = range(1, training.epochs + 1) if training.observe is None else (*training.observe, training.epochs)
    by_step: dict[int, float] = {}
    for epoch in sorted(epochs):
        step = max(1, round(epoch * steps))
        by_step.setdefault(step, step // steps if step % steps == 0 else epoch)
    return by_step


def steps_per_epoch(training: Training, texts: int) -> int:
    """Return the optimizer steps of an epoch over this number of training texts."""
    return math.ceil(texts / training.batch_size)
