"""Counterfactual memorization: measures how much likelier a text becomes because it is in the training data.

Chiyuan Zhang, Daphne Ippolito, Katherine Lee, Matthew Jagielski, Florian Tramèr, Nicholas Carlini. Counterfactual Memorization in
Neural Language Models. NeurIPS, 2023. arXiv 2112.12938, equation 1:

    mem(x) = mean of M(f, x) over models trained with x - mean of M(f, x) over models trained without x

The models are the shadow models. Departure: M is the mean log-probability per token (nats) in place of the accuracy of next-token
prediction, which changes in few tokens after fine-tuning. A text that all models predict well does not count: the rest of the data
reveals it.

The value belongs to the text and the training, not to the target model. The interval is for the sampling of texts, with texts of a
group together, given the shadow models.
"""

from __future__ import annotations

from byheart.core.evidence import Shadows
from byheart.core.types import Estimate
from byheart.metrics._counterfactual import counterfactual_gains
from byheart.metrics._means import mean_estimate


def counterfactual_memorization(shadows: Shadows, groups: tuple[str, ...]) -> Estimate:
    """Mean gain in log-probability (nats per token) from training on a text, over audited texts; 0 is none, higher is more.

    No interval for a single group.
    """
    gains = counterfactual_gains(shadows)
    return mean_estimate(gains, groups)._replace(members=len(gains))
