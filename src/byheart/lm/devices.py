"""The device of a setting, and the device of a loaded model's inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byheart.core.errors import SettingError

if TYPE_CHECKING:
    import torch


def torch_device(choice: str, *, where: str = "") -> Any:
    """Return the torch device of a `machine.device` setting. Raises `SettingError` if this machine does not have it.

    `where` begins the message, for an option in place of the setting.
    """
    import torch

    where = where or f"machine.device = {choice!r}"

    if choice == "auto":
        # With several processes in one launch, each process has its own GPU.
        from accelerate import PartialState

        return PartialState().device
    try:
        device = torch.device(choice)
    except RuntimeError as error:
        raise SettingError(f"{where}: is not a device. Write auto, cpu, cuda or cuda:1.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"{where}: torch detects {torch.cuda.device_count()} GPUs on this machine. Write auto or cpu."
        )
    return device


def device_of(module: torch.nn.Module) -> torch.device:
    """Return the device of a model's inputs: that of its first weight, or the device that an offloaded weight moves to."""
    import torch

    first = next(module.parameters()).device
    if first.type != "meta":
        return first
    hooks = (vars(part).get("_hf_hook") for part in module.modules())
    devices = (getattr(hook, "execution_device", None) for hook in hooks)
    return torch.device(next(device for device in devices if device is not None))
