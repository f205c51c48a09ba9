"""Load fine-tuned models that byheart did not train: a complete model, or a peft adapter with its base model.

With an adapter, memory contains one copy of the weights: the base is the same model with the adapter disabled. The files
are checked before loading, and pickles are never loaded.
"""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel

from byheart.core.errors import ModelError
from byheart.lm import load
from byheart.lm.base_models import check_loadable, identity, locate
from byheart.lm.from_pretrained import library_errors, short_error
from byheart.lm.load import LanguageModel
from byheart.lm.memory_check import check_memory
from byheart.lm.placement import Placement, device_of
from byheart.lm.preserve_state import preserve_training_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PEFT_METHOD_NAMES = {"prefix_tuning": "prefix", "prompt_tuning": "prompt"}
"""byheart's method names for peft types with another name."""
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_LOGIT_TOLERANCE = 1e-3
"""Maximum difference between a disabled adapter and its base, as a fraction of the logits' standard deviation."""


@dataclass(frozen=True)
class ModelFiles:
    """Files of a fine-tuned model: `weights` to load, the adapter's folder, and the base of a complete model.

    `doubts` are warnings about the files.
    """

    name: str
    weights: str
    adapter: Path | None
    base: str | None
    method: str
    doubts: tuple[str, ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        """Identities of the weights by part: content hashes of files, or Hub ids with their commit."""
        names = {"model": self.weights, "adapter": self.adapter and str(self.adapter), "base": self.base}
        if self.adapter:
            names["base"] = names.pop("model")
        return {part: _hub_commit(name) or identity(name) for part, name in names.items() if name}


def model_files(model: str, adapter: str | None, base: str | None) -> ModelFiles:
    """Return the files to audit, from the names of a model or adapter and of an optional base.

    Raises `ModelError` for an adapter without a base, for missing files, and for a base with another architecture.
    """
    folder = _adapter_folder(model)
    if adapter is not None:
        if folder is not None:
            raise ModelError(
                f"model {model!r}: is an adapter, and --adapter is set too. Write --model {model} alone, or pass the base as --model."
            )
        folder = _adapter_folder(adapter)
        if folder is None:
            raise ModelError(f"adapter {adapter!r}: no {_CONFIG}. Pass the folder that save_pretrained wrote.")
        if base is not None and base != model:
            raise ModelError(f"--base {base}: with --adapter, --model {model!r} is the base. Leave out --base.")
        base = model
    if folder is None:
        check_loadable(model)
        if base is not None:
            check_loadable(base)
            _check_base_matches(model, base)
        return ModelFiles(model, model, None, base, "full")
    return _adapter_files(folder, base)


def _adapter_files(folder: Path, base: str | None) -> ModelFiles:
    config = _adapter_config(folder)
    recorded = config.get("base_model_name_or_path")
    base_name = base or recorded
    if not base_name or not isinstance(base_name, str):
        raise ModelError(f"adapter {folder}: {_CONFIG} has no base model. Pass it with --base.")
    if not (folder / _WEIGHTS).is_file():
        raise ModelError(
            f"adapter {folder}: no {_WEIGHTS}. Save it again with save_pretrained (pickles are not loaded)."
        )
    try:
        locate(base_name)
    except ModelError as error:
        raise ModelError(
            f"adapter {folder}: its base {base_name!r} does not exist. Pass its base with --base."
        ) from error
    check_loadable(base_name)
    peft_type = str(config.get("peft_type", "")).lower()
    doubts = ()
    if isinstance(recorded, str) and recorded and not _is_same_model(recorded, base_name):
        doubts = (f"the adapter's config names the base {recorded}, but the audit uses {base_name}",)
    return ModelFiles(str(folder), base_name, folder, None, PEFT_METHOD_NAMES.get(peft_type, peft_type), doubts)


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


def _adapter_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"adapter {folder}: {_CONFIG} cannot be read ({error}). Save the adapter again.") from error
    if not isinstance(config, dict):
        raise ModelError(f"adapter {folder}: {_CONFIG} contains no JSON object. Save the adapter again.")
    return config


def _adapter_folder(name: str) -> Path | None:
    """Return the folder of an adapter, downloaded if it is on the Hub; None for a complete model."""
    path = locate(name)
    if path is not None:
        is_complete_model = path.is_dir() and (path / "config.json").exists()
        return path if not is_complete_model and (path / _CONFIG).exists() else None
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    owner, _, revision = name.partition("@")
    pinned = {"revision": revision} if revision else {}
    try:
        hf_hub_download(owner, _CONFIG, **pinned)
        return Path(snapshot_download(owner, allow_patterns=["*.json", "*.jinja", "*.model", _WEIGHTS], **pinned))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None  # a complete model, or a model that is not available: loading reports that


def _check_base_matches(model: str, base: str) -> None:
    if _is_same_model(model, base):
        raise ModelError(f"--base {base}: has the same weights as the model. Pass the base model of the fine-tuning.")
    for name in ("model_type", "hidden_size", "num_hidden_layers"):
        model_value, base_value = (getattr(load.causal_config(m), name, None) for m in (model, base))
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
    model = load.load(weights, load_options=options)
    if not placement.is_device_mapped(config):
        model.module.to(placement.torch_device)
    return model


@contextmanager
def open_model(weights: str, *, placement: Placement) -> Generator[LanguageModel]:
    """Load a complete model as `load_model` does, and free its memory on exit."""
    models = [load_model(weights, placement)]
    try:
        yield models[0]
    finally:
        models.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def attach_adapter(model: LanguageModel, files: ModelFiles, placement: Placement) -> LanguageModel:
    """Return the model with its adapter. Disabling the adapter restores the base exactly.

    Raises `ModelError` for an adapter that does not match its base, that changes nothing, or that changes the base even
    while disabled.
    """
    base_logits = _probe_logits(model.module)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module: Any = PeftModel.from_pretrained(model.module, str(files.adapter)).eval()
        if not placement.is_device_mapped(module.config):
            module.to(base_logits.device)
        adapter_logits = _probe_logits(module)
        with preserve_training_state(module), module.disable_adapter():
            disabled_logits = _probe_logits(module)
    except library_errors() as error:
        raise ModelError(
            f"adapter {files.adapter}: does not match base {files.weights} ({short_error(error)}). "
            "Pass the base it was trained on with --base."
        ) from error
    if any("missing adapter keys" in str(w.message) for w in caught):
        raise ModelError(
            f"adapter {files.adapter}: weights in its config are missing. Save it again with save_pretrained."
        )
    if torch.equal(base_logits, adapter_logits):
        raise ModelError(
            f"adapter {files.adapter}: changes no logits, so it was not trained, or not on {files.weights}. "
            "Pass the adapter that training saved."
        )
    if float((base_logits - disabled_logits).abs().max()) > _LOGIT_TOLERANCE * float(base_logits.std()):
        raise ModelError(
            f"adapter {files.adapter}: changes its base even while disabled (for example, it trained biases). "
            "Merge it, save the complete model, and audit that model with --base."
        )
    return replace(model, module=module, tokenizer=saved_tokenizer(files), name=files.weights)


def _probe_logits(module: Any) -> torch.Tensor:
    """Return the logits of four fixed tokens, which distinguish one model from another."""
    ids = torch.tensor([[5, 6, 7, 8]], device=device_of(module)) % module.config.get_text_config().vocab_size
    with torch.no_grad():
        return module(input_ids=ids).logits[:, -4:].float()
