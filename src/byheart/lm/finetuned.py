"""Load fine-tuned models that byheart did not train: a complete model, or a peft adapter with its base model.

With an adapter, memory contains one copy of the weights: the base is the same model with the adapter disabled. The files
are checked before loading, and pickles are never loaded.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

import torch

from byheart.core.errors import ModelError
from byheart.lm import load
from byheart.lm.adapter_files import (
    check_adapter_weights,
    check_restores_base,
    read_adapter_config,
    vocabulary_rows,
)
from byheart.lm.base_models import check_loadable, identity, locate
from byheart.lm.check_found import check_found
from byheart.lm.find_adapter import adapter_folder, no_adapter_error
from byheart.lm.load import LanguageModel
from byheart.lm.memory_check import check_memory
from byheart.lm.model_folder import ADAPTER_CONFIG
from byheart.lm.named_adapters import choice_doubts, named_adapter
from byheart.lm.placement import Placement

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PEFT_METHOD_NAMES = {"prefix_tuning": "prefix", "prompt_tuning": "prompt"}
"""byheart's method names for peft types with another name."""
_CLOSED_MODULES: WeakSet[torch.nn.Module] = WeakSet()  # that are still in memory
NO_ADAPTER = "none"
"""Value of --adapter that audits complete weights without the adapter in their folder."""


@dataclass(frozen=True)
class ModelFiles:
    """Files of a fine-tuned model: `weights` to load, the adapter's folder, and the base of a complete model.

    `doubts` are warnings about the files. `vocabulary_rows` is the number of rows of the embedding that is stored with an
    adapter; None if none is stored.
    """

    name: str
    weights: str
    adapter: Path | None
    base: str | None
    method: str
    doubts: tuple[str, ...] = ()
    vocabulary_rows: int | None = None

    @property
    def parts(self) -> dict[str, str]:
        """Paths or Hub ids of the weights by part: "model", "adapter", "base"."""
        names = {"model": self.weights, "adapter": self.adapter and str(self.adapter), "base": self.base}
        if self.adapter:
            names["base"] = names.pop("model")
        return {part: name for part, name in names.items() if name}

    @property
    def hashes(self) -> dict[str, str]:
        """Identities of the weights by part: content hashes of files, or Hub ids with their commit."""
        return {part: _hub_commit(name) or identity(name) for part, name in self.parts.items()}


def model_files(model: str, adapter: str | None, base: str | None) -> ModelFiles:
    """Return the files to audit, from the names of a model or adapter and of an optional base.

    Raises `ModelError` for an adapter without a base, for missing files, and for a base with another architecture.
    """
    if base is not None:
        check_found(base, f"--base {base}:", "Correct the path or name.")
    if adapter == NO_ADAPTER:
        return _complete_model(model, base, ignore_adapter=True)
    if adapter is not None and (named := named_adapter(model, adapter)) is not None:
        return _adapter_files(named, base)
    folder = adapter_folder(model)
    if adapter is not None:
        if folder is not None:
            raise ModelError(
                f"--model {model}: is itself an adapter, so --adapter {adapter} cannot be attached to it. Remove --adapter, or pass the "
                "base model as --model."
            )
        folder = adapter_folder(adapter, is_named_as_adapter=True)
        if folder is None:
            raise no_adapter_error(adapter)
        if base is not None and base != model:
            raise ModelError(
                f"--base {base}: cannot be combined with --adapter, where --model {model!r} is the base model. Remove --base."
            )
        base = model
    if folder is None:
        return _complete_model(model, base)
    files = _adapter_files(folder, base)
    return files if adapter else replace(files, doubts=(*files.doubts, *choice_doubts(folder)))


def _complete_model(model: str, base: str | None, *, ignore_adapter: bool = False) -> ModelFiles:
    check_loadable(model, ignore_adapter=ignore_adapter)
    if base is not None:
        check_loadable(base)
        _check_base_matches(model, base)
    return ModelFiles(model, model, None, base, "full")


