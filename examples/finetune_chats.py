"""Fine-tune a small model with TRL's SFTTrainer on a file of chats in which `byheart canaries plant` put canaries.

    python examples/finetune_chats.py planted.jsonl --canaries planted.canaries/manifest.json -o finetuned

The two lines of byheart are marked. Saves the LoRA adapter (finetuned/adapter) and a merged export (finetuned/merged).
"""

import argparse
from pathlib import Path

from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

import byheart
from byheart.lm.base_models import default_base
from byheart.lm.load import load


def main() -> None:
    """Train on the answers only, with the callback, and save adapter and merged model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a JSONL file of records with prompt and completion, as messages")
    parser.add_argument("--canaries", required=True, help="manifest.json of byheart canaries plant")
    parser.add_argument("--model", default=default_base(), help="a Hub id, a folder, or a GGUF file")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a sequence")
    parser.add_argument("--packing", action="store_true", help="cut the data into sequences of --max-length tokens")
    parser.add_argument("-o", "--output", type=Path, default=Path("finetuned"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    # A GGUF file is read as floating-point weights, which can be trained.
    base = load(args.model)
    watch = byheart.MemorizationCallback(  # byheart
        canaries=args.canaries, preflight="refuse", fpr=0.1, max_texts=100, output=args.output / "rows.jsonl"
    )
    trainer = SFTTrainer(
        model=base.module,
        processing_class=base.tokenizer,
        train_dataset=load_dataset("json", data_files=args.data, split="train"),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[watch],  # byheart
        args=SFTConfig(
            output_dir=str(args.output / "trainer"),
            completion_only_loss=True,
            packing=args.packing,
            packing_strategy="wrapped",
            num_train_epochs=args.epochs,
            per_device_train_batch_size=8,
            learning_rate=args.learning_rate,
            max_length=args.max_length,
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
    merged = trainer.model.merge_and_unload()
    merged.save_pretrained(args.output / "merged")
    base.tokenizer.save_pretrained(args.output / "merged")
    print(f"saved: {args.output / 'adapter'}, {args.output / 'merged'}")


if __name__ == "__main__":
    main()
