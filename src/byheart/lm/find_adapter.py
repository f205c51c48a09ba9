"""Find the folder of an adapter by a path or a Hub id."""

from __future__ import annotations

from pathlib import Path

from byheart.core.errors import ModelError
from byheart.lm.base_models import locate
from byheart.lm.model_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    MODEL_WEIGHTS,
    WEIGHTS_INDEX,
    ambiguity_message,
    model_folder,
    subfolders_with_models,
)


def adapter_folder(name: str, *, is_named_as_adapter: bool = False) -> Path | None:
    """Return the folder of an adapter, downloaded if it is on the Hub; None for a complete model.

    Raises `ModelError` for a folder with complete weights and an adapter, unless the user named it as the adapter.
    """
    path = locate(name)
    if path is None:
        return _hub_adapter(name)
    if not path.is_dir():
        return None
    folder = model_folder(path)
    if folder.is_ambiguous and not is_named_as_adapter:
        raise ModelError(ambiguity_message(folder))
    return path if folder.has_adapter else None


def _hub_adapter(name: str) -> Path | None:
    from huggingface_hub import file_exists, hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    owner, _, revision = name.partition("@")
    pinned = {"revision": revision} if revision else {}
    try:
        hf_hub_download(owner, ADAPTER_CONFIG, **pinned)
        if any(file_exists(owner, weights, **pinned) for weights in (MODEL_WEIGHTS, WEIGHTS_INDEX)):
            raise ModelError(
                f"model {name!r}: the repository contains complete weights and an adapter. Download the files that training produced "
                "into a folder, and pass the folder."
            )
        return Path(
            snapshot_download(owner, allow_patterns=["*.json", "*.jinja", "*.model", ADAPTER_WEIGHTS], **pinned)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None  # a complete model, or a model that is not available: loading reports that


def no_adapter_error(name: str) -> ModelError:
    """Return the error for a name that is no adapter's, with the adapters in its subfolders."""
    path = locate(name)
    subfolders = subfolders_with_models(path) if path is not None and path.is_dir() else []
    fix = (
        f"Pass one of its subfolders: {', '.join(map(str, subfolders))}."
        if subfolders
        else "Pass the folder that save_pretrained wrote."
    )
    return ModelError(f"adapter {name!r}: no {ADAPTER_CONFIG}. {fix}")
