"""Where a model's weights lie while it is read, and how many bits each of them has.

Spread over devices (`device_map`), a model is run by accelerate's hooks, which fetch each part's inputs and weights to
where the part is computed; a part that waits on the disk or in the machine's own memory has no weights of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import torch

from byheart.core.errors import ModelError, SettingError
from byheart.lm import load

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How a model is loaded: numbers of `dtype` on a `device`, or `spread` over all of them; packed in `bits` where set.

    Raises `SettingError` for a device that is not here, for one that is named beside `spread`, and where what packs the
    weights (bitsandbytes) is not installed.
    """

    dtype: torch.dtype = torch.float32
    device: str = "auto"
    spread: bool = False
    bits: Literal[4, 8] | None = None

    def __post_init__(self) -> None:
        """Refuse what this machine does not have."""
        load.torch_device(self.device)
        if self.spread and self.device != "auto":
            raise SettingError(f"--device-map auto chooses the devices itself; leave out --device {self.device}")
        if self.bits and not find_spec("bitsandbytes"):
            raise SettingError(f"--quantize {self.bits} needs bitsandbytes; pip install 'byheart[quantized]'")

    @property
    def torch_device(self) -> torch.device:
        """The one device, where the model is not spread."""
        return load.torch_device(self.device)

    def is_device_mapped(self, config: PreTrainedConfig | None) -> bool:
        """Whether transformers places the weights while it reads them, and they may not be moved afterwards."""
        return self.spread or self.bits is not None or is_quantized(config)

    def from_pretrained_options(self, weights: str, config: PreTrainedConfig | None) -> dict[str, Any]:
        """Return what transformers is told; raises `ModelError` for weights that are packed already and shall be again."""
        found: dict[str, Any] = {"dtype": self.dtype}
        if self.bits and is_quantized(config):
            raise ModelError(f"model {weights!r} is stored in few bits already; leave out --quantize")
        if self.is_device_mapped(config):
            found["device_map"] = "auto" if self.spread else {"": self.torch_device}
        if self.bits:
            from transformers import BitsAndBytesConfig

            # NF4 is what adapters are trained on (QLoRA, arXiv 2305.14314); its arithmetic is done in the model's numbers.
            four = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": self.dtype}
            found["quantization_config"] = BitsAndBytesConfig(**(four if self.bits == 4 else {"load_in_8bit": True}))  # noqa: PLR2004 - bits
        return found


def is_quantized(config: PreTrainedConfig | None) -> bool:
    """Whether a model's files hold weights of few bits."""
    return getattr(config, "quantization_config", None) is not None


def device_of(module: torch.nn.Module) -> torch.device:
    """Return the device that texts are handed to a model on: its first weight's, or where that is fetched to."""
    first = next(module.parameters()).device
    if first.type != "meta":
        return first
    hooks = (vars(part).get("_hf_hook") for part in module.modules())
    fetched = (getattr(hook, "execution_device", None) for hook in hooks)
    return torch.device(next(place for place in fetched if place is not None))
