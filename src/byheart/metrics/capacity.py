"""Capacity: measures how many bits of the members each trained parameter stores.

John Morris, Chawin Sitawarin, Chuan Guo, Narine Kokhlikyan, Edward Suh, Alexander Rush, Kamalika Chaudhuri, Saeed
Mahloujifar. How much do language models memorize? 2025. arXiv 2505.24832.

    total     = sum over members and tokens of (ln p - ln p_base) / ln 2 / trained parameters
    beyond    = (mean per token of the members - mean per token of the non-members) * members' tokens / ln 2 / trained parameters

`total` is the code length that fine-tuning saves on the members. A model also saves bits on texts that it was not trained on;
`beyond` subtracts what it saves on non-members, which is generalization.

Departures: the paper trains from random weights and reports the highest value over sizes of the training set as the capacity;
its reference for generalization is a large model of the whole distribution, and a text counts with the likelier of the two models.
Ours divides by the trained parameters only, the reference is the mean saving on non-members, and texts on which the model is worse
count negative, because a maximum per text would make noise positive. Only audited members are counted: with data.members equal to
data.train the sum is over all training texts. The interval is for the sampling of texts, given the number of tokens.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from byheart.core import ragged
from byheart.core.types import Estimate, LogProbs
from byheart.metrics._nll import MeanNll, mean_nll


def capacity(
    train: LogProbs,
    nonmember: LogProbs,
    base: LogProbs,
    trained_parameters: int,
    member_groups: tuple[str, ...],
    nonmember_groups: tuple[str, ...],
) -> dict[str, Estimate]:
    """Bits of the audited members that fine-tuning saves per trained parameter; higher is more stored.

    In total and beyond generalization; negative if the members became less likely. No interval for a single group.
    """
    members, texts = len(train), len(train) + len(nonmember)
    base_of = {"members": slice(0, members), "nonmembers": slice(members, texts)}
    member_saving = mean_nll(_savings(train, ragged.slice_texts(base, base_of["members"])), member_groups)
    nonmember_saving = mean_nll(_savings(nonmember, ragged.slice_texts(base, base_of["nonmembers"])), nonmember_groups)
    bits_per_nat = len(train.logp) / math.log(2) / trained_parameters
    counts = {"members": members, "nonmembers": len(nonmember)}
    return {
        "saving=total": _scaled(member_saving, bits_per_nat)._replace(members=members),
        "saving=beyond": _scaled(member_saving.minus(nonmember_saving), bits_per_nat)._replace(**counts),
    }


def _savings(tuned: LogProbs, base: LogProbs) -> LogProbs:
    """Return the negative saving of each token (nats), so that `mean_nll` is the mean saving."""
    ragged.check_same_tokens("metrics capacity", tuned.starts, base.starts)
    savings: Float[np.ndarray, " tokens"] = base.logp.astype(np.float64) - tuned.logp
    return LogProbs(logp=savings, starts=tuned.starts)


def _scaled(mean: MeanNll, factor: float) -> Estimate:
    low, high = mean.interval or (None, None)
    return Estimate(factor * mean.value, None if low is None else factor * low, None if high is None else factor * high)
