"""Valid originals that several surfaces edit: a tiny model with its tokenizer, and texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

WORDS = [
    "sailor",
    "queen",
    "letter",
    "garden",
    "river",
    "winter",
    "silver",
    "harbor",
    "engine",
    "doctor",
    "painter",
    "farmer",
    "lantern",
    "bridge",
    "copper",
    "violin",
]


def sentences(count: int, first: int = 0) -> Iterator[str]:
    """Yield distinct sentences."""
    for n in range(first, first + count):
        yield f"The {WORDS[n % 16]} wrote {n * n + 7} letters to the {WORDS[(n * 5 + 3) % 16]} of room {n}."


def write_lines(path: Path, count: int, first: int = 0) -> Path:
    """Write a JSONL file of sentences."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(count, first)))
    return path


def save_tiny_model(folder: Path) -> Path:
    """Write a random llama of two layers with a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    made.train_from_iterator(list(sentences(60)), trainer)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder
