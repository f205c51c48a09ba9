"""Head tuning over fifteen epochs, the model attacked after each: hidden states once, beside Trainer and a pass an epoch."""

import copy
import dataclasses

from benchmarks import subjects
from benchmarks.pairs import ratio, timed
from benchmarks.training import KEY, trainer_epochs
from byheart.lm import train
from byheart.lm.forward import device_of, token_stats
from byheart.lm.load import LanguageModel
from byheart.settings import Training
from byheart.shelf import choose

EPOCHS = 15
TRAIN = 8
AUDITED = 16  # as many non-members as members


def measured() -> dict[str, object]:
    """Return how many times as long Trainer takes."""
    base = subjects.model()
    tokens = subjects.tokens(base, subjects.texts(TRAIN))
    audited = subjects.tokens(base, subjects.texts(AUDITED))

    def wrapped() -> tuple[LanguageModel, float]:
        made = choose("methods", "head")(dataclasses.replace(base, module=copy.deepcopy(base.module)))
        return dataclasses.replace(base, module=made.module), made.learning_rate

    def ours() -> None:
        model, rate = wrapped()
        whole = train.keep_hidden(model)
        for _ in train.train(
            whole,
            tokens,
            training=Training(epochs=EPOCHS),
            learning_rate=rate,
            key=KEY,
            precision=train.precision_of("auto", device_of(model.module)),
            budget=4096,
        ):
            token_stats(whole, audited)
        subjects.settled(model)

    def theirs() -> None:
        model, rate = wrapped()
        # Trainer leaves its autocast around a model's `forward`; the same weights without it are scored in float32, as ours.
        shared = {id(p): p for p in (*model.module.parameters(), *model.module.buffers())}
        bare = dataclasses.replace(model, module=copy.deepcopy(model.module, shared))
        trainer_epochs(model, rate, tokens, best=True, epochs=EPOCHS, after=lambda: token_stats(bare, audited))
        subjects.settled(model)

    seconds = timed({"ours": ours, "Trainer": theirs}, rounds=2, warm=False)
    return {
        "epochs": EPOCHS,
        "trained tokens": int(tokens.lengths.sum()),
        "audited tokens": int(audited.lengths.sum()),
        "seconds": seconds,
        "Trainer over ours": ratio(seconds, "Trainer", "ours"),
    }
