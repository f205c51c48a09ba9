"""Sample texts from the contrast of a fine-tuned model with its base model, without a prefix of any text.

Both models read the same tokens, one token at a time, each with its own cache. Each row's uniform random numbers come from the seed
and the row's number, as in `byheart.lm.generate`: a row's text does not depend on its batch.

Shapes: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from byheart.lm.devices import device_of
from byheart.lm.forward import scoring_mode
from byheart.lm.generate import CachedReader, Continuation, GenerationRequest, TokenChooser, generate

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.load import LanguageModel


@dataclass(frozen=True, eq=False)
class ReferenceModel:
    """The base model in memory beside a fine-tuned model, for observations that read both at once.

    `switch` is entered around each of its passes: it disables the adapter if both models share one module.
    """

    model: LanguageModel
    switch: Callable[[], AbstractContextManager[None]] = nullcontext


class Contrast(NamedTuple):
    """Contrast of two next-token distributions: factor `alpha`, and `plausibility`, the smallest share of the largest probability."""

    alpha: float
    plausibility: float


def contrast_logits(target_BV: torch.Tensor, reference_BV: torch.Tensor | None, contrast: Contrast) -> torch.Tensor:
    """Return log p + alpha (log p - log p_reference) of each token; minus infinity for an implausible one under p.

    Without a reference, both distributions are equal.
    """
    target_BV = target_BV.log_softmax(1)
    limit_B1 = target_BV.amax(1, keepdim=True) + np.log(contrast.plausibility)
    difference = 0.0 if reference_BV is None else contrast.alpha * (target_BV - reference_BV.log_softmax(1))
    return (target_BV + difference).masked_fill(target_BV < limit_B1, -torch.inf)


def sample_contrastively(
    scorer: Scorer,
    reference: ReferenceModel,
    prefix: Int[np.ndarray, " tokens"],
    contrast: Contrast,
    *,
    samples: int,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> list[Continuation]:
    """Return `samples` continuations of the prefix, up to `max_new_tokens` tokens or an end token.

    The first continuations do not depend on `samples`. The reference is not read if alpha is 0 or if it is the scorer's own model.
    """
    module, base = scorer.model.module, reference.model.module
    is_other = base is not module or reference.switch is not nullcontext
    has_reference = is_other and contrast.alpha != 0

    def make_reader() -> Callable[[torch.Tensor], torch.Tensor]:
        read_target, read_reference = CachedReader(module), CachedReader(base)

        def read(ids_BT: torch.Tensor) -> torch.Tensor:
            target_BV, reference_BV = read_target(ids_BT), None
            if has_reference:
                with reference.switch():
                    reference_BV = read_reference(ids_BT.to(device_of(base))).to(target_BV.device)
            return contrast_logits(target_BV, reference_BV, contrast)

        return read

    def choose(chosen: Int[np.ndarray, " batch"]) -> TokenChooser:
        uniform = [np.random.default_rng([seed, int(i)]).random(max_new_tokens) for i in chosen]
        # A number that float32 rounds to one would exceed every probability.
        uniform_BT = torch.from_numpy(np.stack(uniform)).to(device_of(module), torch.float32).clamp(max=1 - 2**-24)
        return lambda logits_BV, step_B: _sample(logits_BV / temperature, uniform_BT, step_B)

    requests = [GenerationRequest(prefix, max_new_tokens)] * samples
    with ExitStack() as modes:
        if base is not module:
            modes.enter_context(scoring_mode(base, scorer.precision))
        return generate(scorer.model, requests, choose, scorer.budget, scorer.precision, make_reader=make_reader)


def _sample(logits_BV: torch.Tensor, uniform_BT: torch.Tensor, step_B: torch.Tensor) -> torch.Tensor:
    """Return the token at which each row's cumulative probability exceeds the row's uniform number of this step."""
    sum_BV = logits_BV.softmax(1).cumsum(1)
    # Rounding can leave the last sum below one: divided by itself it is one, so a token with probability exceeds each number.
    sum_BV = sum_BV / sum_BV[:, -1:]
    return torch.searchsorted(sum_BV, uniform_BT.gather(1, step_B[:, None]), right=True)[:, 0]
