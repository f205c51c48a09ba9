"""Number format in which a cell is trained."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from byheart.core.config import Machine
from byheart.core.errors import SettingError
from byheart.store.store import Store
from byheart.study.base_formats import default_training_precision
from byheart.study.cell_models import processes_of
from byheart.study.checkpoints import training_precision
from byheart.study.planned_cell import PlannedCell
from byheart.study.sharded_checks import sharded_precision

if TYPE_CHECKING:
    import torch

    from byheart.lm.load import LanguageModel


def training_dtype(planned: PlannedCell, store: Store, machine: Machine, model: LanguageModel) -> torch.dtype:
    """Return the number format of a cell's training: that of the stored training, if this one resumes or repeats it."""
    from byheart.lm import train
    from byheart.lm.devices import device_of

    stored: Any = processes_of(machine).agree(partial(training_precision, planned, store))
    choice = stored or default_training_precision(machine, planned.cell.base_format)
    if machine.shard > 1 and choice != (own := sharded_precision(machine)):
        raise SettingError(
            f"machine.shard: the stored training of {planned.label} is in {choice}, and sharded weights are trained in {own}. "
            "Remove machine.shard, or choose another folder with --store."
        )
    return train.training_dtype(choice, device_of(model.module))
