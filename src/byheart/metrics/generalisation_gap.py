"""Generalization gap: measures how much lower the loss is on the training texts, the cause of most membership inference.

Samuel Yeom, Irene Giacomelli, Matt Fredrikson, Somesh Jha. Privacy Risk in Machine Learning: Analyzing the Connection
to Overfitting. IEEE Computer Security Foundations Symposium, 2018. arXiv 1709.01604.

    gap = NLL(validation) - NLL(members), each the mean over all tokens of all texts

NLL is the mean negative log-likelihood per token; exp(gap) is the ratio of the two perplexities. The two sets of texts are
independent, so their variances and their third moments add. The interval is Welch's (B. Welch, Biometrika 34 (1947) 28-35), with
texts of a group together, and corrected for skewness (Peter Hall, Journal of the Royal Statistical Society B 54 (1992) 221-228).
"""

from __future__ import annotations

from byheart.core.types import Estimate, LogProbs
from byheart.metrics._nll import mean_nll

REVISION = 1  # the interval is corrected for skewness and treats groups as units


def generalisation_gap(
    train: LogProbs, validation: LogProbs, member_groups: tuple[str, ...], validation_groups: tuple[str, ...]
) -> Estimate:
    """Validation texts' mean NLL minus the audited members' (nats per token); 0 is no gap, higher is more overfitted.

    No interval if either set is a single group. Raises `CellError` if a mean is not finite.
    """
    gap = mean_nll(validation, validation_groups).minus(mean_nll(train, member_groups))
    return Estimate(gap.value, *(gap.interval or (None, None)), members=len(train), nonmembers=len(validation))
