"""LiRA: compares the target's likelihood of a text with that of shadow models trained on it and of shadow models trained without it.

Nicholas Carlini, Steve Chien, Milad Nasr, Shuang Song, Andreas Terzis, Florian Tramèr. Membership Inference Attacks From
First Principles. IEEE S&P, 2022. arXiv 2112.03570.

    phi(x) = mean of ln p(x_t | x_<t)        under each shadow, normal with (m_in, s_in) inside and (m_out, s_out) outside
    online:   score(x) = ln N(phi_target; m_in, s_in) - ln N(phi_target; m_out, s_out)
    offline:  score(x) = (phi_target - m_out) / s_out,  which orders texts as the authors' Pr[N(m_out, s_out) < phi_target]
              does and does not saturate at 1

"Inside" are the shadow models trained on x, "outside" the others. m is a mean, s a standard deviation, N the normal density.

Departures from the authors' code:

- They scale a classifier's confidence to a logit. For language models the literature uses the loss, which is -phi.
- Two values do not determine a variance, so with fewer than 64 shadow models the authors share one variance among all texts.
  Ours is the mean of the texts' own variances, one inside and one outside. Their public code uses one standard deviation of all
  texts' values for both, which mostly measures how texts differ; it loses up to .03 of AUC if the two spreads differ by half.
- Theirs uses medians instead of means. Medians need more shadow models if values are normal.
- Theirs scores offline by the density, so a text far *less* likely than under any shadow model counts as a member.

A shared variance is estimated from all scored texts (from shadow models, never from membership), so a text's score then depends
on the other texts. If target and shadow models are the same model, as at epoch 0, every text scores exactly 0.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from byheart.attacks._shadow_models import check_shadows, text_logprobs
from byheart.core import LogProbs, Scores, Shadows, ragged

VARIANT = "the loss in place of a logit; one mean of the texts' own variances, shared by all texts"

MIN_SHADOWS_FOR_TEXT_VARIANCE = 64  # shadow models; from here on a text's own variance is better, in the authors' tests
SMALLEST_STD = 1e-6  # nats; below it the differences are float32 rounding


def lira(
    target: LogProbs,
    shadows: Shadows,
    *,
    mode: Literal["online", "offline"] = "online",
    variance: Literal["auto", "pooled", "text"] = "auto",
) -> Scores:
    """Log-likelihood ratio (nats) of phi under shadow models inside and outside (offline: z-score); higher means member.

    `variance` is shared by all texts ("pooled"), each text's own ("text"), or chosen by the number of shadow models ("auto": own from
    64 on). Raises `DataError` if the shadow models scored other tokens, or fewer than two are inside or outside of a text.
    """
    check_shadows("lira", target, shadows, min_shadows=2)
    # Relative to the target, so that a text with equal likelihood under all models scores exactly 0.
    phi = text_logprobs(shadows.logp, shadows.starts) - ragged.means(target.logp, target.starts)[:, None]
    is_pooled = variance == "pooled" or (variance == "auto" and len(shadows.inside) < MIN_SHADOWS_FOR_TEXT_VARIANCE)
    mean_out, std_out = _normal_parameters(phi, ~shadows.inside.T, pooled=is_pooled)
    if mode == "offline":
        return -mean_out / std_out
    mean_in, std_in = _normal_parameters(phi, shadows.inside.T, pooled=is_pooled)
    return np.log(std_out / std_in) + ((mean_out / std_out) ** 2 - (mean_in / std_in) ** 2) / 2


def _normal_parameters(
    phi: Float[np.ndarray, "texts shadows"], mask: Bool[np.ndarray, "texts shadows"], *, pooled: bool
) -> tuple[Float[np.ndarray, " texts"], Float[np.ndarray, " texts"]]:
    """Return mean and standard deviation of each text's values under the shadow models of the mask."""
    counts = mask.sum(axis=1)
    means = (phi * mask).sum(axis=1) / counts
    squares = ((phi - means[:, None]) ** 2 * mask).sum(axis=1)
    # The pooled sum is exact, so that its last bit does not depend on the order of the texts.
    variances = np.full(len(phi), math.fsum(squares) / int((counts - 1).sum())) if pooled else squares / (counts - 1)
    return means, np.maximum(np.sqrt(variances), SMALLEST_STD)
