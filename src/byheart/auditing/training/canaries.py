"""Exposure of planted canaries during training, at every evaluation.

The lower bound on epsilon is not computed here: it holds for one model named in advance, which is the finished one (`byheart audit
--canaries`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from byheart.auditing.canaries.measure import canary_metrics
from byheart.auditing.canaries.texts import planted_canaries
from byheart.core.errors import ByheartError
from byheart.core.registry import Choice
from byheart.core.split import PlantedCanaries
from byheart.core.types import Estimate, LogProbs
from byheart.data.canary_manifest import PlantedSet
from byheart.lm.forward import Scorer
from byheart.lm.load import LanguageModel
from byheart.lm.model_tokens import tokenize_for_model
from byheart.lm.tokens import Tokens


@dataclass(frozen=True, eq=False)
class WatchedCanaries:
    """Canaries and references as tokens. `base` holds the first evaluation's log-probabilities of the canaries."""

    planted: PlantedCanaries
    tokens: Tokens
    references: Tokens | None
    fpr: float
    base: dict[str, LogProbs] = field(default_factory=dict[str, LogProbs])

    def score(self, scorer: Scorer) -> dict[str, LogProbs]:
        """Return the log-probabilities of canaries and references."""
        stats: dict[str, LogProbs] = {"canaries": scorer(self.tokens)}
        return stats if self.references is None else {**stats, "canary_references": scorer(self.references)}

    def measure(self, stats: dict[str, LogProbs], *, is_first: bool) -> Iterator[tuple[Choice, Estimate]]:
        """Yield exposure by sampling and TPR of each number of repetitions; the first evaluation is of the base model."""
        if is_first:
            self.base.update({"canaries_base": stats["canaries"]})
        inputs = {**stats, **self.base, "planted": self.planted}
        for metric in canary_metrics(self.planted, None, self.fpr, estimates=("sampling",)):
            if all(name in inputs for name in metric.needs) and not (is_first and "canaries_base" in metric.needs):
                try:
                    yield metric, metric(*(inputs[name] for name in metric.needs))
                except ByheartError:
                    continue  # too few canaries for this number; it is not logged


def watch_canaries(
    planted: PlantedSet, model: LanguageModel, *, max_texts: int, max_tokens: int, fpr: float
) -> WatchedCanaries:
    """Return at most `max_texts` canaries, and as many references of each kind, as tokens."""
    canaries = planted_canaries(planted, model.tokenizer, max_texts)
    references = tokenize_for_model(model, canaries.references, max_tokens) if len(canaries.references) else None
    return WatchedCanaries(canaries, tokenize_for_model(model, canaries.texts, max_tokens), references, fpr)
