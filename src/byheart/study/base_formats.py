"""Number formats of base models in studies: the methods that they fit, and the format of training on them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from byheart.core.config import BaseFormat, Machine
from byheart.core.errors import SettingError
from byheart.core.registry import module_constant
from byheart.study.planned_cell import PlannedCell

if TYPE_CHECKING:
    import torch


def check_base_format(planned: PlannedCell) -> None:
    """Raise `SettingError` for a method that trains weights which the study's base format would round or quantize."""
    base_format, method = planned.cell.base_format, planned.cell.method
    trained = trained_base_weights(planned)
    if trained == "all" and base_format.base_precision != "float32":
        raise SettingError(
            f"machine.base_precision = {base_format.base_precision}: methods {method.name} trains every weight of the base model, and "
            f"small steps are lost in 16 bits. Remove {method.name} from this study, or remove machine.base_precision."
        )
    if trained and base_format.quantize:
        problem = "trains every weight" if trained == "all" else "trains the output head"
        raise SettingError(
            f"machine.quantize = {base_format.quantize}: methods {method.name} {problem} of the base model, and quantized weights are not "
            f"trained. Remove {method.name} from this study, or remove machine.quantize."
        )


def trained_base_weights(planned: PlannedCell) -> str:
    """Return which weights of the base model the method trains, as its file declares: "all", "head", or "" for none."""
    return module_constant(planned.cell.method.function, "TRAINED_BASE_WEIGHTS", "")


def default_training_precision(machine: Machine, base_format: BaseFormat) -> Literal["auto", "float32", "bfloat16"]:
    """Return the number format of training that a study sets; bfloat16 in place of "auto" for a base model of 16 bits.

    Weights of 16 bits would be cast to float32, on a processor without bfloat16, and take three times their memory.
    """
    is_half = base_format.base_precision != "float32"
    if machine.shard > 1 and not is_half and machine.precision == "auto":
        return "float32"  # without a copy in another format (`sharded_checks.py`)
    return "bfloat16" if machine.precision == "auto" and is_half else machine.precision


def check_bitsandbytes(planned: PlannedCell) -> None:
    """Raise `SettingError` if the study quantizes the base model and bitsandbytes is not installed."""
    bits = planned.cell.base_format.quantize
    if bits and find_spec("bitsandbytes") is None:
        raise SettingError(
            f"machine.quantize = {bits}: bitsandbytes is not installed. Run pip install 'byheart[quantized]'."
        )


def check_trained_in_float32(planned: PlannedCell, module: torch.nn.Module) -> None:
    """Raise `SettingError` for a method that trains weights in another format than float32, in which small steps are lost."""
    trained = module.named_parameters() if planned.cell.base_format.non_default else ()
    for name, parameter in trained:
        if parameter.requires_grad and str(parameter.dtype) != "torch.float32":
            raise SettingError(
                f"methods {planned.cell.method.name}: trains {name} in {str(parameter.dtype).removeprefix('torch.')}, and small steps are "
                "lost in 16 bits. Train it in float32, or remove machine.base_precision."
            )
