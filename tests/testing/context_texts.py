"""Texts that stand before others, as a model reads them."""

import torch

from byheart.core.types import Texts
from byheart.lm.forward import Scorer

SHORT = ["The old sailor wrote.", "A queen in Oslo.", "Lima!", "the baker, the judge"]
KNOWN = ["She reads.", "Nine pilots in Cairo", "Quito is far"]


def texts_of(strings, prompts=(), name="t"):
    return Texts(tuple(f"{name}{i}" for i in range(len(strings))), tuple(strings), tuple(prompts))


def scorer(model):
    return Scorer(model, 200, torch.float32)
