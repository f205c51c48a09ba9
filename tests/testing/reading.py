"""Texts and their tokens for tests of observations."""

import numpy as np
import torch

from byheart.core.types import Texts
from byheart.lm.forward import Scorer


def texts_of(strings, prompts=(), name="t"):
    return Texts(tuple(f"{name}{i}" for i in range(len(strings))), tuple(strings), tuple(prompts))


def scorer(model, budget=200):
    return Scorer(model, budget, torch.float32)


def mean_logps(module, tokenizer, texts):
    """Mean log-probability (nats) of each text: a plain loop, one text at a time."""
    values = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            logp = module(input_ids=ids).logits[:, -ids.shape[1] :].float().log_softmax(-1)
        values.append(float(logp[0, :-1].gather(1, ids[0, 1:, None]).mean()))
    return np.array(values)


def own_ids(tokens, i):
    return tokens.ids[tokens.starts[i] : tokens.starts[i + 1]].tolist()


def rows_of(neighbours):
    """Each text's neighbours as lists of ids."""
    return [
        [neighbours.ids[neighbours.offsets[j] : neighbours.offsets[j + 1]].tolist() for j in range(lo, hi)]
        for lo, hi in zip(neighbours.starts, neighbours.starts[1:], strict=False)
    ]


def logits_of(model, ids):
    """The model's logits of one text, one row per token."""
    with torch.no_grad():
        logits = model.module(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)
        ).logits[0]
    return logits[logits.shape[0] - len(ids) :].double()  # virtual tokens come first
