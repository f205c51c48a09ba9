"""Check a model whose forward pass another library has replaced, as unsloth and Liger do for speed.

Scores are computed by the trunk and the output head separately (`trunk_and_head.py`). A replaced forward pass may fuse the two,
leave the logits out, or require a GPU, so the model's own logits are compared with those of trunk and head.
"""

from __future__ import annotations

from typing import Any

import torch

from byheart.core.errors import ModelError
from byheart.lm.devices import device_of
from byheart.lm.from_pretrained import library_errors, short_error
from byheart.lm.trunk_and_head import capture_hidden_states, logits, trunk

PATCHING_LIBRARIES = ("liger_kernel", "unsloth", "unsloth_zoo")
"""Packages that replace the forward passes of models by other programs."""
MAX_DIFFERENCE = 0.2
"""Maximum difference between the two ways, as a fraction of the logits' standard deviation. Rounding to bfloat16 causes less."""
FIXES = {
    "unsloth": "Set the environment variable UNSLOTH_RETURN_LOGITS to 1 before the model is loaded, and run on the GPU",
    "liger_kernel": "Its kernels run only on a GPU: run there, or load the model without Liger (use_liger_kernel=False)",
}


class PatchedForwardError(ModelError):
    """A model whose forward pass does not give the numbers that byheart needs."""


def patching_library(module: torch.nn.Module) -> str:
    """Return the library that replaced the forward pass of the model or of one of its parts; "" if none did."""
    for part in module.modules():
        forward: Any = vars(part).get("forward", type(part).forward)
        for replaced in (type(part), getattr(forward, "__func__", forward)):
            package = str(getattr(replaced, "__module__", "")).partition(".")[0]
            if package in PATCHING_LIBRARIES:
                return package
    return ""


def check_forward(name: str, module: torch.nn.Module) -> None:
    """Raise `PatchedForwardError` if trunk and head, run separately, do not give the model's own logits for a few tokens."""
    vocabulary = getattr(module, "config").get_text_config().vocab_size  # noqa: B009 - absent from torch's type
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]], device=device_of(module)) % vocabulary
    library = patching_library(module)
    replaced = f"its forward pass is replaced by {library}, and " if library else ""
    fix = FIXES.get(library.removesuffix("_zoo"), "Pass the model without changes to its forward pass")
    try:
        with torch.no_grad():
            own: Any = module(input_ids=ids).logits
            if not isinstance(own, torch.Tensor):
                raise PatchedForwardError(f"model {name!r}: {replaced}it returns no logits. {fix}.")
            with capture_hidden_states(trunk(module)) as hidden_states:
                module(input_ids=ids)
            rows = logits(module, hidden_states[-1][0, -ids.shape[1] :]) if hidden_states else None
    except torch.OutOfMemoryError:
        raise
    except library_errors() as error:
        raise PatchedForwardError(f"model {name!r}: {replaced}does not run ({short_error(error)}). {fix}.") from error
    own_rows = own[0, -ids.shape[1] :].float()
    if rows is None or own_rows.shape != rows.shape or (own_rows - rows).abs().max() > MAX_DIFFERENCE * own_rows.std():
        raise PatchedForwardError(
            f"model {name!r}: {replaced}its logits are not those of its trunk followed by its output head, which byheart runs "
            f"separately. {fix}."
        )
