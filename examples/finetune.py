"""Tune a small model by plain transformers and peft, as anybody would, to have something to audit.

    python examples/finetune.py lora         # or prefix, prompt, p_tuning, full
    byheart audit --model finetuned/lora --members finetuned/members.jsonl --nonmembers finetuned/nonmembers.jsonl

Trains on made-up customer and patient records; as many others, which it never sees, are written beside them, and a few for
validation. The model comes from PyPI. `full` also saves the base, which an audit of it compares with: --base finetuned/base.
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
"""peft's configuration and a learning rate for each kind of adapter."""
BATCH = 8


def main() -> None:
    """Write the texts, train, save."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("method", choices=["full", *ADAPTERS])
    ask.add_argument("--model", default=default_base(), help="a Hub id, a folder, or a GGUF file")
    ask.add_argument("--texts", type=int, default=64, help="texts that are trained on; as many are held out")
    ask.add_argument("--epochs", type=int, default=3)
    ask.add_argument("--output", type=Path, default=Path("finetuned"))
    chosen = ask.parse_args()

    texts = written(chosen.output, chosen.texts)
    base = load(chosen.model)
    torch.manual_seed(0)
    if chosen.method == "full":
        base.module.save_pretrained(chosen.output / "base")
        base.tokenizer.save_pretrained(chosen.output / "base")
        model, rate = base.module, 1e-4
    else:
        config, rate = ADAPTERS[chosen.method]
        model = get_peft_model(base.module, config)
    train(model, base.tokenizer, texts, rate, chosen.epochs)
    model.save_pretrained(chosen.output / chosen.method)
    base.tokenizer.save_pretrained(chosen.output / chosen.method)
    print(f"saved: {chosen.output / chosen.method}")


def written(folder: Path, count: int) -> list[str]:
    """Write members, non-members and validation texts as JSONL, and return the members."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = records(count=2 * count + 32).texts
    parts = {"members": range(count), "nonmembers": range(count, 2 * count), "validation": range(2 * count, len(drawn))}
    for name, places in parts.items():
        lines = (json.dumps({"id": drawn.ids[i], "text": drawn.scored[i]}) + "\n" for i in places)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return list(drawn.scored[:count])


def train(model: torch.nn.Module, tokenizer, texts: list[str], rate: float, epochs: int) -> None:  # noqa: ANN001 - any tokenizer
    """Train on the texts in batches, in an order drawn anew each epoch."""
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(texts)).tolist()
        for at in range(0, len(order), BATCH):
            batch = tokenizer([texts[i] for i in order[at : at + BATCH]], return_tensors="pt", padding=True)
            labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
            loss = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            total += loss.item() * len(batch.input_ids)
        print(f"epoch {epoch + 1}: loss {total / len(texts):.3f}")


if __name__ == "__main__":
    main()
