"""Verdict on one method as a value: its numbers, and the sentences that state them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from byheart.analysis import row_values
from byheart.core.adversary import adversary_phrase
from byheart.core.types import Estimate
from byheart.core.verdict import VerdictWord
from byheart.stats.roc_auc import AucDifference
from byheart.stats.simultaneous import AucInterval, reversed_interval

CLAIMS: Mapping[VerdictWord, str] = {
    "leaks": "leaks",
    "reversed": "leaks in reverse",
    "differs": "not shown to leak",
    "nothing": "no leakage detectable",
    "broken": "cannot be read as leakage",
}


class MethodVerdict(NamedTuple):
    """Result of the best attack on one method at its last epoch, with a simultaneous interval over all attacks.

    The ends of `auc` are the outermost ends over seeds, so one favorable seed is not enough for `leaks`. `base_auc` is the
    same attack on the base model, `gain` the paired difference; both are None if not measured. `identified_share` states
    the share of members that an adversary identifies; "" if no TPR was measured. `detectable_auc` is the smallest AUC that
    this number of texts and tests can distinguish from chance. `higher` names an attack with a higher AUC that does not show
    a leak. `matched_by` names a blind classifier, with its AUC, that separates the classes as well; "" if the attack exceeds
    all that it is compared with. `adversary` is what the attack's adversary must have, `other_adversaries` the best attack of
    each other adversary with its AUC, as a sentence.
    """

    method: str
    word: VerdictWord
    attack: str
    epoch: float | None
    auc: AucInterval
    seeds: int
    base_auc: Estimate | None
    gain: AucDifference | None
    identified_share: str
    detectable_auc: float
    perplexity: str
    higher: str = ""
    matched_by: str = ""
    adversary: str = ""
    other_adversaries: str = ""

    @property
    def claim(self) -> str:
        """The claim about the method, in a few words."""
        return CLAIMS[self.word]

    @property
    def sentence(self) -> str:
        """The claim about the method, as a sentence with its numbers."""
        if self.word == "leaks":
            return f"{self.claim}: {self.identified_share or self._pairwise_sentence}"
        if self.word == "reversed":
            return f"{self.claim}: {self._pairwise_sentence}"
        if self.word == "differs":
            return f"{self.claim} beyond {'the texts' if self.matched_by else 'the base model'}"
        if self.word == "broken":
            return f"{self.claim}: members and non-members are not comparable"
        return f"{self.claim} by these attacks at this power (smallest detectable AUC: {self.detectable_auc:.2f})"

    @property
    def evidence(self) -> str:
        """The numbers behind the claim, as a sentence."""
        epoch = "" if self.epoch is None else f" after epoch {self.epoch}"
        base = "" if self.base_auc is None else f"; on the base model {row_values.format_number(self.base_auc.value)}"
        of_seeds = "" if self.seeds == 1 else f"mean of {self.seeds} seeds, "
        value, low, high = (row_values.format_number(v) for v in self.auc)
        blind = f"; {self.matched_by}" if self.matched_by and self.word == "differs" else ""
        access = f", by an adversary who has {adversary_phrase(self.adversary)}" if self.adversary else ""
        return (
            f"{self.attack} reaches AUC {value} ({of_seeds}{low} to {high}){epoch}{access}{base}{blind}.{self.higher}"
        )

    @property
    def _pairwise_sentence(self) -> str:
        auc, side = (reversed_interval(self.auc), "below") if self.word == "reversed" else (self.auc, "above")
        value, low, high = (f"{100 * v:.0f}" for v in auc)
        return f"an adversary ranks a random member {side} a random non-member in {value} % ({low}-{high} %) of pairs"
