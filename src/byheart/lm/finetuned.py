"""Models that somebody else trained: a whole model, or a peft adapter with its base, found from its own files.

With an adapter there is one copy of the weights: the base is the same model with the adapter switched off. Nothing is
loaded before the files say that it belongs together, and never from a pickle.
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
from byheart.lm.load import LanguageModel
from byheart.lm.memory_check import check_memory
from byheart.lm.placement import Placement, device_of
from byheart.lm.preserve_state import preserve_training_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PEFT_METHOD_NAMES = {"prefix_tuning": "prefix", "prompt_tuning": "prompt"}
"""peft's names of methods that byheart calls by others."""
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_LOGIT_TOLERANCE = 1e-3
"""Share of the logits' spread by which a switched-off adapter may differ from its base."""


@dataclass(frozen=True)
class ModelFiles:
    """A finished model as its files tell it: `weights` to load, the adapter's folder, the base of a whole model.

    `doubts` are what its files leave open, in words.
    """

    name: str
    weights: str
    adapter: Path | None
    base: str | None
    method: str
    doubts: tuple[str, ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        """What tells its weights from any other: content hashes of files, ids of the Hub."""
        named = {"model": self.weights, "adapter": self.adapter and str(self.adapter), "base": self.base}
        if self.adapter:
            named["base"] = named.pop("model")
        return {part: _hub_commit(name) or identity(name) for part, name in named.items() if name}


def model_files(model: str, adapter: str | None, base: str | None) -> ModelFiles:
    """Return what is to be audited, from the names of a model or adapter, and of a base where one is given.

    Raises `ModelError` for an adapter without its base, for files that are not there, and for a base of another shape.
    """
    folder = _adapter_folder(model)
    if adapter is not None:
        if folder is not None:
            raise ModelError(f"model {model!r} is an adapter itself; write --model {model}, or --base in its place")
        folder = _adapter_folder(adapter)
        if folder is None:
            raise ModelError(f"adapter {adapter!r} has no {_CONFIG}; name the folder that save_pretrained wrote")
        if base is not None and base != model:
            raise ModelError(f"with --adapter, --model is the base: {model!r}; leave out --base {base}")
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
    used = base or recorded
    if not used or not isinstance(used, str):
        raise ModelError(f"adapter {folder}: its {_CONFIG} names no base; name it with --base")
    if not (folder / _WEIGHTS).is_file():
        raise ModelError(
            f"adapter {folder}: no {_WEIGHTS}; save it again with save_pretrained (a pickle is not loaded)"
        )
    try:
        locate(used)
    except ModelError as error:
        raise ModelError(f"adapter {folder}: its base {used!r} is not here; name it with --base") from error
    check_loadable(used)
    kind = str(config.get("peft_type", "")).lower()
    doubts = ()
    if isinstance(recorded, str) and recorded and not _is_same_model(recorded, used):
        doubts = (f"the adapter says that it was trained on {recorded}, and {used} is taken for its base",)
    return ModelFiles(str(folder), used, folder, None, PEFT_METHOD_NAMES.get(kind, kind), doubts)


def _hub_commit(name: str) -> str:
    """Return a Hub model with the commit that was read; "" for files, whose content is hashed."""
    from huggingface_hub import try_to_load_from_cache

    owner, _, revision = name.partition("@")
    kept = None if locate(name) else try_to_load_from_cache(owner, "config.json", revision=revision or None)
    return f"{owner}@{Path(kept).parent.name}" if isinstance(kept, str) else ""


def _is_same_model(one: str, other: str) -> bool:
    """Whether two names are of one model; a folder that has gone is not."""
    try:
        return one == other or identity(one) == identity(other)
    except (ModelError, OSError):
        return False


def _adapter_config(folder: Path) -> dict[str, Any]:
    try:
        held = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"adapter {folder}: {_CONFIG} cannot be read ({error}); save it again") from error
    if not isinstance(held, dict):
        raise ModelError(f"adapter {folder}: {_CONFIG} holds no JSON object; save it again")
    return held


