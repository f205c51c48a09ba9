"""The model that is audited: how it and its base are opened, one at a time, and what tells it from any other."""

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
from byheart.lm.load import LanguageModel
from byheart.lm.preserve_state import as_base_model, check_not_sharded, preserve_training_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ModelOpener = Callable[[], AbstractContextManager[LanguageModel]]
"""What gives a model to be read for a while."""


@dataclass(frozen=True)
class AuditTarget:
    """The model that is audited: how to open it and its base (None without one), what it is called, its hashes."""

    open_model: ModelOpener
    open_base: ModelOpener | None
    tokenizer: PreTrainedTokenizerBase
    name: str
    base_name: str
    method: str
    hashes: Callable[[], Mapping[str, str]]
    doubts: tuple[str, ...] = ()


def target_from_memory(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, base: torch.nn.Module | None
) -> AuditTarget:
    """Return a model in memory as what is to be audited."""
    whole: Any = model
    if not hasattr(whole, "config") or not hasattr(tokenizer, "encode"):
        raise ModelError(
            "audit(model, tokenizer, ...) takes a causal language model of transformers, or a peft model, and its tokenizer"
        )

    def opening(module: Any, switched: Callable[[Any], AbstractContextManager[None]]) -> ModelOpener:
        @contextmanager
        def enter() -> Generator[LanguageModel]:
            check_not_sharded(module)
            with preserve_training_state(module), switched(module):
                yield LanguageModel(module, tokenizer, module.config.name_or_path or type(module).__name__)

        return enter

    name = whole.config.name_or_path or type(model).__name__
    method = "full"
    doubts: tuple[str, ...] = ()
    below = None if base is None else opening(base, lambda _: nullcontext())
    if isinstance(model, PeftModel):
        config: Any = model.active_peft_config
        kind = str(PeftType(config.peft_type).value).lower()
        method = PEFT_METHOD_NAMES.get(kind, kind)
        if below is None and getattr(config, "bias", "none") == "none":
            below = opening(model, as_base_model)
        elif below is None:
            doubts = ("the adapter trained biases, which cannot be switched off, so there is no base; pass base=",)
    base_name = name if base is None else str(getattr(base.config, "name_or_path", "")) or "base"
    hashes = {"model": model} if base is None else {"model": model, "base": base}
    return AuditTarget(
        opening(model, lambda _: nullcontext()),
        below,
        tokenizer,
        name,
        base_name,
        method,
        lambda: {part: _weights_digest(module) for part, module in hashes.items()},
        doubts,
    )


def _weights_digest(module: torch.nn.Module) -> str:
    """Return a hash of a model's weights: of each its name, its shape, and its first numbers."""
    found: dict[str, tuple[str, str, str]] = {}
    for place, part in module.named_modules():
        with align_module_device(part):  # what waits on the disk is fetched
            for own, p in part.named_parameters(recurse=False):
                name = f"{place}.{own}"
                found[name] = (
                    name,
                    str(tuple(p.shape)),
                    p.detach().flatten()[:4096].float().cpu().numpy().tobytes().hex(),
                )
    return digest(found[name] for name, _ in module.named_parameters())
