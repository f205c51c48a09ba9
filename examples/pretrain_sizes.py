"""Pre-train LLaMA models of three sizes from nothing on Wikipedia leads, and keep every fifth lead out.

    python examples/pretrain_sizes.py

Writes sizes/small, sizes/middle and sizes/large, with one tokenizer, and sizes/kept_out.jsonl: leads that none of the models
ever saw, for studies/findings/sizes.yaml. Each model is the epoch with the lowest loss on 200 further leads, which no model
was trained on either. A folder that exists is not trained again. Takes about an hour and a half on one core.
"""

import argparse
import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
from datasets import Dataset
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    EarlyStoppingCallback,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from byheart.datasets.wikipedia import wikipedia


class Size(NamedTuple):
    """Width and layers of a model, and its training."""

    width: int
    layers: int
    learning_rate: float
    epochs: int


SIZES = {"small": Size(128, 3, 3e-3, 10), "middle": Size(256, 5, 2e-3, 8), "large": Size(384, 6, 1e-3, 6)}
VOCABULARY = 4096
BLOCK = 128
END = "<eos>"
VALIDATION = 200
KEPT_OUT = 5


def main() -> None:
    """Train the tokenizer and the models, and write the texts that were kept out."""
    parser = argparse.ArgumentParser(description="Pre-train LLaMA models of three sizes.")
    parser.add_argument("--output", type=Path, default=Path("sizes"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    leads = wikipedia().texts
    kept_out = range(0, len(leads), KEPT_OUT)
    lines = (json.dumps({"id": leads.ids[i], "text": leads.scored[i]}) + "\n" for i in kept_out)
    (args.output / "kept_out.jsonl").write_text("".join(lines))
    seen = [text for i, text in enumerate(leads.scored) if i % KEPT_OUT]
    step = len(seen) // VALIDATION
    validation = seen[::step]
    training = [text for i, text in enumerate(seen) if i % step]
    tokenizer = train_tokenizer(training)
    for name, size in SIZES.items():
        folder = args.output / name
        if not folder.exists():
            pretrain(size, tokenizer, training, validation, folder)


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer that is trained on the texts."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=VOCABULARY, special_tokens=[END], show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer,  # noqa: SLF001 - the class wraps only this object
        bos_token=END,
        eos_token=END,
        pad_token=END,
    )


def pretrain(
    size: Size,
    tokenizer: PreTrainedTokenizerFast,
    texts: list[str],
    validation: list[str],
    folder: Path,
) -> None:
    """Train one model until its validation loss stops falling, and save the best epoch with the tokenizer."""
    set_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.width,
            intermediate_size=8 * size.width // 3,
            num_hidden_layers=size.layers,
            num_attention_heads=size.width // 64,
            num_key_value_heads=size.width // 64,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=0,  # END, the first token of the vocabulary
            eos_token_id=0,
        )
    )
    settings = TrainingArguments(
        output_dir=str(folder) + ".checkpoints",
        num_train_epochs=size.epochs,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=32,
        learning_rate=size.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=100,
        weight_decay=0.1,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        logging_strategy="epoch",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model,
        args=settings,
        train_dataset=blocks(tokenizer, texts),
        eval_dataset=blocks(tokenizer, validation),
        callbacks=[EarlyStoppingCallback(2)],
    )
    trainer.train()
    perplexity = math.exp(trainer.evaluate()["eval_loss"])
    print(f"{folder.name}: {model.num_parameters():,} parameters, validation perplexity {perplexity:.1f}")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def blocks(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Dataset:
    """Return the texts, joined with <eos>, in blocks of equal length."""
    tokens = [token for ids in tokenizer(texts).input_ids for token in (*ids, tokenizer.eos_token_id)]
    rows = [tokens[i : i + BLOCK] for i in range(0, len(tokens) - BLOCK, BLOCK)]
    return Dataset.from_dict({"input_ids": rows, "labels": rows})


if __name__ == "__main__":
    main()
