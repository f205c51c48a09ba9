"""Models of a cell: the base model, and the model that the method trains; whole, or sharded over the processes of a launch.

A whole base model comes from the cache of this process. For sharding, one process of a machine after another loads a whole model,
tunes it by the method, and keeps its part; nothing is cached between cells. So a machine needs memory for one whole model at a
time, and each device for its part. Trained weights are gathered in the first process at the end, and put into a model that it loads
again. So the store's files are those of one process.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from byheart.core.config import Machine
from byheart.lm.processes import Processes, joined
from byheart.study.base_formats import check_trained_in_float32
from byheart.study.planned_cell import PlannedCell

if TYPE_CHECKING:
    import torch

    from byheart.lm.load import LanguageModel, TrainableModel


def processes_of(machine: Machine) -> Processes:
    """Return the processes that share the weights of this study's models; raises `SettingError` for another launch."""
    return joined(machine.shard, machine.device)


def base_model(planned: PlannedCell, machine: Machine) -> LanguageModel:
    """Return the cell's base model on the study's device or devices."""
    from byheart.lm import base_cache, devices, shard_model

    processes = processes_of(machine)
    if processes.size == 1:
        device = devices.torch_device(machine.device)
        return base_cache.borrow(planned.cell.base, device, base_format=planned.cell.base_format)

    def load_and_shard() -> LanguageModel:
        model = _whole_base(planned)
        shard_model.shard(model.module, processes.mesh)
        return model

    return processes.in_turn(load_and_shard)


def tuned_model(planned: PlannedCell, machine: Machine, model: LanguageModel) -> TrainableModel:
    """Return the method's result for the base model, before the first step.

    Changes `model`, or with sharded weights loads another one.
    """
    from byheart.lm import base_cache, devices, shard_model, train

    processes = processes_of(machine)
    if processes.size == 1:
        train.seed_rngs(planned.key)
        tuned = planned.cell.method(model)
        if planned.cell.base_format.quantize is None:
            tuned.module.to(devices.torch_device(machine.device))
        check_trained_in_float32(planned, tuned.module)
        base_cache.copy_shared_trainable_weights(tuned.module)
        return tuned
    gc.collect()  # hooks of the sharded base model refer to it

    def tune_and_shard() -> TrainableModel:
        tuned = _whole_tuned(planned, _whole_base(planned))
        shard_model.shard(tuned.module, processes.mesh)
        return tuned

    return processes.in_turn(tune_and_shard)


def gathered_weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the trained parameters by name on the CPU, complete in the first process only. All processes must call it."""
    from byheart.lm.sharding import whole_on_cpu
    from byheart.lm.train import trainable_parameters

    return {n: whole_on_cpu(p) for n, p in trainable_parameters(module).items()}


def whole_model(planned: PlannedCell, weights: dict[str, torch.Tensor]) -> LanguageModel:
    """Return the whole tuned model with these trained parameters."""
    from byheart.lm.load import LanguageModel
    from byheart.lm.train import trainable_parameters

    base = _whole_base(planned)
    module = _whole_tuned(planned, base).module
    parameters = trainable_parameters(module)
    for name, value in weights.items():
        parameters[name].data = value
    return LanguageModel(module.eval(), base.tokenizer, base.name)


def _whole_base(planned: PlannedCell) -> LanguageModel:
    import torch

    from byheart.lm.base_cache import load_in_format

    return load_in_format(planned.cell.base, torch.device("cpu"), planned.cell.base_format)


def _whole_tuned(planned: PlannedCell, base: LanguageModel) -> TrainableModel:
    from byheart.lm.train import seed_rngs

    seed_rngs(planned.key)
    tuned = planned.cell.method(base)
    check_trained_in_float32(planned, tuned.module)
    return tuned
