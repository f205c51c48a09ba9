"""Check that a server reads text with the model that writes it: the same tokens must have the same log-probabilities.

The model generates a few tokens after the beginning of a text, and reads beginning and generated text as a prompt. Some
servers use other weights for the two: vLLM leaves a LoRA on the output layer out of the log-probabilities of prompts, which
are then the base model's, and an audit would find no leak.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from byheart.auditing.server.client import TooLongError
from byheart.auditing.server.echo import Echo
from byheart.auditing.server.served_model import EndpointModel, shortened
from byheart.core.errors import ModelError
from byheart.core.types import Texts

GENERATED_TOKENS = 16
"""Tokens that the model generates after each beginning."""
ENOUGH_TOKENS = 24
"""Tokens after which no further text is tried."""
MAX_BEGINNINGS = 8
"""Maximum number of texts to try."""
FEWEST_TOKENS = 4
"""Tokens below which the check decides nothing."""
LARGEST_DIFFERENCE = 0.2
"""Mean difference (nats per token) above which the audit stops. Rounding in bfloat16 causes less than 0.1."""
NOTICEABLE_DIFFERENCE = 0.05
"""Mean difference (nats per token) above which the audit warns."""


def check_reading(models: Iterable[EndpointModel], texts: Texts) -> list[str]:
    """Compare the log-probabilities of generated tokens with those of the same tokens in a prompt; return warnings.

    Raises `ModelError` if they differ by more than `LARGEST_DIFFERENCE` on average.
    """
    doubts: list[str] = []
    for model in models:
        written, read = _both_logprobs(model, texts)
        if len(written) < FEWEST_TOKENS or (written == 0).all():
            doubts.append(
                f"the server's log-probabilities of generated text are not comparable with those of {model.name}'s prompts, so byheart "
                "cannot verify that it reads texts with the model that generates"
            )
            continue
        difference = float(np.abs(written - read).mean())
        if difference > LARGEST_DIFFERENCE:
            raise ModelError(
                f"{model.endpoint.url}: the same tokens have a mean log-probability of {written.mean():.3f} when {model.name} generates "
                f"them, and of {read.mean():.3f} when it reads them, so the server reads with other weights. vLLM, for example, ignores "
                "an adapter on the output layer (lm_head) in prompts. Serve the merged model, or audit the weights."
            )
        if difference > NOTICEABLE_DIFFERENCE:
            doubts.append(
                f"{model.name} returns different log-probabilities for the same tokens when it generates them and when it reads them (on "
                f"average {difference:.2g} nats per token)"
            )
    return doubts


def _both_logprobs(
    model: EndpointModel, texts: Texts
) -> tuple[Float[np.ndarray, " tokens"], Float[np.ndarray, " tokens"]]:
    """Return the log-probabilities of the same tokens, generated and read; of as many texts as give `ENOUGH_TOKENS`."""
    written, read = list[float](), list[float]()
    for prompt, scored in list(zip(texts.prompts, texts.scored, strict=True))[:MAX_BEGINNINGS]:
        if len(written) >= ENOUGH_TOKENS:
            break
        beginning = prompt + shortened(scored, max(len(scored) // 2, 1)).rstrip()
        try:
            first = model.echo(beginning, GENERATED_TOKENS)
            # Parts of characters cannot be sent again.
            if not first.generated.strip() or "\N{REPLACEMENT CHARACTER}" in first.generated:
                continue
            second = model.echo(beginning + first.generated)
        except TooLongError:
            continue
        except ModelError as error:
            if model.endpoint.url in str(error):
                raise
            raise type(error)(f"{model.endpoint.url}: {error}") from error
        for w, r in _same_tokens(first, second, len(beginning)):
            written.append(w)
            read.append(r)
    return np.array(written), np.array(read)


def _same_tokens(first: Echo, second: Echo, start: int) -> list[tuple[float, float]]:
    """Return pairs of log-probabilities of the generated tokens, up to the first token that is another when read."""
    begin = int(np.searchsorted(second.token_starts, start))
    if begin >= len(second.token_starts) or second.token_starts[begin] != start or begin != len(first.tokens):
        return []  # the generated text's beginning is one token with the end of the text before it
    pairs: list[tuple[float, float]] = []
    generated = zip(first.generated_tokens, first.generated_logp, strict=True)
    for (token, written), own, read in zip(generated, second.tokens[begin:], second.logp[begin:], strict=False):
        if token != own or np.isnan(written):
            break
        pairs.append((float(written), float(read)))
    return pairs
