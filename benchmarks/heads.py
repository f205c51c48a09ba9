"""Head tuning over fifteen epochs with an attack after each: cached hidden states, compared with Trainer and a pass per epoch.

Each side runs in a separate process, as in training.
"""

import copy
import dataclasses
import json
import sys
import time

from benchmarks import subjects
from benchmarks.pairs import Seconds, ratio, told
from benchmarks.training import KEY, trainer_epochs, wrapped
from byheart.core.config import Training
from byheart.lm import train
from byheart.lm.forward import device_of, token_stats
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import Tokens

EPOCHS = 15
TRAIN = 8
AUDITED = 16  # as many non-members as members
ROUNDS = 2
SIDES = ("ours", "Trainer")


def measured() -> dict[str, object]:
    """Return the ratio of Trainer's time to byheart's."""
    times: Seconds = {side: [] for side in SIDES}
    found: dict[str, object] = {"epochs": EPOCHS}
    for side, one in told("benchmarks.heads", SIDES, rounds=ROUNDS):
        times[side].append(one.pop("seconds"))
        found |= one
    return {**found, "seconds": times, "Trainer over ours": ratio(times, "Trainer", "ours")}


def _side(name: str) -> dict[str, float]:
    """Return one side's seconds, and the number of trained and scored tokens. Untimed work comes first."""
    run = {"ours": ours, "Trainer": _trainer}[name]
    base = subjects.model() if name == "ours" else subjects.plain_model()
    tokens, audited = (subjects.tokens(base, subjects.texts(n)) for n in (TRAIN, AUDITED))
    one = subjects.tokens(base, subjects.texts(1))
    run(*wrapped(base, "head"), one, one, epochs=1)
    model, rate = wrapped(base, "head")
    started = time.perf_counter()
    run(model, rate, tokens, audited, epochs=EPOCHS)
    subjects.settled(model)
    return {
        "seconds": time.perf_counter() - started,
        "trained tokens": int(tokens.lengths.sum()),
        "audited tokens": int(audited.lengths.sum()),
    }


def ours(model: LanguageModel, learning_rate: float, tokens: Tokens, audited: Tokens, *, epochs: int) -> None:
    """Train by byheart and score after every epoch."""
    whole = train.with_hidden_cache(model)
    for _ in train.train(
        whole,
        tokens,
        training=Training(epochs=epochs),
        learning_rate=learning_rate,
        key=KEY,
        precision=train.training_dtype("auto", device_of(model.module)),
        budget=4096,
    ):
        token_stats(whole, audited)


def _trainer(model: LanguageModel, learning_rate: float, tokens: Tokens, audited: Tokens, *, epochs: int) -> None:
    # Trainer leaves its autocast around a model's `forward`; without it, the weights are scored in float32, as in byheart.
    shared = {id(p): p for p in (*model.module.parameters(), *model.module.buffers())}
    bare = dataclasses.replace(model, module=copy.deepcopy(model.module, shared))
    trainer_epochs(model, learning_rate, tokens, best=True, epochs=epochs, after=lambda: token_stats(bare, audited))


if __name__ == "__main__":
    print(json.dumps(_side(sys.argv[1])))
