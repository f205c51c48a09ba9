"""Training: every method compared with transformers' Trainer and peft, with default and with best settings.

Each side runs in a separate process, Trainer's with the model and memory settings of a plain script; its best settings
also run with byheart's memory settings, which shows the effect of memory.
"""

import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise

import torch
from datasets import Dataset
from transformers import DataCollatorForLanguageModeling, Trainer, TrainerCallback, TrainingArguments

from benchmarks import subjects
from benchmarks.pairs import Seconds, ratio, told
from byheart.core.config import Training
from byheart.core.registry import choose
from byheart.lm import train
from byheart.lm.forward import device_of, token_stats
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import Tokens

TEXTS = 16
BATCH = 8
EPOCHS = 2
KEY = "0c"
ROUNDS = 3
FEWER = 2
"""Rounds of the two sides that the first comparison does not need: they take as long as all others together."""
METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")
SIDES = ("ours", "best", "kept", "default")


def measured() -> dict[str, object]:
    """Return ratios of time and the loss after training, by method."""
    times: dict[str, Seconds] = {method: {side: [] for side in SIDES} for method in METHODS}
    losses: dict[str, dict[str, float]] = {method: {} for method in METHODS}
    found: dict[str, object] = {"texts": TEXTS, "epochs": EPOCHS}
    whole, short = told("benchmarks.training", SIDES, rounds=FEWER), ("ours", "best")
    for side, one in chain(whole, told("benchmarks.training", short, rounds=ROUNDS - FEWER)):
        found["tokens"] = one.pop("tokens")
        for method, (seconds, loss) in one.items():
            times[method][side].append(seconds)
            losses[method][side] = loss
    base = subjects.model()
    found["matrix products, GFLOP/s"] = subjects.products(torch.bfloat16, device_of(base.module))
    for method, seconds in times.items():
        found[method] = {
            "seconds": seconds,
            "GFLOP a token": 2 * _weights(base, method) / 1e9,
            "Trainer at its best over ours": ratio(seconds, "best", "ours"),
            "Trainer at its best, memory kept, over ours": ratio(seconds, "kept", "ours"),
            "Trainer as it comes over ours": ratio(seconds, "default", "ours"),
            "loss after training": losses[method],
        }
    return found


def _side(name: str) -> dict[str, object]:
    """Return seconds and final loss of each method on one side. One untimed run comes first."""
    base = subjects.model() if name in {"ours", "kept"} else subjects.plain_model()
    tokens = subjects.tokens(base, subjects.texts(TEXTS))
    run = {
        "ours": ours,
        "best": partial(trainer_epochs, best=True, epochs=EPOCHS),
        "kept": partial(trainer_epochs, best=True, epochs=EPOCHS),
        "default": partial(trainer_epochs, best=False, epochs=EPOCHS),
    }[name]
    run(*wrapped(base, "lora"), subjects.tokens(base, subjects.texts(1)))
    found: dict[str, object] = {"tokens": int(tokens.lengths.sum()) * EPOCHS}
    for method in METHODS:
        model, rate = wrapped(base, method)
        started = time.perf_counter()
        run(model, rate, tokens)
        subjects.settled(model)
        found[method] = (time.perf_counter() - started, _loss(model, tokens))
    return found


def _weights(base: LanguageModel, method: str) -> float:
    """Return the number of weights that multiply a token in an epoch, forward and backward, without an adapter's."""
    whole, head = subjects.matrices(base), base.module.get_output_embeddings().weight.numel()
    return {"full": 3 * whole, "head": 2 * head + (whole - head) / EPOCHS}.get(method, 2 * whole)


def _loss(model: LanguageModel, tokens: Tokens) -> float:
    return -float(token_stats(model, tokens, precision=torch.bfloat16).logp.mean())


def wrapped(base: LanguageModel, method: str) -> tuple[LanguageModel, float]:
    """Return a copy of the base prepared by a method, with the method's learning rate."""
    train.seed_rngs(KEY)
    made = choose("methods", method)(replace(base, module=copy.deepcopy(base.module)))
    made.module.to(device_of(base.module))
    return replace(base, module=made.module), made.learning_rate


def ours(model: LanguageModel, learning_rate: float, tokens: Tokens, epochs: int = EPOCHS) -> None:
    """Train by byheart."""
    whole = train.with_hidden_cache(model)
    device = device_of(model.module)
    trained = train.train(
        whole,
        tokens,
        training=Training(epochs=epochs, batch_size=BATCH, warmup=0.0),
        learning_rate=learning_rate,
        key=KEY,
        precision=train.training_dtype("auto", device),
        budget=4096,
    )
    for _ in trained:
        pass


def trainer_epochs(
    model: LanguageModel,
    learning_rate: float,
    tokens: Tokens,
    *,
    best: bool,
    epochs: int = 1,
    after: Callable[[], object] = lambda: None,
) -> None:
    """Train by Trainer with default or `best` settings (bfloat16, texts of similar length together); `after` runs after an epoch."""

    class After(TrainerCallback):
        def on_epoch_end(self, *_: object, **__: object) -> None:
            after()

    rows = [{"input_ids": tokens.ids[a:b].tolist()} for a, b in pairwise(tokens.starts)]
    model.tokenizer.pad_token = model.tokenizer.pad_token or model.tokenizer.eos_token
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=learning_rate,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            bf16=best,
            train_sampling_strategy="group_by_length" if best else "random",
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
        )
        Trainer(
            model=model.module,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            data_collator=DataCollatorForLanguageModeling(model.tokenizer, mlm=False),
            callbacks=[After()],
        ).train()


if __name__ == "__main__":
    print(json.dumps(_side(sys.argv[1])))
