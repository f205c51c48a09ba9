"""Read tokens and log-probabilities from a completion in OpenAI's format; reject numbers that are none."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from byheart.core.errors import ModelError

ROUNDING = 1e-3
"""Rounding error (nats): a log-probability may exceed 0 by this, and the most likely token may be below another."""
PLACEHOLDER = -1000.0
"""Highest number (nats) that counts as a placeholder for minus infinity: vLLM writes -9999, others the lowest float."""
MIN_TOKENS_FOR_EQUALITY = 4
"""Tokens of a text whose log-probabilities cannot all be equal by chance."""

_OTHER_SERVER = (
    "Use a server that does, such as vLLM or llama-cpp-python (llama.cpp's own server does not), or run the attacks that need "
    "only generated text: --attacks samia,discoverable,approximate."
)
NO_LOGPROBS = f"the server returns no log-probabilities of what it reads, only of what it generates or none at all. {_OTHER_SERVER}"


class NoLogprobsError(ModelError):
    """A server that returns no log-probabilities of the text that it reads."""


class CompletionLogprobs(NamedTuple):
    """A completion: its text ("" if absent), its tokens, their log-probabilities (nats; NaN for null), most likely tokens."""

    text: str
    tokens: tuple[str, ...]
    logp: Float[np.ndarray, " tokens"]
    tops: Sequence[Any]


def parse_logprobs(answer: Mapping[str, Any]) -> CompletionLogprobs:
    """Return the tokens of a completion with their log-probabilities.

    The first token's number is NaN if it is exactly 0, which some servers write for a token without context. Raises
    `NoLogprobsError` without log-probabilities, `ModelError` for numbers that are no log-probabilities.
    """
    try:
        choice = answer["choices"][0]
        logprobs = choice["logprobs"]
        tokens, logp = logprobs["tokens"], logprobs["token_logprobs"]
        tops = logprobs.get("top_logprobs") or []
    except (LookupError, TypeError, AttributeError):
        raise NoLogprobsError(NO_LOGPROBS) from None
    if not isinstance(tokens, list) or not isinstance(logp, list) or len(tokens) != len(logp):
        raise NoLogprobsError(NO_LOGPROBS)
    if not all(isinstance(t, str) for t in tokens) or not all(is_number(v) or v is None for v in logp):
        raise ModelError(
            "the tokens are not strings, or the log-probabilities are not numbers. Use an OpenAI-compatible server."
        )
    numbers = np.array([math.nan if v is None else v for v in logp], dtype=np.float64)
    if any(v is not None and not (math.isfinite(v) and v <= ROUNDING) for v in logp):
        raise ModelError(
            "the log-probabilities are above 0 or not finite. Use a server that returns log-probabilities."
        )
    if (numbers <= PLACEHOLDER).any():
        raise ModelError(
            f"a log-probability is {float(np.nanmin(numbers)):g}, which servers write for a number that is not finite. The model "
            "overflows, or the server forbids tokens: serve it in bfloat16 or float32 and without forbidden tokens, or audit the "
            "weights."
        )
    numbers[:1] = np.where(numbers[:1] == 0, math.nan, numbers[:1])
    text = choice.get("text")
    return CompletionLogprobs(
        text if isinstance(text, str) else "",
        tuple(tokens),
        np.minimum(numbers, 0.0),
        tops if isinstance(tops, list) else [],
    )


def check_text_logprobs(logp: Float[np.ndarray, " tokens"]) -> None:
    """Raise `NoLogprobsError` for a text's missing log-probabilities, or if all tokens have the same one."""
    later = logp[1:]
    if np.isnan(later).any() or not len(logp):
        raise NoLogprobsError(NO_LOGPROBS)
    if len(later) >= MIN_TOKENS_FOR_EQUALITY and np.ptp(later) == 0:
        raise NoLogprobsError(
            f"the server returns no log-probabilities of what it reads: the number of every token is {later[0]:g}. {_OTHER_SERVER}"
        )


def is_number(value: object) -> bool:
    """Whether a value is a number; True, False and whole numbers beyond all floats are not."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < sys.float_info.max
    return isinstance(value, float)
