"""How much is computed at a time: texts in one pass of the trunk, rows in one pass of the head, rows that are reduced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int

from byheart.lm.load import LanguageModel
from byheart.lm.placement import device_of

BatchResult = TypeVar("BatchResult")

LOGITS_PER_BLOCK = 1 << 24
"""Numbers that the head gives at a time: enough rows that reading its weights costs little, 64 MiB in float32."""

LOGITS_PER_CPU_REDUCTION = 1 << 20
"""Numbers that are reduced at a time on a CPU: they stay in its cache through all that is made of them."""

CPU_BATCH_TOKENS = 1024
"""Padded tokens of a batch on a CPU, at most: what a layer makes of more falls out of its cache."""

CPU_BATCH_OVERHEAD = 64
"""Padded tokens that one batch more of a step costs as much as, on a CPU; on a GPU it costs as much as a whole batch."""


def batches(lengths: Int[np.ndarray, " texts"], budget: int) -> Iterator[Int[np.ndarray, " batch"]]:
    """Yield positions of texts, longest first, so that padded tokens (longest x texts) stay within the budget.

    A text longer than the budget comes alone.
    """
    order = np.argsort(-lengths, kind="stable")
    at = 0
    while at < len(order):
        size = max(1, budget // int(lengths[order[at]]))
        yield order[at : at + size]
        at += size


def least_padded_batches(
    lengths: Int[np.ndarray, " texts"], budget: int, batch_overhead: int
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Yield positions of texts, longest first, in batches within the budget that pad least; each counts as `apart` tokens more.

    For few texts, which differ in length: among many sorted ones there is little padding. A text longer than the budget
    comes alone.
    """
    order = np.argsort(-lengths, kind="stable")
    longest = lengths[order].tolist()
    # Of the first texts, however many: the fewest tokens that they can be had for, and where their last batch begins.
    fewest, begins = [0], [0]
    for end in range(1, len(order) + 1):
        ways: list[tuple[int, int]] = []
        for at in range(end - 1, -1, -1):
            padded = longest[at] * (end - at)
            if ways and padded > budget:
                break
            ways.append((fewest[at] + padded + batch_overhead, at))
        least, begin = min(ways)
        fewest.append(least)
        begins.append(begin)
    borders = [len(order)]
    while borders[-1] > 0:
        borders.append(begins[borders[-1]])
    for begin, end in pairwise(reversed(borders)):
        yield order[begin:end]


def step_batches(
    module: torch.nn.Module, lengths: Int[np.ndarray, " texts"], budget: int
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Yield positions of a step's texts in batches as they are quickest where this model lies."""
    fitting = device_budget(module, budget)
    yield from least_padded_batches(
        lengths, fitting, CPU_BATCH_OVERHEAD if device_of(module).type == "cpu" else fitting
    )


def device_budget(module: torch.nn.Module, budget: int) -> int:
    """Return how many padded tokens of the budget one batch had better have, where this model lies."""
    return min(budget, CPU_BATCH_TOKENS) if device_of(module).type == "cpu" else budget


def logit_block_sizes(model: LanguageModel) -> tuple[int, int]:
    """Return how many rows of logits are made at a time, and how many of those are reduced at a time."""
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
) -> Iterator[tuple[Int[np.ndarray, " batch"], BatchResult]]:
    """Yield positions of texts with what `run` gives for them, batch by batch.

    Out of memory it goes `again` with half the budget.
    """
    pending = list(batches(lengths, budget))
    while pending:
        chosen = pending.pop(0)
        try:
            found = run(chosen)
        except torch.OutOfMemoryError:
            if len(chosen) == 1 or not retry:
                raise
            torch.cuda.empty_cache()
            budget //= 2
            remaining = np.concatenate([chosen, *pending])
            pending = [remaining[b] for b in batches(lengths[remaining], budget)]
            continue
        yield chosen, found
