"""Load base models from safetensors and GGUF files, without remote code or pickle.

`base_models.py` checks a model's files before loading. `gguf.py` dequantizes GGUF files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from byheart.core.config import Privacy
from byheart.core.errors import ModelError
from byheart.lm.allocator import keep_freed_memory
from byheart.lm.base_models import check_loadable, locate
from byheart.lm.causality import check_causal
from byheart.lm.from_pretrained import (
    read_config,
    read_module,
    read_tokenizer,
    silence_transformers,
    split_revision,
)
from byheart.lm.gguf import dequantized_folder
from byheart.lm.model_folder import without_adapter
from byheart.lm.multimodal import multimodal_class
from byheart.lm.quantized_files import check_method_known, dequantize_when_loaded

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

_TASKS = {
    "ForSequenceClassification": "classification of texts",
    "ForTokenClassification": "classification of tokens",
    "ForMultipleChoice": "classification of answers",
    "ForQuestionAnswering": "extractive question answering",
    "ForMaskedLM": "masked language modeling",
    "ForFeatureExtraction": "embeddings of texts",
    "RewardModel": "rewards (classification of texts)",
}
_OTHER_TASKS = re.compile("|".join(_TASKS))


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal language model with its tokenizer.

    `hidden` caches the trunk's hidden states by the tokens' digest and the precision of the computation, if training
    does not change the trunk; None for all other models.
    """

    module: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    name: str
    hidden: dict[tuple[str, torch.dtype], torch.Tensor] | None = None

    @property
    def context_length(self) -> int | None:
        """Maximum sequence length (tokens) in the model's config, or None if the config has none."""
        config = self.module.config.get_text_config()
        return getattr(config, "max_position_embeddings", None)

    @property
    def max_text_tokens(self) -> int | None:
        """Maximum text length (tokens): the context length minus virtual tokens, or None if unknown."""
        from peft import PeftModel

        config = self.module.active_peft_config if isinstance(self.module, PeftModel) else None
        return self.context_length and self.context_length - (getattr(config, "num_virtual_tokens", 0) or 0)

    def without_weights(self) -> LanguageModel:
        """Return the tokenizer and the name, so that the weights can be freed."""
        import torch

        return LanguageModel(torch.nn.Module(), self.tokenizer, self.name)

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens in the model's vocabulary."""
        return self.module.get_input_embeddings().weight.shape[0]


class TrainableModel(NamedTuple):
    """Result of a fine-tuning method: a model with gradients on the trained parameters only, and the learning rate.

    With `privacy`, training satisfies this differential privacy guarantee.
    """

    module: torch.nn.Module
    learning_rate: float
    privacy: Privacy | None = None


def load(base: str, *, load_options: Mapping[str, Any] | None = None, ignore_adapter: bool = False) -> LanguageModel:
    """Return the model on the CPU in float32, in evaluation mode, with its tokenizer.

    `load_options` are further options for `from_pretrained`. An adapter beside complete weights is never attached;
    `ignore_adapter` states that this is intended. Raises `ModelError` for a model that is missing, not causal, not safe to
    load, or ambiguous.
    """
    check_loadable(base, ignore_adapter=ignore_adapter)
    path = locate(base)
    source = base if path is None else str(dequantized_folder(path) if path.is_file() else path)
    name, pinned = split_revision(source)
    keep_freed_memory()
    config, options = causal_config(base, source), {**dict(load_options or {}), **pinned}
    check_method_known(base, config)
    dequantize_when_loaded(config)
    with without_adapter(name) as files:
        module = read_module(base, files, kind=config and multimodal_class(config), config=config, **options)
    module.config.name_or_path = name
    tokenizer = read_tokenizer(base, name, **pinned)
    module.config.use_cache = False
    _disable_4bit_repacking(module)
    check_causal(base, module)
    return LanguageModel(module, tokenizer, base)


def load_tokenizer(base: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer in a folder, in a GGUF file or on the Hub, without the model's weights.

    Raises `ModelError` if the tokenizer cannot be read.
    """
    path = locate(base)
    if path is None:
        causal_config(base)  # raises an error if the Hub does not have the model
    name, pinned = split_revision(base if path is None else str(dequantized_folder(path) if path.is_file() else path))
    return read_tokenizer(base, name, **pinned)


def check_chat_template(base: str) -> None:
    """Raise `ModelError` for a base without a chat template. GGUF files are checked after dequantization."""
    if not str(locate(base) or "").endswith(".gguf") and not load_tokenizer(base).chat_template:
        raise ModelError(
            f"model {base!r}: the records are chats, but the tokenizer has no chat template. Choose a model that was tuned "
            "for chats, or add a chat_template.jinja to the tokenizer's folder."
        )


def causal_config(base: str, location: str | None = None) -> PreTrainedConfig | None:
    """Return a base's config without reading weights; None for a GGUF file that is not dequantized into `location`.

    Raises `ModelError` for a config that cannot be read or is not that of a causal language model.
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
    architecture = config.model_type
    # transformers also builds BERT-like models as causal models. Without `is_decoder` they read later tokens.
    is_masked = architecture in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
    check_class_names(base, config.architectures or [])
    is_causal = architecture in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or multimodal_class(config) is not None
    if not is_causal or config.is_encoder_decoder or is_masked:
        raise ModelError(
            f"model {base!r}: {architecture} is not a causal language model. Choose a causal language model."
        )
    return config


def text_setting(base: str, name: str) -> Any:
    """Return a setting of a base's config for texts; None if the config has no such setting or is not read."""
    config = causal_config(base)
    return getattr(config and config.get_text_config(), name, None)


def check_class_names(name: str, class_names: Iterable[str]) -> None:
    """Raise `ModelError` for a class of transformers that classifies or embeds texts: it has no language model's head."""
    for class_name in class_names:
        if match := _OTHER_TASKS.search(class_name):
            raise ModelError(
                f"model {name!r}: is a {class_name}, which was trained for {_TASKS[match.group()]}, not a causal language model. "
                "Choose a causal language model."
            )


def masked_lm_source(name: str) -> tuple[str, dict[str, str], PreTrainedConfig]:
    """Return a masked language model's folder or Hub id, its revision option, and its config, without reading weights.

    Raises `ModelError` for a model that is missing, not masked, or not safe to load.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    check_loadable(name)
    path = locate(name)
    silence_transformers()
    location, pinned = split_revision(name if path is None else str(path))
    config = read_config(name, location, **pinned)
    if config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.is_encoder_decoder:
        raise ModelError(
            f"model {name!r}: {config.model_type} is not a masked language model. Choose a masked language model, "
            "such as distilbert/distilroberta-base."
        )
    return location, pinned, config


def _disable_4bit_repacking(module: torch.nn.Module) -> None:
    """Prevent bitsandbytes from repacking 4-bit weights for this CPU in their first forward pass.

    Version 0.50 reverts the repacking in `state_dict`, which attaching an adapter calls, and then has different weights.
    """
    for part in module.modules():
        if "support_avx512bf16_for_cpu" in vars(part):
            part.support_avx512bf16_for_cpu = False
