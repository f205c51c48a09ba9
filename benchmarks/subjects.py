"""The measured model and texts: the default small model, leads of Wikipedia articles of all lengths."""

import time

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from byheart.core.types import Texts
from byheart.datasets.wikipedia import wikipedia
from byheart.lm.base_models import default_base, locate
from byheart.lm.devices import torch_device
from byheart.lm.load import LanguageModel, load
from byheart.lm.tokens import Tokens, tokenize

MAX_TOKENS = 256


def model() -> LanguageModel:
    """Return the default base model on the best available device."""
    found = load(default_base())
    found.module.to(torch_device("auto"))
    return found


def plain_model() -> LanguageModel:
    """Return the same model as in a script without byheart.

    transformers loads it, and the C library handles freed memory by default (`load` makes the process keep it).
    """
    base = default_base()
    path = locate(base)
    file = {"gguf_file": path.name} if path is not None and path.suffix == ".gguf" else {}
    whole = {"quantization_config": GgufConfig(dequantize=True)} if file else {}
    name = path.parent if file else base
    module = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, **file, **whole).eval()
    module.config.use_cache = False  # as Trainer sets it, for scoring in comparisons with Trainer
    return LanguageModel(module.to(torch_device("auto")), AutoTokenizer.from_pretrained(name, **file), base)


def texts(number: int, skip: int = 0) -> Texts:
    """Return this number of leads, evenly spaced over the file."""
    return wikipedia(limit=number + skip).texts.take(range(skip, number + skip))


def tokens(found: LanguageModel, chosen: Texts) -> Tokens:
    """Return texts as tokens."""
    return tokenize(found.tokenizer, chosen, MAX_TOKENS)


def settled(found: LanguageModel) -> None:
    """Wait for all operations of the device."""
    if next(found.module.parameters()).device.type == "cuda":
        torch.cuda.synchronize()


def scored(chosen: Tokens) -> int:
    """Return the number of scored tokens."""
    return int(np.sum(chosen.lengths - chosen.first))


def matrices(found: LanguageModel) -> int:
    """Return the number of weights that multiply a token in a forward pass, including the head."""
    return sum(p.numel() for p in found.module.parameters() if p.dim() > 1)


def products(precision: torch.dtype, device: torch.device, side: int = 2048, times: int = 20) -> float:
    """Return the rate (GFLOP/s) of large matrix products, an upper bound for every model."""
    one = torch.randn(side, side, device=device).to(precision)
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        product = one @ one
        float(product[0, 0])
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best / 1e9
