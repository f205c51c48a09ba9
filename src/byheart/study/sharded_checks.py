"""Settings and methods that do not work when several processes share a model's weights (`machine.shard`)."""

from __future__ import annotations

from collections.abc import Sequence

from byheart.core.config import Machine
from byheart.core.dependencies import observation_name
from byheart.core.errors import SettingError
from byheart.stats.dp_accounting import privacy_settings
from byheart.study.planned_cell import PlannedCell


def check_sharded(machine: Machine, planned: Sequence[PlannedCell]) -> None:
    """Raise `SettingError` for settings and methods that do not work with sharded weights."""
    if machine.shard == 1:
        return
    start = f"machine.shard = {machine.shard}"
    if machine.executor != "local" or machine.workers > 1:
        raise SettingError(
            f"{start}: its processes are those of one launch. Remove machine.executor and machine.workers, and start torchrun."
        )
    if ":" in machine.device:
        raise SettingError(f"{start}: each process uses its own GPU. Set machine.device to auto, cuda or cpu.")
    if machine.quantize:
        raise SettingError(
            f"{start}: quantized weights are not sharded. Remove machine.quantize, or set machine.base_precision to bfloat16."
        )
    sharded_precision(machine)
    for cell in planned:
        beside_inputs = {"reference_model", "reference_trainer"}
        if beside := [observation_name(o) for o in cell.observations if beside_inputs & {*o.needs}]:
            raise SettingError(
                f"{start}: observations {beside[0]}: reads another model beside the trained one, and processes share one model at a "
                "time. Remove the attack that requests it, or machine.shard."
            )
        method, objective = cell.cell.method, cell.cell.training.objective
        if privacy_settings(method) is not None:
            raise SettingError(
                f"{start}: methods {method.name}: gradients of single texts are not clipped when weights are sharded. "
                "Remove the method, or machine.shard."
            )
        if objective is not None:
            raise SettingError(
                f"{start}: training.objective = {objective!r}: sharded weights are trained with the loss of texts only. "
                "Remove one of the two settings."
            )


def sharded_precision(machine: Machine) -> str:
    """Return the number format of training: that of the sharded weights, of which no process keeps a cast copy.

    Raises `SettingError` for settings that need a cast.
    """
    base = machine.base_format.base_precision
    if base == "float16":
        raise SettingError(
            "machine.base_precision = float16: sharded weights are trained in their own format. Write bfloat16 or float32."
        )
    if machine.precision not in {"auto", base}:
        fix = "Set machine.base_precision to bfloat16, or remove" if base == "float32" else "Remove"
        raise SettingError(
            f"machine.precision = {machine.precision}: sharded weights are trained in their own format, {base}. "
            f"{fix} machine.precision."
        )
    return base
