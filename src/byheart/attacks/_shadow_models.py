"""Code shared by shadow-model attacks: the check of their evidence, likelihoods of texts, and the prior likelihood.

The likelihood of a text is exp(mean log-probability per token), so that long and short texts are comparable. All arithmetic
uses logarithms.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from byheart.core import DataError, LogProbs, Shadows, ragged


def check_shadows(attack: str, target: LogProbs, shadows: Shadows, *, min_shadows: int) -> None:
    """Raise `DataError` if target and shadow models did not score the same tokens, or a text has too few shadow models.

    At least `min_shadows` shadow models must be trained on each text, and at least as many without it.
    """
    if not np.array_equal(target.starts, shadows.starts):
        raise DataError(
            f"attacks {attack}: the target model scored {target.starts[-1]} tokens of {len(target)} texts, the shadow models "
            f"{shadows.starts[-1]} tokens of {len(shadows.starts) - 1} texts. Score the same tokens with all models."
        )
    models, trained_counts = len(shadows.inside), shadows.inside.sum(axis=0)
    smaller_counts = np.minimum(trained_counts, models - trained_counts)
    if (smaller_counts < min_shadows).any():
        worst = int(np.argmin(smaller_counts))
        raise DataError(
            f"attacks {attack}: text number {worst} is in the training half of {trained_counts[worst]} of {models} shadow models; at "
            f"least {min_shadows} must be trained on each text, and {min_shadows} without it. Add pairs of shadow models."
        )


def text_logprobs(logp: Float[np.ndarray, "shadows tokens"], starts: np.ndarray) -> Float[np.ndarray, "texts shadows"]:
    """Return the mean log-probability (nats per token) of each text under each shadow model.

    A text's shadow models are adjacent in memory: sums over them are then identical to the last bit for any set of texts.
    """
    return np.ascontiguousarray(np.stack([ragged.means(shadow_logp, starts) for shadow_logp in logp], axis=1))


def log_prior(
    logp: Float[np.ndarray, "things shadows"], inside: Bool[np.ndarray, "things shadows"], *, online: bool, a: float
) -> Float[np.ndarray, " things"]:
    """Return the log of the prior likelihood p(x) of texts or tokens, without the knowledge who was trained on them.

    Online, p(x) is the mean of p_in (shadow models trained on x) and p_out (trained without x), or p_out where no shadow model
    was trained on x. Offline, p(x) = ((1 + a) p_out + (1 - a)) / 2, which estimates p_in as a p_out + (1 - a). Where all shadow
    models agree, p(x) online (and offline with a = 1) equals their likelihood to the last bit.
    """
    is_used = np.ones_like(inside) if online else ~inside
    highest = np.where(is_used, logp, -np.inf).max(axis=1)
    relative = np.exp(np.minimum(logp - highest[:, None], 0.0))  # only unused shadow models are above `highest`
    p_out = (relative * ~inside).sum(axis=1) / (~inside).sum(axis=1)
    if not online:
        log_offset = math.log((1 - a) / 2) if a < 1 else -math.inf
        return np.logaddexp(math.log((1 + a) / 2) + (highest + np.log(p_out)), log_offset)
    inside_counts = inside.sum(axis=1)
    p_in = np.divide((relative * inside).sum(axis=1), inside_counts, out=p_out.copy(), where=inside_counts > 0)
    return highest + np.log((p_in + p_out) / 2)
