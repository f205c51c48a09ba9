"""Batch sizes: texts per trunk pass, rows per head pass, and rows per reduction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int

from byheart.lm.allocator import release_scarce_memory
from byheart.lm.devices import device_of
from byheart.lm.load import LanguageModel

BatchResult = TypeVar("BatchResult")

LOGITS_PER_BLOCK = 1 << 24
"""Maximum logits per head pass (64 MiB in float32): enough rows that reading the head's weights costs little."""

LOGITS_PER_CPU_REDUCTION = 1 << 20
"""Maximum logits per reduction on a CPU: they stay in the CPU's cache during the reduction."""

CPU_BATCH_TOKENS = 1024
"""Maximum padded tokens of a batch on a CPU: the activations of more tokens exceed the CPU's cache."""

CPU_BATCH_OVERHEAD = 64
"""Cost of one more batch in a step on a CPU (padded tokens). On a GPU the cost equals a complete batch."""


def batches(
    lengths: Int[np.ndarray, " texts"], budget: int, classes: Int[np.ndarray, " texts"] | None = None
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Yield indices of texts, longest first, in batches with padded tokens (longest x texts) within the budget.

    A text longer than the budget is a batch of its own. Texts of different `classes` (ordered by length) share no batch.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        batch = order[start : start + max(1, budget // int(lengths[order[start]]))]
        if classes is not None:
            batch = batch[classes[batch] == classes[batch[0]]]
        yield batch
        start += len(batch)


def least_padded_batches(
    lengths: Int[np.ndarray, " texts"], budget: int, batch_overhead: int
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Yield indices of texts, longest first, in the batches within the budget with the fewest padded tokens.

    Each batch adds `batch_overhead` tokens to the cost. This is for few texts, which differ in length; many sorted texts
    need little padding. A text longer than the budget is a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    longest = lengths[order].tolist()
    # For each number of first texts: their lowest cost in tokens, and the start of their last batch.
    lowest_costs, last_starts = [0], [0]
    for end in range(1, len(order) + 1):
        options: list[tuple[int, int]] = []
        for start in range(end - 1, -1, -1):
            padded = longest[start] * (end - start)
            if options and padded > budget:
                break
            options.append((lowest_costs[start] + padded + batch_overhead, start))
        cost, last_start = min(options)
        lowest_costs.append(cost)
        last_starts.append(last_start)
    boundaries = [len(order)]
    while boundaries[-1] > 0:
        boundaries.append(last_starts[boundaries[-1]])
    for last_start, end in pairwise(reversed(boundaries)):
        yield order[last_start:end]


def step_batches(
    module: torch.nn.Module, lengths: Int[np.ndarray, " texts"], budget: int
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Yield indices of a step's texts in the batches that are fastest on the model's device."""
    tokens = device_budget(module, budget)
    yield from least_padded_batches(lengths, tokens, CPU_BATCH_OVERHEAD if device_of(module).type == "cpu" else tokens)


def device_budget(module: torch.nn.Module, budget: int) -> int:
    """Return the best number of padded tokens per batch on the model's device, within the budget."""
    return batch_budget(device_of(module), budget)


def batch_budget(device: torch.device, budget: int) -> int:
    """Return the best number of padded tokens per batch on a device, within the budget."""
    return min(budget, CPU_BATCH_TOKENS) if device.type == "cpu" else budget


def logit_block_sizes(model: LanguageModel) -> tuple[int, int]:
    """Return the number of logit rows per head pass, and the number of rows per reduction."""
    rows = max(1, LOGITS_PER_BLOCK // model.vocabulary_size)
    return rows, max(1, LOGITS_PER_CPU_REDUCTION // model.vocabulary_size) if device_of(
        model.module
    ).type == "cpu" else rows


def run_batches(
    lengths: Int[np.ndarray, " texts"],
    budget: int,
    run: Callable[[Int[np.ndarray, " batch"]], BatchResult],
    *,
    retry: bool = True,
    classes: Int[np.ndarray, " texts"] | None = None,
) -> Iterator[tuple[Int[np.ndarray, " batch"], BatchResult]]:
    """Yield the indices of each batch's texts with the result of `run`.

    If a batch runs out of memory and `retry` is set, the remaining texts run with half the budget. `classes` are as in
    `batches`.
    """
    pending = list(batches(lengths, budget, classes))
    while pending:
        batch = pending.pop(0)
        try:
            result = run(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1 or not retry:
                raise
            torch.cuda.empty_cache()
            budget //= 2
            remaining = np.concatenate([batch, *pending])
            remaining_classes = None if classes is None else classes[remaining]
            pending = [remaining[b] for b in batches(lengths[remaining], budget, remaining_classes)]
            continue
        release_scarce_memory()
        yield batch, result
