"""Fine-tune a small model with plain transformers and peft, as an example for an audit.

    python examples/finetune.py lora         # or prefix, prompt, p_tuning, full
    byheart audit --model finetuned/lora --members finetuned/members.jsonl --nonmembers finetuned/nonmembers.jsonl

Trains on synthetic customer and patient records (members). Also writes as many records that are never trained on
(non-members) and 32 validation records. The base model comes from PyPI. `full` also saves the base model for the audit: --base
finetuned/base.
"""

import argparse
import json
from pathlib import Path

import torch
from peft import (
    LoraConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    TaskType,
    get_peft_model,
)

from byheart.datasets.records import records
from byheart.lm.base_models import default_base
from byheart.lm.load import load

TASK = TaskType.CAUSAL_LM
ADAPTERS = {
    "lora": (LoraConfig(task_type=TASK, r=16, lora_alpha=32, target_modules="all-linear"), 1e-3),
    "prefix": (PrefixTuningConfig(task_type=TASK, num_virtual_tokens=16), 1e-2),
    "prompt": (PromptTuningConfig(task_type=TASK, num_virtual_tokens=16), 1e-2),
    "p_tuning": (PromptEncoderConfig(task_type=TASK, num_virtual_tokens=16, encoder_hidden_size=128), 1e-3),
}
"""peft configuration and learning rate of each kind of adapter."""
BATCH = 8


def main() -> None:
    """Write the records, train, and save the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=["full", *ADAPTERS])
    parser.add_argument("--model", default=default_base(), help="a Hub id, a folder, or a GGUF file")
    parser.add_argument("--texts", type=int, default=64, help="number of members, and of non-members")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("finetuned"))
    args = parser.parse_args()

    texts = write_records(args.output, args.texts)
    base = load(args.model)
    torch.manual_seed(0)
    if args.method == "full":
        base.module.save_pretrained(args.output / "base")
        base.tokenizer.save_pretrained(args.output / "base")
        model, learning_rate = base.module, 1e-4
    else:
        config, learning_rate = ADAPTERS[args.method]
        model = get_peft_model(base.module, config)
    train(model, base.tokenizer, texts, learning_rate, args.epochs)
    model.save_pretrained(args.output / args.method)
    base.tokenizer.save_pretrained(args.output / args.method)
    print(f"saved: {args.output / args.method}")


def write_records(folder: Path, count: int) -> list[str]:
    """Write members, non-members and validation records as JSONL files, and return the members' texts."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = records(count=2 * count + 32).texts
    splits = {
        "members": range(count),
        "nonmembers": range(count, 2 * count),
        "validation": range(2 * count, len(texts)),
    }
    for name, positions in splits.items():
        lines = (json.dumps({"id": texts.ids[i], "text": texts.scored[i]}) + "\n" for i in positions)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return list(texts.scored[:count])


def train(model: torch.nn.Module, tokenizer, texts: list[str], learning_rate: float, epochs: int) -> None:  # noqa: ANN001 - any tokenizer
    """Train on the texts in batches, shuffled every epoch."""
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(texts)).tolist()
        for start in range(0, len(order), BATCH):
            batch = tokenizer([texts[i] for i in order[start : start + BATCH]], return_tensors="pt", padding=True)
            labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
            loss = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(batch.input_ids)
        print(f"epoch {epoch + 1}: training loss {total / len(texts):.3f} nats per token")


if __name__ == "__main__":
    main()
