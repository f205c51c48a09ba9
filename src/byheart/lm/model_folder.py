"""Contents of a local model folder, read from file names and headers: complete weights, an adapter, or both.

transformers loads `model.safetensors`, or the files that `model.safetensors.index.json` lists. Other safetensors files in the
folder (`consolidated.safetensors`, an optimizer's state) do not belong to the model. If the folder also contains an adapter,
transformers attaches it to the weights without a message, although training tools write it beside weights that are already
merged.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from byheart.core.errors import ModelError

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MODEL_WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class ModelFolder:
    """Files of a model folder: the weight files that transformers loads, and whether an adapter's config is present.

    `weights` is empty if the folder contains no complete model. `missing` are listed weight files that do not exist.
    """

    path: Path
    weights: tuple[Path, ...]
    missing: tuple[str, ...]
    has_adapter: bool

    @property
    def is_adapter_only(self) -> bool:
        """Whether the folder contains an adapter and no complete model. A config.json beside it does not matter."""
        return self.has_adapter and not self.weights and not self.missing

    @property
    def is_ambiguous(self) -> bool:
        """Whether the folder contains complete weights and an adapter."""
        return self.has_adapter and bool(self.weights or self.missing)


def model_folder(path: Path) -> ModelFolder:
    """Return the contents of a folder. Raises `ModelError` for an index that is not JSON."""
    listed = sorted(set(read_json_object(path / WEIGHTS_INDEX).get("weight_map", {}).values()))
    if not (path / WEIGHTS_INDEX).is_file():
        listed = [MODEL_WEIGHTS] if (path / MODEL_WEIGHTS).is_file() else []
    weights = tuple(path / name for name in listed if (path / name).is_file())
    missing = tuple(name for name in listed if not (path / name).is_file())
    return ModelFolder(path, weights, missing, (path / ADAPTER_CONFIG).is_file())


def identifying_files(path: Path) -> list[Path]:
    """Return the files that determine a folder's model: JSON, a sentencepiece model, and the weights that transformers loads.

    In a folder without a complete model, these are all safetensors files.
    """
    weights = set(model_folder(path).weights)
    return sorted(
        p
        for p in path.iterdir()
        if p.suffix in {".json", ".model"} or (p.suffix == ".safetensors" and (not weights or p in weights))
    )


def subfolders_with_models(path: Path) -> list[Path]:
    """Return the subfolders that contain an adapter or a complete model: checkpoints and named adapters."""
    subfolders = [p for p in path.iterdir() if p.is_dir()]
    return sorted(
        (p for p in subfolders if (p / ADAPTER_CONFIG).is_file() or model_folder(p).weights),
        key=lambda p: (len(p.name), p.name),
    )


def ambiguity_message(folder: ModelFolder) -> str:
    """Return what an ambiguous folder contains, and the choices."""
    return (
        f"model folder {folder.path}: contains complete weights ({folder.weights[0].name if folder.weights else MODEL_WEIGHTS}) and "
        f"an adapter ({ADAPTER_CONFIG}). If the adapter is already merged into the weights, write --adapter none; if not, write "
        f"--model BASE --adapter {folder.path}."
    )


@contextmanager
def without_adapter(name: str) -> Generator[str]:
    """Yield a folder with the same files except the adapter's, which transformers would attach to the weights.

    A Hub id, and a folder without an adapter, are yielded as they are.
    """
    path = Path(name)
    if not (path / ADAPTER_CONFIG).is_file():
        yield name
        return
    with TemporaryDirectory(prefix="byheart-") as temporary:
        for file in path.iterdir():
            if file.is_file() and not file.name.startswith("adapter_"):
                (Path(temporary) / file.name).symlink_to(file.resolve())
        yield temporary


def read_json_object(path: Path, *, fix: str = "Download it again.") -> dict[str, Any]:
    """Return the object of a JSON file, {} if the file does not exist. Raises `ModelError` with the `fix` for anything else."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}). Make it readable.") from error
    except ValueError as error:
        raise ModelError(f"{path}: is not JSON ({error}). {fix}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: contains no JSON object. {fix}")
    return content


def safetensors_header(file: Path) -> dict[str, Any]:
    """Return the header of a safetensors file: dtype, shape and offsets by tensor name."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            # A damaged file can contain any header length. Never read more than the file.
            header = json.loads(stream.read(min(length, file.stat().st_size)))
        except ValueError as error:
            raise ModelError(f"{file}: is not a safetensors file. Download it again.") from error
    if not isinstance(header, dict):
        raise ModelError(f"{file}: is not a safetensors file. Download it again.")
    return header


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a safetensors file."""
    return {n: tuple(t["shape"]) for n, t in safetensors_header(file).items() if n != "__metadata__"}
