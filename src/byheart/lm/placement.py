"""Device, precision and quantization of a loaded model.

A model spread over devices (`device_map`) runs with accelerate's hooks, which move each module's inputs and weights to
the module's device. A module offloaded to disk or RAM has no weights of its own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import torch

from byheart.core.errors import ModelError, SettingError
from byheart.lm.devices import torch_device

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How a model is loaded: in `dtype` on a `device`, or `spread` over all devices; quantized if `bits` is set.

    Raises `SettingError` for an unavailable device, for a device together with `spread`, and for `bits` without
    bitsandbytes.
    """

    dtype: torch.dtype = torch.float32
    device: str = "auto"
    spread: bool = False
    bits: Literal[4, 8] | None = None

    def __post_init__(self) -> None:
        """Check the device and the installed packages."""
        torch_device(self.device)
        if self.spread and self.device != "auto":
            raise SettingError(f"--device {self.device}: --device-map auto selects the devices. Remove --device.")
        if self.bits and not find_spec("bitsandbytes"):
            raise SettingError(
                f"--quantize {self.bits}: bitsandbytes is not installed. Run pip install 'byheart[quantized]'."
            )

    @property
    def torch_device(self) -> torch.device:
        """The device of a model that is not spread."""
        return torch_device(self.device)

    def is_device_mapped(self, config: PreTrainedConfig | None) -> bool:
        """Whether transformers places the weights during loading; such weights must not be moved afterwards."""
        return self.spread or self.bits is not None or is_quantized(config)

    def from_pretrained_options(self, weights: str, config: PreTrainedConfig | None) -> dict[str, Any]:
        """Return the options for `from_pretrained`. Raises `ModelError` for `bits` if the weights are quantized already."""
        options: dict[str, Any] = {"dtype": self.dtype}
        if self.bits and is_quantized(config):
            raise ModelError(
                f"model {weights!r}: the stored weights are already quantized. Remove --quantize, or machine.quantize from the study."
            )
        if self.is_device_mapped(config):
            options["device_map"] = "auto" if self.spread else {"": self.torch_device}
        if self.bits:
            from transformers import BitsAndBytesConfig

            # It warns in every forward pass in 8 bits that it rounds inputs to float16.
            logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
            # Adapters are trained on NF4 (QLoRA, arXiv 2305.14314). It computes in the model's dtype.
            four_bit = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": self.dtype}
            quantization = four_bit if self.bits == 4 else {"load_in_8bit": True}  # noqa: PLR2004 - bits
            options["quantization_config"] = BitsAndBytesConfig(**quantization)
        return options


def is_quantized(config: PreTrainedConfig | None) -> bool:
    """Whether the weights in a model's files are quantized."""
    return getattr(config, "quantization_config", None) is not None
