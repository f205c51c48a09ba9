"""A tiny model wrapped by a fine-tuning method, for tests of code that reads a fine-tuned model."""

import torch

from byheart.core import registry
from byheart.lm import train
from byheart.lm.load import LanguageModel


def tuned(model, method):
    """The model wrapped by a method (None: unchanged), with the trained weights changed so that the wrapper has an effect."""
    if method is None:
        return model
    train.seed_rngs("0a")
    made = registry.choose("methods", method)(model)
    with torch.no_grad():
        for weight in train.trainable_parameters(made.module).values():
            weight.add_(0.05 * torch.randn_like(weight))
    made.module.eval()
    return train.with_hidden_cache(LanguageModel(made.module, model.tokenizer, model.name))
