"""The audited model and its base model: how to open them, one at a time, and hashes of their weights."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import align_module_device
from peft import PeftModel, PeftType

from byheart.core.errors import ModelError
from byheart.core.types import digest
from byheart.lm.finetuned import PEFT_METHOD_NAMES
from byheart.lm.in_memory import check_causal_module
from byheart.lm.load import LanguageModel
from byheart.lm.preserve_state import as_base_model, preserve_training_state, why_no_base
from byheart.lm.sharding import check_not_sharded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ModelOpener = Callable[[], AbstractContextManager[LanguageModel]]
"""Opens a model for the duration of a `with` block."""


@dataclass(frozen=True)
class AuditTarget:
    """The audited model: functions that open it and its base model (None without one), names, hashes and doubts.

    `why_no_base` states why a base model that was expected is not available ("" if none was expected). `is_adapter_on_base`: the
    base model is the same module with its adapter disabled.
    """

    open_model: ModelOpener
    open_base: ModelOpener | None
    tokenizer: PreTrainedTokenizerBase
    name: str
    base_name: str
    method: str
    hashes: Callable[[], Mapping[str, str]]
    doubts: tuple[str, ...] = ()
    why_no_base: str = ""
    is_adapter_on_base: bool = False


def target_from_memory(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, base: torch.nn.Module | None
) -> AuditTarget:
    """Return an audit target for a model in memory."""
    causal_lm: Any = model
    if not hasattr(causal_lm, "config") or not hasattr(tokenizer, "encode"):
        raise ModelError(
            "audit(model, tokenizer, ...): model or tokenizer has the wrong type. Pass a causal language model of transformers, or a "
            "peft model, and its tokenizer."
        )

    def opener(module: Any, switched: Callable[[Any], AbstractContextManager[None]]) -> ModelOpener:
        @contextmanager
        def enter() -> Generator[LanguageModel]:
            check_not_sharded(module)
            check_causal_module(module)
            with preserve_training_state(module), switched(module):
                yield LanguageModel(module, tokenizer, module.config.name_or_path or type(module).__name__)

        return enter

    name = causal_lm.config.name_or_path or type(model).__name__
    method = "full"
    doubts: tuple[str, ...] = ()
    reason = ""
    is_adapter_on_base = False
    open_base = None if base is None else opener(base, lambda _: nullcontext())
    if isinstance(model, PeftModel):
        config: Any = model.active_peft_config
        kind = str(PeftType(config.peft_type).value).lower()
        method = PEFT_METHOD_NAMES.get(kind, kind)
        reason = why_no_base(model)
        if open_base is None and not reason:
            open_base, is_adapter_on_base = opener(model, as_base_model), True
        elif open_base is None:
            doubts = (
                f"disabling the adapter does not restore the base model: {reason}; the audit has no base model, pass base=",
            )
    base_name = name if base is None else str(getattr(base.config, "name_or_path", "")) or "base"
    modules = {"model": model} if base is None else {"model": model, "base": base}
    return AuditTarget(
        opener(model, lambda _: nullcontext()),
        open_base,
        tokenizer,
        name,
        base_name,
        method,
        lambda: {part: _weights_digest(module) for part, module in modules.items()},
        doubts,
        reason if open_base is None else "",
        is_adapter_on_base,
    )


def _weights_digest(module: torch.nn.Module) -> str:
    """Return a hash of a model's weights: name, shape and first 4,096 numbers of each parameter."""
    parameters: dict[str, tuple[str, str, str]] = {}
    for module_name, part in module.named_modules():
        with align_module_device(part):  # loads weights that are offloaded to disk
            for parameter_name, p in part.named_parameters(recurse=False):
                name = f"{module_name}.{parameter_name}"
                parameters[name] = (
                    name,
                    str(tuple(p.shape)),
                    _first_numbers(p).float().cpu().numpy().tobytes().hex(),
                )
    return digest(parameters[name] for name, _ in module.named_parameters())


def _first_numbers(weight: torch.Tensor) -> torch.Tensor:
    """Return the first 4,096 numbers of a weight."""
    try:
        return weight.flatten()[:4096].detach()
    except NotImplementedError:  # quantized weights of torchao have no reshaping
        return weight.dequantize().flatten()[:4096].detach()