def _adapter_files(folder: Path, base: str | None) -> ModelFiles:
    config = read_adapter_config(folder)
    recorded = config.get("base_model_name_or_path")
    base_name = base or recorded
    if not base_name or not isinstance(base_name, str):
        raise ModelError(f"adapter {folder}: {ADAPTER_CONFIG} has no base model. Pass it with --base.")
    check_adapter_weights(folder)
    check_restores_base(folder, config)
    if base is None:
        check_found(base_name, f"adapter {folder}: base model {base_name!r}:", "Pass it with --base.")
    check_loadable(base_name)
    peft_type = str(config.get("peft_type", "")).lower()
    doubts: list[str] = []
    if isinstance(recorded, str) and recorded and not _is_same_model(recorded, base_name):
        doubts.append(
            f"the adapter's config names the base {recorded}, but the audit uses {base_name}; if they differ, the comparison with the "
            "base model is invalid"
        )
    rows, base_rows = vocabulary_rows(folder), load.text_setting(base_name, "vocab_size")
    if rows is not None and base_rows is not None and rows > base_rows:
        doubts.append(
            f"training added {rows - base_rows} tokens to the base model's vocabulary; the base model reads them with the embeddings "
            "that are stored with the adapter"
        )
    method = PEFT_METHOD_NAMES.get(peft_type, peft_type)
    return ModelFiles(str(folder), base_name, folder, None, method, tuple(doubts), rows)


def _hub_commit(name: str) -> str:
    """Return a Hub model's id with the downloaded commit; "" for local files, which `identity` hashes."""
    from huggingface_hub import try_to_load_from_cache

    owner, _, revision = name.partition("@")
    config_path = None if locate(name) else try_to_load_from_cache(owner, "config.json", revision=revision or None)
    return f"{owner}@{Path(config_path).parent.name}" if isinstance(config_path, str) else ""


def _is_same_model(first: str, second: str) -> bool:
    """Whether two names are the same model. A missing folder is not the same as any model."""
    try:
        return first == second or identity(first) == identity(second)
    except (ModelError, OSError):
        return False


def _check_base_matches(model: str, base: str) -> None:
    if _is_same_model(model, base):
        raise ModelError(f"--base {base}: has the same weights as the model. Pass the base model of the fine-tuning.")
    for name in ("model_type", "hidden_size", "num_hidden_layers"):
        model_value, base_value = (load.text_setting(m, name) for m in (model, base))
        if model_value != base_value and None not in (model_value, base_value):
            raise ModelError(
                f"base {base!r}: {name} is {base_value}, but the model's is {model_value}. Pass the base model of the fine-tuning."
            )


def saved_tokenizer(files: ModelFiles) -> PreTrainedTokenizerBase:
    """Return the tokenizer in the folder of the model or adapter; for an adapter without one, its base's tokenizer."""
    if files.adapter is not None and list(files.adapter.glob("tokenizer*")):
        return load.load_tokenizer(str(files.adapter))
    return load.load_tokenizer(files.weights)


def load_model(weights: str, placement: Placement) -> LanguageModel:
    """Return a complete model on its device. Raises `ModelError` if it needs more memory than is free."""
    config = load.causal_config(weights)
    options = placement.from_pretrained_options(weights, config)
    check_memory(weights, placement, config)
    model = load.load(weights, load_options=options, ignore_adapter=True)
    if not placement.is_device_mapped(config):
        model.module.to(placement.torch_device)
    return model


@contextmanager
def open_model(weights: str, *, placement: Placement) -> Generator[LanguageModel]:
    """Load a complete model as `load_model` does, after freeing the memory of the models that were opened before."""
    if _CLOSED_MODULES:  # a full collection takes a second, and most modules are in no reference cycle
        gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    model = load_model(weights, placement)
    try:
        yield model
    finally:
        _CLOSED_MODULES.add(model.module)
