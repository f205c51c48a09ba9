"""The model and the texts that are measured: the default small model, leads of Wikipedia articles of all lengths."""

import time

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from byheart.core.types import Texts
from byheart.datasets.wikipedia import wikipedia
from byheart.lm.base_models import default_base, locate
from byheart.lm.load import LanguageModel, load, torch_device
from byheart.lm.tokens import Tokens, tokenize

MAX_TOKENS = 256


def model() -> LanguageModel:
    """Return the default base on the best device there is."""
    found = load(default_base())
    found.module.to(torch_device("auto"))
    return found


def plain_model() -> LanguageModel:
    """Return the same model as a script has it that knows no byheart.

    transformers loads it, and the C library deals with freed memory as it comes (`load` has the process keep it).
    """
    base = default_base()
    path = locate(base)
    file = {"gguf_file": path.name} if path is not None and path.suffix == ".gguf" else {}
    whole = {"quantization_config": GgufConfig(dequantize=True)} if file else {}
    name = path.parent if file else base
    module = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, **file, **whole).eval()
    module.config.use_cache = False  # as Trainer sets it, for what scores beside Trainer
    return LanguageModel(module.to(torch_device("auto")), AutoTokenizer.from_pretrained(name, **file), base)


def texts(number: int, skip: int = 0) -> Texts:
    """Return so many leads, evenly spaced over the file."""
    return wikipedia(limit=number + skip).texts.take(range(skip, number + skip))


def tokens(found: LanguageModel, chosen: Texts) -> Tokens:
    """Return texts as tokens."""
    return tokenize(found.tokenizer, chosen, MAX_TOKENS)


def settled(found: LanguageModel) -> None:
    """Wait for what the device was told to do."""
    if next(found.module.parameters()).device.type == "cuda":
        torch.cuda.synchronize()


def scored(chosen: Tokens) -> int:
    """Return how many tokens are scored."""
    return int(np.sum(chosen.lengths - chosen.first))


def matrices(found: LanguageModel) -> int:
    """Return how many weights a token is multiplied with on its way through the model, its head's with them."""
    return sum(p.numel() for p in found.module.parameters() if p.dim() > 1)


def products(precision: torch.dtype, device: torch.device, side: int = 2048, times: int = 20) -> float:
    """Return the rate (GFLOP/s) of large matrix products: what no model can exceed."""
    one = torch.randn(side, side, device=device).to(precision)
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        product = one @ one
        float(product[0, 0])
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best / 1e9
