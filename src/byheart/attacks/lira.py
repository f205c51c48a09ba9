"""LiRA: is the target's likelihood of this text that of models tuned on it, or of models tuned without it?

Nicholas Carlini, Steve Chien, Milad Nasr, Shuang Song, Andreas Terzis, Florian Tramèr. Membership Inference Attacks From
First Principles. IEEE S&P, 2022. arXiv 2112.03570.

    phi(x) = mean of ln p(x_t | x_<t)        under each shadow, normal with (m_in, s_in) inside and (m_out, s_out) outside
    online:   score(x) = ln N(phi_target; m_in, s_in) - ln N(phi_target; m_out, s_out)
    offline:  score(x) = (phi_target - m_out) / s_out,  which orders texts as the authors' Pr[N(m_out, s_out) < phi_target]
              does and does not saturate at 1

The authors scale a classifier's confidence to a logit; of language models the literature takes the loss, which is -phi.

The variance: two numbers are too few to know a spread from, so with fewer than 64 shadows the authors share one among
all texts. Ours is the mean of the texts' own variances, one inside and one outside. Their public code takes one standard
deviation of all texts' values together, which is mostly how much texts differ from each other, for both sides; it gives
up to .03 of AUC away where the sides' spreads differ by half. It also takes medians for means, which costs shadows where
values are normal, and scores offline by the density, by which a text that is far *less* likely than under any shadow
is a member.

What is shared is learnt from all texts that are scored (from shadows, never from who is a member), so there a score
depends on its company. Where target and shadows are one model, as at epoch 0, every text scores exactly 0.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from byheart.attacks._shadow_models import check_shadows, text_logprobs
from byheart.core import LogProbs, Scores, Shadows, ragged

MIN_SHADOWS_FOR_TEXT_VARIANCE = 64  # shadows from which on a text's own variance serves better, as the authors found
SMALLEST_STD = 1e-6  # nats: less than this is rounding of float32, not a spread


def lira(
    target: LogProbs,
    shadows: Shadows,
    *,
    mode: Literal["online", "offline"] = "online",
    variance: Literal["auto", "pooled", "text"] = "auto",
) -> Scores:
    """How much likelier phi is inside than outside of shadows (nats; offline: spreads above outside); higher is member.

    `variance` is shared by all texts ("pooled"), each text's own ("text"), or chosen by the number of shadows ("auto":
    own from 64 on). Raises `DataError` where shadows read other tokens, or a text is inside or outside fewer than two.
    """
    check_shadows("lira", target, shadows, min_shadows=2)
    # Relative to the target, so that what is equal under all models is exactly 0.
    phi = text_logprobs(shadows.logp, shadows.starts) - ragged.means(target.logp, target.starts)[:, None]
    pooled = variance == "pooled" or (variance == "auto" and len(shadows.inside) < MIN_SHADOWS_FOR_TEXT_VARIANCE)
    out, s_out = _normal_parameters(phi, ~shadows.inside.T, pooled=pooled)
    if mode == "offline":
        return -out / s_out
    within, s_in = _normal_parameters(phi, shadows.inside.T, pooled=pooled)
    return np.log(s_out / s_in) + ((out / s_out) ** 2 - (within / s_in) ** 2) / 2


def _normal_parameters(
    phi: Float[np.ndarray, "texts shadows"], mask: Bool[np.ndarray, "texts shadows"], *, pooled: bool
) -> tuple[Float[np.ndarray, " texts"], Float[np.ndarray, " texts"]]:
    """Mean and standard deviation of each text's values under the shadows that are used."""
    counts = mask.sum(axis=1)
    means = (phi * mask).sum(axis=1) / counts
    squares = ((phi - means[:, None]) ** 2 * mask).sum(axis=1)
    # Pooled ones are summed exactly, so that the order of texts does not show in the last bit.
    spread = np.full(len(phi), math.fsum(squares) / int((counts - 1).sum())) if pooled else squares / (counts - 1)
    return means, np.maximum(np.sqrt(spread), SMALLEST_STD)
