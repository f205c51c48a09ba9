"""Evidence from generated text alone: continuations of the first part of each text, split into words.

A server that returns no log-probabilities does not show its tokens either, so texts are divided into words: a run of
letters or digits, one other character that is no space, or one character of a script without spaces. For a prompt and a
completion, the prompt is the first part, because it preceded the completion in training. At a chat interface the first
part is a user's message. The word takes the place of the token in the shelf's observations, with the same numbers: 50 words
of prefix and of suffix in `greedy_continuation`, two halves and ten samples in `continuations`.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from byheart.auditing.server.served_model import EndpointModel
from byheart.core.errors import DataError, ModelError
from byheart.core.evidence import Generations, GreedyContinuation
from byheart.core.registry import choose, key_of
from byheart.core.types import Texts

WORD = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|"
    "[^\\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+|[^\\w\\s]"
)
"""A word: a character of Thai, Lao, Burmese, Khmer, Japanese or Chinese; a run of other letters; another character."""
PREFIX_WORDS = 50
"""Words of a prefix in a text with at least twice as many words."""
BYTES_PER_TOKEN = 2
"""Bytes of UTF-8 below which few tokens' mean length lies; limits the tokens that a server may generate."""


class Division(NamedTuple):
    """A text's first part, which is sent, and the second part, which the model should generate."""

    name: str
    first: str
    second: str

    @property
    def max_tokens(self) -> int:
        """Tokens that suffice to generate the second part."""
        return len(self.second.encode()) // BYTES_PER_TOKEN + 16


def divided(texts: Texts, *, prefix: int | None, suffix: int | None, max_words: int) -> list[Division]:
    """Return every text's first and second part, of the text's first `max_words` words.

    The first part has `prefix` words, at most half of the text (None: half); the second at most `suffix` words (None: all).
    Raises `DataError` for a text with fewer than two words, or a completion without one.
    """
    divisions: list[Division] = []
    for name, prompt, scored in zip(texts.ids, texts.prompts, texts.scored, strict=True):
        words = list(itertools.islice(WORD.finditer(scored), max_words))
        begin = 0 if prompt else min(prefix or len(words), len(words) // 2)
        end = len(words) if suffix is None else min(begin + suffix, len(words))
        if end <= begin or not (prompt or begin):
            raise DataError(f"text {name!r}: it has too few words to divide. Remove the text.")
        start = 0 if prompt else words[begin].start()
        first = prompt or scored[:start].rstrip()
        divisions.append(Division(name, first, scored[start : words[end - 1].end()]))
    return divisions


def greedy_continuation(model: EndpointModel, texts: Texts) -> GreedyContinuation:
    """Words of each text's suffix and of the text that the model generates greedily in its place, as numbers.

    Equal words have equal numbers, also for another model; spaces are not compared. Raises `ModelError` if the model generates
    nothing for any text.
    """
    parts = divided(texts, prefix=PREFIX_WORDS, suffix=PREFIX_WORDS, max_words=model.max_tokens)
    requests = [{"prompt": p.first, "max_tokens": p.max_tokens, "temperature": 0} for p in parts]
    written = _generated(model, parts, requests)
    suffixes = [WORD.findall(p.second) for p in parts]
    continuations = [WORD.findall(w)[: len(s)] for w, s in zip(written, suffixes, strict=True)]

    def packed(lists: Sequence[Sequence[str]]) -> np.ndarray:
        return np.array([_word_number(w) for words in lists for w in words], dtype=np.int64)

    return GreedyContinuation(
        true=packed(suffixes),
        starts=np.cumsum([0, *map(len, suffixes)]),
        written=packed(continuations),
        written_starts=np.cumsum([0, *map(len, continuations)]),
    )


def _word_number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest()) >> 1


def continuations_by_words(model: EndpointModel, texts: Texts) -> Generations:
    """Sampled continuations of each text's first half (in words), and its second half; settings as on the shelf."""
    settings = choose("observations", "continuations").settings
    samples = int(settings["samples"])
    sampling = {"temperature": settings["temperature"], "top_k": settings["top_k"], "top_p": 1, "min_p": 0}
    parts = divided(texts, prefix=None, suffix=None, max_words=model.max_tokens)
    repeated = [p for p in parts for _ in range(samples)]
    requests = [
        {
            "prompt": p.first,
            "max_tokens": p.max_tokens,
            "seed": int(key_of({"text": p.name, "scored": p.second, "sample": i % samples}), 16) % 2**31,
            **sampling,
        }
        for i, p in enumerate(repeated)
    ]
    written = _generated(model, repeated, requests)
    # As many words as the second half has, so that no text is recalled better because more was generated for it.
    limited = tuple(_first_words(w, len(p.second.split())) for w, p in zip(written, repeated, strict=True))
    return Generations(written=limited, rest=tuple(p.second for p in parts), starts=samples * np.arange(len(parts) + 1))


def _first_words(text: str, count: int) -> str:
    """Return a text up to its `count`-th word between spaces, because SaMIA counts these."""
    words = list(itertools.islice(re.finditer(r"\S+", text), count))
    return text[: words[-1].end()] if words else ""


def _generated(model: EndpointModel, parts: Sequence[Division], requests: Sequence[dict[str, Any]]) -> list[str]:
    """Return the generated texts, without a first part that a chat model repeats."""
    written = model.map_concurrently(model.generate, requests)
    if not any(w.strip() for w in written):
        raise ModelError(f"{model.endpoint.url}: {model.name} generates no text. Raise its limit of tokens.")
    return [w.removeprefix(p.first) for w, p in zip(written, parts, strict=True)]
