"""Canaries that the base model writes.

- high_perplexity: Ashwinee Panda, Xinyu Tang, Milad Nasr, Christopher Choquette-Choo, Prateek Mittal. Privacy Auditing of Large
  Language Models. ICLR 2025. arXiv 2503.06808: canaries that a model finds unlikely are found again far more often than usual ones
  (49.6 % against 4.2 % TPR at 1 % FPR for Qwen2.5-0.5B). Ours: every token is drawn uniformly from the tokens that the base model
  finds least likely there, among complete words. All draws are equally likely, so the number of texts is known and
  a canary can be ranked among other draws.
- synthetic: Nicole Mitchell, Galen Andrew, Arun Ganesh, Brendan McMahan, Peter Kairouz. Advancing the State-of-the-Art in Empirical
  Privacy Auditing. 2026. arXiv 2606.10481: a model samples texts like the data's at a high temperature (at least 0.8). Ours: the base
  model continues a record's prompt, or the first words of a text without one, where theirs follows an instruction that describes the
  data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from byheart.core import chat_messages
from byheart.data.plant_settings import PlantSettings
from byheart.data.records import ParsedRecord
from byheart.lm.generate import GenerationRequest, generate_samples
from byheart.lm.load import LanguageModel
from byheart.lm.special_tokens import bos_ids, chat_prompt
from byheart.lm.unlikely_tokens import generate_unlikely, word_tokens


@dataclass(frozen=True, eq=False)
class CanaryWriter:
    """Writes canaries with a base model (see `byheart.data.planted_kinds.Writer`)."""

    model: LanguageModel
    settings: PlantSettings

    @property
    def name(self) -> str:
        """Name of the base model."""
        return self.model.name

    @property
    def bits(self) -> float:
        """Log2 of the number of high-perplexity texts after one prompt."""
        return self.settings.written_tokens * math.log2(self._choices)

    def __call__(self, kind: str, hosts: Sequence[ParsedRecord], leads: Sequence[str], seed: int) -> list[str]:
        """Return a text per host: its lead, and what the model writes after the host's prompt and this lead."""
        requests = [self._request(host, lead) for host, lead in zip(hosts, leads, strict=True)]
        seeds = [seed + i for i in range(len(requests))]
        if kind == "high_perplexity":
            written = generate_unlikely(self.model, requests, seeds, words=self._words, choices=self._choices)
        else:
            samples = generate_samples(
                self.model,
                requests,
                seeds,
                samples=1,
                top_k=len(self.model.tokenizer),
                temperature=self.settings.temperature,
            )
            written = [sample[0] for sample in samples]
        return [self._text(lead, ids.tolist()) for lead, ids in zip(leads, written, strict=True)]

    def _text(self, lead: str, ids: list[int]) -> str:
        """Return lead and written text; "" for a text of fewer than two words. Incomplete characters are left out."""
        text = str(self.model.tokenizer.decode(ids, skip_special_tokens=True)).replace("\ufffd", "")
        words = text.split()
        if len(words) < 2:  # noqa: PLR2004 - one word is no text
            return ""
        return lead + " " * bool(lead.strip()) + " ".join(words)

    def _request(self, host: ParsedRecord, lead: str) -> GenerationRequest:
        tokenizer, prompt = self.model.tokenizer, host.prompt
        if host.messages:
            position, _ = chat_messages.last_assistant_turn(host.messages, host.first_turn)
            prompt = chat_prompt(tokenizer, host.messages[: position + 1], location="canaries")
        ids = [*bos_ids(tokenizer), *tokenizer(prompt + lead.rstrip(), add_special_tokens=False)["input_ids"]]
        # A model needs one token; the end token precedes a text in training on packed data.
        return GenerationRequest(np.array(ids or [tokenizer.eos_token_id or 0]), self.settings.written_tokens)

    @property
    def _choices(self) -> int:
        """Number of tokens among which each token of a high-perplexity text is drawn."""
        return max(2, round(self.settings.least_likely * len(self._words)))

    @cached_property
    def _words(self) -> Int[np.ndarray, " words"]:
        return word_tokens(self.model.tokenizer)
