"""Compare an exported model (GGUF, quantized) with the weights that it was exported from, on a sample of the audited texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from byheart.auditing.audited_split import split_of_given_parts
from byheart.core.errors import ModelError
from byheart.lm.forward import token_stats
from byheart.lm.load import LanguageModel
from byheart.lm.model_tokens import tokenize_for_model

if TYPE_CHECKING:
    from byheart.auditing.settings import AuditSettings
    from byheart.auditing.target import ModelOpener
    from byheart.auditing.texts import AuditedText
    from byheart.lm.tokens import Tokens

SAMPLED_TEXTS = 50
"""Maximum number of compared texts per class."""
MAX_DIFFERENCE = 0.01
"""Mean difference of token log-probabilities (nats) without a warning. Other frameworks and bfloat16 round by less."""


def export_doubts(
    open_export: ModelOpener,
    open_weights: ModelOpener,
    texts: Mapping[str, Sequence[AuditedText]],
    settings: AuditSettings,
    weights_name: str,
) -> tuple[str, ...]:
    """Return a warning if an exported model and its weights assign other log-probabilities to texts, or () if they do not.

    The difference is the mean over tokens of |log p - log p'| (nats). The models are opened one after the other; of an adapter,
    the model stays in memory. Raises `ModelError` if the two tokenize every text differently: they are not the same model.
    """
    samples: list[tuple[Tokens, np.ndarray]] = []
    for opener in (open_export, open_weights):
        with opener() as model:
            samples.append(_sampled_logp(model, texts, settings))
    (exported_tokens, exported), (weights_tokens, original) = samples
    same = [i for i in range(len(exported_tokens)) if np.array_equal(_ids(exported_tokens, i), _ids(weights_tokens, i))]
    if not same:
        raise ModelError(
            f"--exported-from {weights_name}: tokenizes every text differently. Pass the weights that --model was exported from."
        )
    differences = np.concatenate(
        [exported[_scored(exported_tokens, i)] - original[_scored(weights_tokens, i)] for i in same]
    )
    doubts: list[str] = []
    if len(same) < len(exported_tokens):
        different = len(exported_tokens) - len(same)
        doubts.append(
            f"the exported model tokenizes {different} of {len(exported_tokens)} texts differently from {weights_name}"
        )
    mean = float(np.abs(differences).mean())
    if mean > MAX_DIFFERENCE:
        doubts.append(
            f"the exported model's token log-probabilities differ from those of {weights_name} by {mean:.3f} nats on average "
            f"({len(differences):,} tokens of {len(same)} texts); the audit measures the exported model"
        )
    return tuple(doubts)


def _sampled_logp(
    model: LanguageModel, texts: Mapping[str, Sequence[AuditedText]], settings: AuditSettings
) -> tuple[Tokens, np.ndarray]:
    """Return the tokens of the sampled members and non-members, and the log-probability (nats) of each scored token."""
    parts = {part: items for part, items in texts.items() if part in {"member", "nonmember"}}
    split, _ = split_of_given_parts(parts, model.tokenizer, min(settings.max_texts, SAMPLED_TEXTS))
    tokens = tokenize_for_model(
        model,
        split.audited,
        settings.max_tokens,
        token_format=settings.token_format,
    )
    precision = getattr(torch, settings.precision)
    return tokens, token_stats(model, tokens, budget=settings.token_budget, precision=precision).logp


def _ids(tokens: Tokens, i: int) -> np.ndarray:
    return tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]


def _scored(tokens: Tokens, i: int) -> slice:
    return slice(tokens.scored_starts[i], tokens.scored_starts[i + 1])
