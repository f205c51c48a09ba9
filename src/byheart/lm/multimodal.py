"""Models that read images or sound beside texts. byheart scores their texts: the token ids alone, with the model's own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byheart.core.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def multimodal_class(config: PreTrainedConfig) -> Any:
    """Return transformers' auto class of a multimodal model with a decoder for texts; None for a model of texts only.

    Some auto classes for texts load only a part of such a model, under other names than those of its files.
    """
    from transformers import AutoModelForMultimodalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

    name = MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES.get(config.model_type)
    is_named = name in (config.architectures or [name])
    is_encoder_decoder = any(getattr(c, "is_encoder_decoder", False) for c in (config, config.get_text_config()))
    return AutoModelForMultimodalLM if name and is_named and not is_encoder_decoder else None


def check_trainable(name: str, config: PreTrainedConfig | None) -> None:
    """Raise `ModelError` for a multimodal model that transformers does not list as a causal language model.

    A study's methods would also adapt its parts for images and sound, which texts do not train. Audits score such models.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if config and config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and multimodal_class(config):
        raise ModelError(
            f"model {name!r}: {config.model_type} also reads images or sound, and studies train models of texts only. Choose a "
            "model of texts, or audit a fine-tuned model with byheart audit."
        )
