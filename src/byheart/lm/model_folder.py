"""Contents of a local model folder, read from file names and headers: complete weights, an adapter, or both.

transformers loads `model.safetensors`, or without it the files that `model.safetensors.index.json` lists. Other safetensors files in the
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
from typing import Annotated, Any

from annotated_types import Ge

from byheart.core.errors import ModelError
from byheart.core.json_shapes import as_declared
from byheart.core.setting_values import shown_setting as shown

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
    """Return the contents of a folder. Raises `ModelError` for an index that is not JSON, or that names no files of the folder."""
    # transformers reads no index beside a complete file.
    listed = [MODEL_WEIGHTS] if (path / MODEL_WEIGHTS).is_file() else _indexed_files(path / WEIGHTS_INDEX)
    weights = tuple(path / name for name in listed if (path / name).is_file())
    missing = tuple(name for name in listed if not (path / name).is_file())
    return ModelFolder(path, weights, missing, (path / ADAPTER_CONFIG).is_file())


def _indexed_files(index: Path) -> list[str]:
    """Return the names of the weight files in an index; [] without an index."""
    content = read_json_object(index)
    try:
        names = as_declared(dict[str, str], content.get("weight_map", {})).values()
    except ValueError as error:
        raise ModelError(f"{index}: weight_map is not file names by tensor ({error}). Download it again.") from error
    if outside := [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name]:
        raise ModelError(f"{index}: names {shown(outside[0])}, which is not in this folder. Download it again.")
    return sorted(set(names))


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
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is not JSON ({error}). {fix}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: contains no JSON object. {fix}")
    return content


GIT_LFS_POINTER = b"version https://git-lfs"
"""Beginning of the text file that a clone without Git LFS has in place of the weights."""


@dataclass(frozen=True)
class TensorInfo:
    """A tensor in the header of a safetensors file; offsets are bytes after the header."""

    dtype: str
    shape: tuple[Annotated[int, Ge(0)], ...]
    data_offsets: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]]


def safetensors_header(file: Path) -> dict[str, TensorInfo]:
    """Return the tensors in the header of a safetensors file by name. Raises `ModelError` for another header."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            # A damaged file can contain any header length. Never read more than the file.
            header = json.loads(stream.read(min(length, file.stat().st_size)))
            tensors = {name: value for name, value in header.items() if name != "__metadata__"}
            return as_declared(dict[str, TensorInfo], tensors)
        except (ValueError, AttributeError, RecursionError) as error:
            stream.seek(0)
            if stream.read(len(GIT_LFS_POINTER)) == GIT_LFS_POINTER:
                raise ModelError(f"{file}: is a pointer of Git LFS, not the weights. Run git lfs pull.") from error
            raise ModelError(f"{file}: is not a safetensors file. Download it again.") from error


def check_not_truncated(file: Path) -> None:
    """Raise `ModelError` for a safetensors file with more or fewer bytes than its header names."""
    with file.open("rb") as stream:
        content_bytes = file.stat().st_size - 8 - int.from_bytes(stream.read(8), "little")
    if max((t.data_offsets[1] for t in safetensors_header(file).values()), default=0) != content_bytes:
        raise ModelError(f"{file}: is truncated or damaged. Download it again.")


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a safetensors file."""
    return {name: tensor.shape for name, tensor in safetensors_header(file).items()}
