"""Verdict on one method as a value: its numbers, and the sentences that state them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

from byheart.analysis import row_values
from byheart.core.adversary import adversary_phrase
from byheart.core.types import Estimate
from byheart.core.verdict import VerdictWord
from byheart.stats.roc_auc import AucDifference
from byheart.stats.simultaneous import AucInterval, reversed_interval

NO_VERDICT = "no verdict"
CLAIMS: Mapping[VerdictWord, str] = {
    "leaks": "leaks",
    "reversed": "leaks in reverse",
    "differs": "no leak shown",
    "nothing": "no leakage detectable",
    "broken": "cannot be read as leakage",
    "refused": NO_VERDICT,
    "uncompared": NO_VERDICT,
}
"""What each word claims, as badges and sentences print it."""


def badge_claim(word: str) -> str:
    """Return what a word claims on a badge; a word that is no verdict's claims nothing."""
    return CLAIMS.get(cast("VerdictWord", word), NO_VERDICT)


class OtherAdversary(NamedTuple):
    """The best attack of an adversary with other access, and its AUC with the interval; reversed if it leaks in reverse."""

    access: str
    attack: str
    auc: str


class MethodVerdict(NamedTuple):
    """Result of the best attack on one method at its last epoch, with a simultaneous interval over all attacks.

    The ends of `auc` are the outermost ends over seeds, so one favorable seed is not enough for `leaks`. `base_auc` is the
    same attack on the base model, `gain` the paired difference; both are None if not measured. `identified_share` states
    the share of members that an adversary identifies; "" if no TPR was measured. `detectable_auc` is the smallest AUC that
    this number of texts and tests can distinguish from chance. `higher` names an attack with a higher AUC that does not show
    a leak. `matched_by` names a blind classifier, with its AUC, that separates the classes as well; "" if the attack exceeds
    all that it is compared with. `adversary` is what the attack's adversary must have, `other_adversaries` the best attack of
    each other adversary.
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
    other_adversaries: tuple[OtherAdversary, ...] = ()

    @property
    def claim(self) -> str:
        """The claim about the method, in a few words."""
        return CLAIMS[self.word]

    @property
    def sentence(self) -> str:
        """The claim about the method, as a sentence with its numbers."""
        if self.word == "leaks":
            return f"{self.claim}: {self.result}"
        if self.word == "reversed":
            return f"{self.claim}: {self._pairwise_sentence}"
        if self.word == "differs":
            rival = "a classifier on the texts alone" if self.matched_by else "on the base model"
            return f"{self.claim}: the attack does not separate the classes significantly better than {rival}"
        if self.word == "broken":
            return f"{self.claim}: members and non-members are not comparable"
        return f"{self.claim} by these attacks at this power (smallest detectable AUC: {self.detectable_auc:.2f})"

    @property
    def evidence(self) -> str:
        """The numbers behind the claim, as a sentence."""
        epoch = "" if self.epoch is None else f" after epoch {self.epoch}"
        base = "" if self.base_auc is None else f"; on the base model {row_values.format_number(self.base_auc.value)}"
        of_seeds = "" if self.seeds == 1 else f" (mean of {self.seeds} seeds)"
        blind = f"; not significantly above {self.matched_by}" if self.matched_by and self.word == "differs" else ""
        access = f", by an adversary who has {adversary_phrase(self.adversary)}" if self.adversary else ""
        return f"{self.attack} reaches AUC {self.auc_text}{of_seeds}{epoch}{access}{base}{blind}.{self.higher}"

    @property
    def result(self) -> str:
        """What the attack achieves: the share of identified members, or of pairs in the right order without a measured TPR."""
        return self.identified_share or self._pairwise_sentence

    @property
    def auc_text(self) -> str:
        """The AUC with its interval."""
        return row_values.format_estimate(Estimate(*self.auc))

    @property
    def failed_condition(self) -> str:
        """Why the attack does not leak: "its interval includes 0.5", or what it does not exceed; "" for a leak."""
        if self.word == "nothing":
            return "its interval includes 0.5"
        if self.word != "differs":
            return ""
        if self.matched_by:
            return f"is not significantly above {self.matched_by}"
        base = "" if self.base_auc is None else f" ({row_values.format_number(self.base_auc.value)})"
        return f"is not shown to exceed its AUC on the base model{base}"

    @property
    def _pairwise_sentence(self) -> str:
        auc, side = (reversed_interval(self.auc), "below") if self.word == "reversed" else (self.auc, "above")
        value, low, high = (f"{100 * v:.0f}" for v in auc)
        return (
            f"an adversary ranks a random member {side} a random non-member in {value} % [{low} %, {high} %] of pairs"
        )
