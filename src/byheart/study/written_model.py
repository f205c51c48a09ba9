"""Compare a written model with the model that a study attacked, by the log-probabilities of audited texts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from byheart.core import ragged
from byheart.core.config import Machine
from byheart.lm.attach_adapter import attach_adapter
from byheart.lm.finetuned import load_model, model_files
from byheart.lm.forward import Scorer
from byheart.lm.placement import Placement
from byheart.store.store import Store
from byheart.study.cell_tokens import stored_tokens
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.planned_cell import PlannedCell
from byheart.study.stored_evidence import read_evidence

if TYPE_CHECKING:
    from byheart.lm.load import LanguageModel

COMPARED_TEXTS = 16
LARGEST_DIFFERENCES = {"float32": 0.005, "bfloat16": 0.05}
"""Largest difference (nats per token) between the written model's mean log-probability of a text and the stored one, by the precision of
scoring: rounding depends on the texts that share a batch."""


def difference_from_study(
    folder: Path, planned: PlannedCell, state: ModelState, store: Store, machine: Machine
) -> tuple[int, float | None]:
    """Return how many audited texts were compared, and the largest difference of their mean log-probabilities (nats per token).

    The difference is None, and no text is compared, if the store has no log-probabilities of this state.
    """
    observation = next((o for o in planned.observations if o.name == "target"), None)
    if observation is None or not store.has("evidence", evidence_key(planned, observation, state)):
        return 0, None
    model = _loaded(folder, planned, machine)
    tokens = stored_tokens(planned, "audited", model, store)
    count = min(COMPARED_TEXTS, len(tokens))
    first = dataclasses.replace(
        tokens,
        ids=tokens.ids[: tokens.starts[count]],
        starts=tokens.starts[: count + 1],
        first=tokens.first[:count],
        cut=tokens.cut[:count],
        ended=None if tokens.ended is None else tokens.ended[:count],
        texts=tokens.texts.take(range(count)),
    )
    written = Scorer(model, machine.token_budget, getattr(torch, planned.scoring.precision))(first)
    stored = ragged.slice_texts(read_evidence(planned, store, observation, state), slice(0, count))
    means = (ragged.means(stats.logp, stats.starts) for stats in (written, stored))
    return count, float(np.abs(np.subtract(*means)).max())


def _loaded(folder: Path, planned: PlannedCell, machine: Machine) -> LanguageModel:
    """Return the model of a written folder, in the number format of the study's base model."""
    base_format = planned.cell.base_format
    placement = Placement(
        dtype=getattr(torch, base_format.base_precision), device=machine.device, bits=base_format.quantize
    )
    files = model_files(str(folder), None, None)
    model = load_model(files.weights, placement)
    return model if files.adapter is None else attach_adapter(model, files, placement)
