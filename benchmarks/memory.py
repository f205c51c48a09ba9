"""Memory: the peak above the weights while texts of 1,024 tokens are scored with a vocabulary of 262,144."""

import resource
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig

from byheart.core.types import Texts
from byheart.lm.forward import token_stats
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import Tokens

VOCABULARY = 262_144
LENGTH = 1024
TEXTS = 8


def measured() -> dict[str, object]:
    """Return peaks (MiB) above the resident memory after the model was loaded."""
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY, hidden_size=640, intermediate_size=2048, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=1, head_dim=256, max_position_embeddings=2048,
    )  # fmt: skip
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config)
    chance = np.random.default_rng(0)
    names = tuple(map(str, range(TEXTS)))
    tokens = Tokens(
        ids=chance.integers(VOCABULARY, size=TEXTS * LENGTH),
        starts=np.arange(TEXTS + 1) * LENGTH,
        first=np.ones(TEXTS, dtype=np.int64),
        cut=np.zeros(TEXTS, dtype=np.int64),
        texts=Texts(names, names),
    )
    model = LanguageModel(module, None, "random Gemma")  # type: ignore[arg-type] - scoring reads no text
    before = _resident()
    token_stats(model, tokens)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    whole = TEXTS // 2 * LENGTH * VOCABULARY * 4 / 2**20
    return {"peak above the weights, MiB": peak - before, "one batch's logits whole, MiB": whole}


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
