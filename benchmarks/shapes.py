"""Larger models: random weights in the shapes of LLaMA with 1 and 7 billion parameters, on a GPU; a small shape on a CPU."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import subjects
from benchmarks.pairs import ratio, timed
from benchmarks.scoring import forward
from benchmarks.training import ours, wrapped
from byheart.lm.devices import torch_device
from byheart.lm.forward import token_stats
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import Tokens

SHAPES: Mapping[str, Mapping[str, int]] = {
    "1B": {
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "7B": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "intermediate_size": 11008,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
}
SMALL: Mapping[str, int] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
TEXTS = 64
ROUNDS = 3


def measured() -> dict[str, object]:
    """Return tokens per second of scoring and of LoRA training by shape, and shares of the device's matmul peak."""
    device = torch_device("auto")
    shapes = SHAPES if device.type == "cuda" else {"small": SMALL}
    found: dict[str, Any] = {
        "device": device.type,
        "matrix products, GFLOP/s": subjects.products(torch.bfloat16, device),
    }
    for name, shape in shapes.items():
        found[name] = _of_shape(shape, device, found["matrix products, GFLOP/s"])
    return found


def _of_shape(shape: Mapping[str, int], device: torch.device, peak: float) -> dict[str, object]:
    tokenizer = subjects.model().tokenizer
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, dtype=torch.bfloat16, **shape)
    torch.manual_seed(0)
    with device:
        module = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    model = LanguageModel(module, tokenizer, subjects.default_base())
    tokens = subjects.tokens(model, subjects.texts(TEXTS))

    def score() -> None:
        token_stats(model, tokens, precision=torch.bfloat16)

    seconds = timed({"ours": score, "forward": lambda: forward(model, tokens, torch.bfloat16)}, rounds=ROUNDS)
    total, weights = int(tokens.lengths.sum()), subjects.matrices(model)
    scoring = total / min(seconds["ours"])
    training = total / _seconds(lambda: _train_lora(model, tokens))
    return {
        "parameters": sum(p.numel() for p in module.parameters()),
        "ours over forward": ratio(seconds, "ours", "forward"),
        "scoring, tokens/s": scoring,
        "scoring, share of matmul peak": scoring * 2 * weights / 1e9 / peak,
        "LoRA training, tokens/s": training,
        "LoRA training, share of matmul peak": training * 2 * 2 * weights / 1e9 / peak,
    }


def _train_lora(base: LanguageModel, tokens: Tokens) -> None:
    """Train a LoRA for one epoch; its weights' gradients are not counted in shares of the peak."""
    model, rate = wrapped(base, "lora")
    ours(model, rate, tokens, epochs=1)
    subjects.settled(model)


def _seconds(run: Callable[[], object]) -> float:
    """Return the seconds of a second run; the first one prepares kernels and memory."""
    run()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
