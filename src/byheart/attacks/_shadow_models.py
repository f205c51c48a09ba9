"""What attacks by shadow models share: the same tokens under all models, and how likely a text is before the target is seen.

Likelihoods of texts are exp(mean log-probability), so that long and short texts compare; all arithmetic is on their logarithms.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from byheart.core import DataError, LogProbs, Shadows, ragged


def check_shadows(attack: str, target: LogProbs, shadows: Shadows, *, min_shadows: int) -> None:
    """Raise `DataError` where target and shadows did not score the same tokens, or a text has too few shadows.

    `least` is how many shadows must be tuned on each text, and as many without it.
    """
    if not np.array_equal(target.starts, shadows.starts):
        raise DataError(
            f"{attack} compares the same tokens under the target and its shadows; the target scored {target.starts[-1]} "
            f"tokens of {len(target)} texts, the shadows {shadows.starts[-1]} of {len(shadows.starts) - 1}: read the same texts"
        )
    models, inside = len(shadows.inside), shadows.inside.sum(axis=0)
    fewest = np.minimum(inside, models - inside)
    if (fewest < min_shadows).any():
        worst = int(np.argmin(fewest))
        raise DataError(
            f"{attack} needs each text inside {min_shadows} shadows and outside {min_shadows}; text number {worst} is inside "
            f"{inside[worst]} of {models}: deal texts to more shadows, in pairs of halves"
        )


def text_logprobs(logp: Float[np.ndarray, "shadows tokens"], starts: np.ndarray) -> Float[np.ndarray, "texts shadows"]:
    """Mean log-probability (nats) of each text under each shadow.

    A text's shadows lie side by side: sums along them are then the same to the last bit whoever else is scored.
    """
    return np.ascontiguousarray(np.stack([ragged.means(one, starts) for one in logp], axis=1))


def log_prior(
    logp: Float[np.ndarray, "things shadows"], inside: Bool[np.ndarray, "things shadows"], *, online: bool, a: float
) -> Float[np.ndarray, " things"]:
    """Log of the likelihood p(x) (texts or tokens) before it is known who was trained on what.

    Online: the mean of those inside and those outside, half and half, or of all where no shadow is inside. Offline:
    ((1 + a) p_out + (1 - a)) / 2, which guesses p_in as a p_out + (1 - a). Where all shadows say the same, it is just
    that online (and offline with a = 1), to the last bit.
    """
    used = np.ones_like(inside) if online else ~inside
    highest = np.where(used, logp, -np.inf).max(axis=1)
    likely = np.exp(np.minimum(logp - highest[:, None], 0.0))  # what lies above it is not used
    outside = (likely * ~inside).sum(axis=1) / (~inside).sum(axis=1)
    if not online:
        guessed = math.log((1 - a) / 2) if a < 1 else -math.inf
        return np.logaddexp(math.log((1 + a) / 2) + (highest + np.log(outside)), guessed)
    counts = inside.sum(axis=1)
    within = np.divide((likely * inside).sum(axis=1), counts, out=outside.copy(), where=counts > 0)
    return highest + np.log((within + outside) / 2)