def _adapter_folder(name: str) -> Path | None:
    """Return the folder of an adapter, fetched if it is on the Hub; None for what is a whole model."""
    path = locate(name)
    if path is not None:
        whole = path.is_dir() and (path / "config.json").exists()
        return path if not whole and (path / _CONFIG).exists() else None
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    owner, _, revision = name.partition("@")
    pinned = {"revision": revision} if revision else {}
    try:
        hf_hub_download(owner, _CONFIG, **pinned)
        return Path(snapshot_download(owner, allow_patterns=["*.json", "*.jinja", "*.model", _WEIGHTS], **pinned))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None  # a whole model, or one that cannot be had, which loading says


def _check_base_matches(model: str, base: str) -> None:
    if _is_same_model(model, base):
        raise ModelError(f"model and base are the same weights ({base}); name what the model was tuned from as --base")
    for name in ("model_type", "hidden_size", "num_hidden_layers"):
        one, other = (getattr(load.causal_config(m), name, None) for m in (model, base))
        if one != other and None not in (one, other):
            raise ModelError(f"base {base!r} has {name} {other} and the model {one}; name the one it was tuned from")


def saved_tokenizer(files: ModelFiles) -> PreTrainedTokenizerBase:
    """Return the tokenizer that was saved beside the model or adapter; an adapter without one has its base's."""
    if files.adapter is not None and list(files.adapter.glob("tokenizer*")):
        return load.load_tokenizer(str(files.adapter))
    return load.load_tokenizer(files.weights)


def load_model(weights: str, placement: Placement) -> LanguageModel:
    """Return a whole model where it is to lie; raises `ModelError` where it is larger than the memory that is free."""
    config = load.causal_config(weights)
    how = placement.from_pretrained_options(weights, config)
    check_memory(weights, placement, config)
    model = load.load(weights, load_options=how)
    if not placement.is_device_mapped(config):
        model.module.to(placement.torch_device)
    return model


@contextmanager
def open_model(weights: str, *, placement: Placement) -> Generator[LanguageModel]:
    """Load a whole model as `loaded` does, and let its memory go afterwards."""
    held = [load_model(weights, placement)]
    try:
        yield held[0]
    finally:
        held.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def attach_adapter(model: LanguageModel, files: ModelFiles, placement: Placement) -> LanguageModel:
    """Return the model with its adapter, which leaves the base as it was once it is switched off.

    Raises `ModelError` for an adapter that does not fit its base, or is a part of the base even when switched off.
    """
    before = _probe_logits(model.module)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            module: Any = PeftModel.from_pretrained(model.module, str(files.adapter)).eval()
        if not placement.is_device_mapped(module.config):
            module.to(before.device)
        tuned = _probe_logits(module)
        with preserve_training_state(module), module.disable_adapter():
            after = _probe_logits(module)
    except load.library_errors() as error:
        raise ModelError(
            f"adapter {files.adapter} does not fit {files.weights} ({load.short_error(error)}); name its own base"
        ) from error
    if any("missing adapter keys" in str(w.message) for w in said):
        raise ModelError(
            f"adapter {files.adapter} lacks weights that its config names; save it again with save_pretrained"
        )
    if torch.equal(before, tuned):
        raise ModelError(
            f"adapter {files.adapter} changes nothing: it was not trained, or not on {files.weights}; name the one that training saved"
        )
    if float((before - after).abs().max()) > _LOGIT_TOLERANCE * float(before.std()):
        raise ModelError(
            f"adapter {files.adapter} changes its base also when it is switched off (it trained biases, say); "
            "merge it, save the whole model, and audit that with --base"
        )
    return replace(model, module=module, tokenizer=saved_tokenizer(files), name=files.weights)


def _probe_logits(module: Any) -> torch.Tensor:
    """Logits of a few tokens, which tell one model from another."""
    ids = torch.tensor([[5, 6, 7, 8]], device=device_of(module)) % module.config.get_text_config().vocab_size
    with torch.no_grad():
        return module(input_ids=ids).logits[:, -4:].float()
