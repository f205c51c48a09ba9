"""Read a trainer's own training data as its collator passes it to the model: token ids, and which of them receive loss."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byheart.auditing.training.preflight.find_tokens import Segments

if TYPE_CHECKING:
    from transformers import Trainer

MAX_ROWS = 50_000
"""Maximum number of rows of a data set; of a longer one, a random sample is read."""
MAX_STREAMED_ROWS = 2_000
"""Maximum number of rows of a stream; its first ones are read."""
BATCH_ROWS = 32
MASKED = -100


class TrainingRows(NamedTuple):
    """The rows to read: batches of examples, their number, and whether they are all the data or a sample."""

    batches: Iterable[list[Any]]
    row_count: int
    is_complete: bool


class UnreadableDataError(Exception):
    """Training data that the preflight cannot read, with the reason."""


def training_rows(trainer: Trainer) -> TrainingRows:
    """Return the rows of a trainer's training data, without the columns that the trainer removes.

    Raises `UnreadableDataError` without data, and for a stream that can be read only once.
    """
    import datasets

    dataset: Any = trainer.train_dataset
    private: Any = trainer
    if dataset is None:
        raise UnreadableDataError("the trainer has no train_dataset")
    if isinstance(dataset, datasets.Dataset):
        dataset = private._remove_unused_columns(dataset, description=None)  # noqa: SLF001 - as the trainer's data loader does
    if isinstance(dataset, datasets.IterableDataset):
        rows = list(itertools.islice(iter(dataset), MAX_STREAMED_ROWS + 1))
        kept = rows[:MAX_STREAMED_ROWS]
        return TrainingRows(_batches(kept), len(kept), len(rows) <= MAX_STREAMED_ROWS)
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise UnreadableDataError(f"{type(dataset).__name__} is a stream that can be read only once")
    count = len(dataset)
    chosen = np.arange(count)
    if count > MAX_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(count, MAX_ROWS, replace=False))
    batches = ([dataset[int(i)] for i in chosen[at : at + BATCH_ROWS]] for at in range(0, len(chosen), BATCH_ROWS))
    return TrainingRows(batches, len(chosen), count <= MAX_ROWS)


def _batches(rows: Sequence[Any]) -> Iterator[list[Any]]:
    return (list(rows[at : at + BATCH_ROWS]) for at in range(0, len(rows), BATCH_ROWS))


def collated(trainer: Trainer, batches: Iterable[list[Any]]) -> Iterator[Segments]:
    """Yield each batch as the trainer's collator makes it. Raises `UnreadableDataError` for batches without input_ids or labels."""
    import datasets

    private: Any = trainer
    collator: Any = trainer.data_collator
    if getattr(collator, "generator", None) is not None:
        collator = copy.deepcopy(collator)  # its random numbers belong to the training
    if not isinstance(trainer.train_dataset, datasets.Dataset):
        collator = private._get_collator_with_removed_columns(collator, description=None)  # noqa: SLF001 - as its data loader does
    for batch in batches:
        yield _segments(collator(batch))


def _segments(batch: Any) -> Segments:
    """Return a batch's tokens without padding, divided where a row ends or positions begin again."""
    try:
        ids, labels = (np.asarray(batch[name]) for name in ("input_ids", "labels"))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnreadableDataError(f"its collator returns no input_ids and labels of one shape ({error})") from error
    if ids.ndim != 2 or ids.shape != labels.shape:  # noqa: PLR2004 - rows and positions
        raise UnreadableDataError(
            f"its collator returns input_ids of shape {ids.shape} and labels of shape {labels.shape}"
        )
    mask = np.asarray(batch["attention_mask"]) if "attention_mask" in batch else np.ones_like(ids)
    is_token = mask.astype(bool) if mask.shape == ids.shape else np.ones(ids.shape, dtype=bool)
    begins = np.zeros(ids.shape, dtype=bool)
    begins[:, 0] = True
    if "position_ids" in batch and np.asarray(batch["position_ids"]).shape == ids.shape:
        begins |= np.asarray(batch["position_ids"]) == 0
    # Padding at the left moves the beginning of a row to its first token.
    begins |= is_token & ~np.pad(is_token, ((0, 0), (1, 0)))[:, :-1]
    kept = is_token.ravel()
    starts = np.flatnonzero(begins.ravel()[kept])
    return Segments(
        ids.ravel()[kept].astype(np.int64),
        (labels.ravel()[kept] != MASKED),
        np.append(starts, int(kept.sum())).astype(np.int64),
    )
