"""Check an adapter's config and weight file before its base model is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from byheart.core.errors import ModelError
from byheart.lm.model_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    check_not_truncated,
    read_json_object,
    subfolders_with_models,
    tensor_shapes,
)

CAUSAL_TASKS = ("CAUSAL_LM", None, "")
"""Values of `task_type` of adapters for causal language models; older adapters have none."""
BASE_CHANGING_INITIALIZATIONS = re.compile(r"pissa|olora|corda|loftq|lora_ga", re.IGNORECASE)
"""Values of `init_lora_weights` that subtract the initial adapter from the base weights."""


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Return an adapter's config. Raises `ModelError` if it is missing, not JSON, or not one that peft can load."""
    if not (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(f"adapter {folder}: no {ADAPTER_CONFIG}. Save the adapter again.")
    config = read_json_object(folder / ADAPTER_CONFIG, fix="Save the adapter again.")
    _check_type(folder, config)
    return config


def _check_type(folder: Path, config: dict[str, Any]) -> None:
    import peft
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    peft_type = config.get("peft_type")
    if peft_type is None:
        raise ModelError(
            f"adapter {folder}: {ADAPTER_CONFIG} has no peft_type, so another library than peft wrote it. Convert the adapter to peft's "
            "format, or merge it where it was trained and audit the merged model with --base."
        )
    if not isinstance(peft_type, str) or peft_type not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise ModelError(
            f"adapter {folder}: peft_type {peft_type!r} is unknown to peft {peft.__version__}. Upgrade peft, or merge the adapter "
            "where it was trained and audit the merged model with --base."
        )
    if reason := why_not_scored(SimpleNamespace(**config)):
        raise ModelError(f"adapter {folder}: {reason}")
    if config.get("megatron_config"):
        raise ModelError(
            f"adapter {folder}: {ADAPTER_CONFIG} has a megatron_config, for which peft imports a module that the file names. Remove it."
        )
    if config.get("task_type") not in CAUSAL_TASKS:
        raise ModelError(
            f"adapter {folder}: its task_type is {config['task_type']} ({_task_name(str(config['task_type']))}), and byheart audits causal "
            "language models only. Pass an adapter with task_type CAUSAL_LM."
        )


def why_not_scored(config: Any) -> str:
    """Return why an adapter gives a text no log-probabilities of its own, and what to do; "" if it does.

    `config` is a peft config.
    """
    peft_type = str(getattr(config, "peft_type", "")).rpartition(".")[2]
    if peft_type == "MULTITASK_PROMPT_TUNING":
        return (
            "multitask prompt tuning needs task_ids for each text, which an audit does not have. "
            "Extract the prompt of one task, and audit it as prompt tuning."
        )
    if peft_type == "POLY":
        return (
            "Poly needs task_ids for each text, which an audit does not have. Combine the skills of one task into one LoRA, and "
            "audit that adapter."
        )
    if peft_type == "LILY":
        return (
            "Lily's router averages over all tokens of a batch, so a token's probability depends on later tokens and on other texts. "
            "Audit an adapter of another type."
        )
    if getattr(config, "sample_at_inference", False):
        return "sample_at_inference makes its probabilities random. Set sample_at_inference to false in its config."
    return ""


def _task_name(task_type: str) -> str:
    names = {
        "SEQ_CLS": "a classifier of texts",
        "TOKEN_CLS": "a classifier of tokens",
        "SEQ_2_SEQ_LM": "an encoder-decoder model",
        "QUESTION_ANS": "extractive question answering",
        "FEATURE_EXTRACTION": "an embedding model",
    }
    return names.get(task_type, "not a causal language model")


def check_adapter_weights(folder: Path) -> None:
    """Raise `ModelError` for an adapter whose weight file is missing, damaged, or contains no tensors or empty ones."""
    if not (folder / ADAPTER_WEIGHTS).is_file():
        named = [str(p) for p in subfolders_with_models(folder)]
        if named:
            raise ModelError(
                f"adapter {folder}: no {ADAPTER_WEIGHTS}, but its subfolders contain adapters. Pass one of them: {', '.join(named)}."
            )
        raise ModelError(
            f"adapter {folder}: no {ADAPTER_WEIGHTS}. Save it again with save_pretrained (pickles are not loaded)."
        )
    check_not_truncated(folder / ADAPTER_WEIGHTS)
    shapes = tensor_shapes(folder / ADAPTER_WEIGHTS)
    if not shapes:
        # peft 0.21 saves an X-LoRA without its classifier, and loads the file with a random one.
        raise ModelError(
            f"adapter {folder}: {ADAPTER_WEIGHTS} contains no tensors, so peft would load a model with random weights. Pass the model "
            "in memory to byheart.audit, or save it merged."
        )
    empty = [name for name, shape in shapes.items() if 0 in shape]
    if empty:
        raise ModelError(
            f"adapter {folder}: {len(empty)} of {len(shapes)} tensors are empty, for example {empty[0]}. DeepSpeed ZeRO-3 saves such "
            "files if it does not gather the weights. Gather the weights, then save the adapter again."
        )


def vocabulary_rows(folder: Path) -> int | None:
    """Return the number of rows of the embedding that is stored with an adapter; None if none is stored.

    peft stores the whole embedding if the vocabulary was resized, or if the embedding was trained with `modules_to_save`.
    """
    stored = {
        name: shape
        for name, shape in tensor_shapes(folder / ADAPTER_WEIGHTS).items()
        if re.search(
            r"(embed_tokens|wte|word_embeddings|embed_in|lm_head|embed_out)(\.modules_to_save(\.\w+)?)?\.weight$", name
        )
    }
    return max((shape[0] for shape in stored.values() if shape), default=None)


def check_restores_base(folder: Path, config: dict[str, Any]) -> None:
    """Raise `ModelError` for an adapter whose config states that training changed the base model's weights, or names other folders."""
    if config.get("peft_type") == "XLORA":
        raise ModelError(
            f"adapter {folder}: X-LoRA takes further adapters from the folders or Hub ids that its config names. Pass the model in "
            "memory to byheart.audit, or save it merged."
        )
    if reason := base_change(SimpleNamespace(**config)):
        raise ModelError(base_change_message(folder, reason))


def base_change_message(folder: Path | None, reason: str) -> str:
    """Return the error message for an adapter whose disabling does not restore its base model."""
    return (
        f"adapter {folder}: disabling it does not restore its base model, because {reason}. "
        "Merge it, save the complete model, and audit that model"
        f"{'' if 'layer_replication' in reason else ' with --base'}."
    )


def base_change(config: Any) -> str:
    """Return why disabling an adapter does not restore its base model; "" if it does. `config` is a peft config."""
    bias = getattr(config, "bias", "none")
    if bias not in (None, "none", False):
        return f"training changed the base model's biases (bias: {bias!r})"
    initialization = getattr(config, "init_lora_weights", None)
    if isinstance(initialization, str) and BASE_CHANGING_INITIALIZATIONS.match(initialization):
        return f"init_lora_weights: {initialization!r} changed the base weights before training"
    if getattr(config, "layer_replication", None):
        return "layer_replication repeats layers of the base model"
    if str(getattr(config, "peft_type", "")).endswith("OSF"):
        return "OSF decomposes the base weights and trains a part of them"
    return ""
