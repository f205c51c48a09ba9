"""Several adapters in one folder: peft writes the adapter `default` into the folder, and each other one into a subfolder."""

from __future__ import annotations

import re
from pathlib import Path

from byheart.core.errors import ModelError
from byheart.lm.base_models import locate
from byheart.lm.model_folder import ADAPTER_CONFIG, model_folder

DEFAULT_ADAPTER = "default"
"""peft's name of the adapter in the folder itself."""
_CHECKPOINT = re.compile(r"checkpoint-\d+")


def named_adapter(model: str, name: str) -> Path | None:
    """Return the folder of the adapter with this name in the model's folder; None if `name` is not such a name.

    Raises `ModelError` for a name that none of the folder's adapters has, and for a folder that also contains complete weights:
    the adapter may be merged into them already.
    """
    path = locate(model)
    if path is None or not path.is_dir() or Path(name).name != name:
        return None
    folder, adapters = model_folder(path), adapters_by_name(path)
    if not adapters or (name != DEFAULT_ADAPTER and adapters == {DEFAULT_ADAPTER: path}):
        return None
    is_complete = bool(folder.weights or folder.missing)
    if is_complete and (name not in adapters or (Path(name) / ADAPTER_CONFIG).is_file()):
        return None
    if is_complete:
        raise ModelError(
            f"--adapter {name}: model folder {path} contains complete weights and this adapter. If the adapter is already merged into "
            f"the weights, write --adapter none; if not, write --adapter {adapters[name]}."
        )
    if name not in adapters:
        raise ModelError(
            f"--adapter {name}: model folder {path} contains no such adapter. Choose one of {', '.join(adapters)}."
        )
    return adapters[name]


def adapters_by_name(path: Path) -> dict[str, Path]:
    """Return the folders of a folder's adapters by name: `default` is the folder itself, if it contains an adapter."""
    own = {DEFAULT_ADAPTER: path} if (path / ADAPTER_CONFIG).is_file() else {}
    return own | {p.name: p for p in _subfolders_with_adapters(path)} | own  # first, also before a subfolder `default`


def choice_doubts(folder: Path) -> tuple[str, ...]:
    """Return a warning if a folder contains its own adapter and others. A trainer's checkpoints do not count."""
    others = [p.name for p in _subfolders_with_adapters(folder) if not _CHECKPOINT.fullmatch(p.name)]
    if not others or not (folder / ADAPTER_CONFIG).is_file():
        return ()
    hidden = f"; pass {folder / DEFAULT_ADAPTER} as --model for that one" if DEFAULT_ADAPTER in others else ""
    doubt = (
        f"the folder also contains the adapters {', '.join(others)}; the audit uses the one in the folder itself. "
        f"Choose another with --adapter NAME{hidden}"
    )
    return (doubt,)


def _subfolders_with_adapters(path: Path) -> list[Path]:
    return [p for p in sorted(path.iterdir()) if (p / ADAPTER_CONFIG).is_file()]
