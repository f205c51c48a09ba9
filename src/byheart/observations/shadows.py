"""Shadow models: the base tuned again as the target was, each time on a known half of the audited texts.

Whoever uses them must own the base model, know how the target was tuned, and be able to do the same many times over.
They come in pairs tuned on one half each, whole groups together, so that every text is inside half of the shadows, and
are observed at the epoch at which the target is. Texts that are trained on but not audited are in no shadow. The
population, texts that neither the target nor a shadow was tuned on, is `data.known` non-members where there are any.

Reza Shokri, Marco Stronati, Congzheng Song, Vitaly Shmatikov. Membership Inference Attacks against Machine Learning
Models. IEEE S&P, 2017. arXiv 1610.05820.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, MultipleOf

from byheart.kinds import ShadowPass, Shadows

PASSES = 0.0
ADVERSARY = "the base model, and the means to tune it as the target was, many times"


def shadows(
    shadow_passes: tuple[ShadowPass, ...],
    *,
    models: Annotated[int, Ge(4), MultipleOf(2)] = 8,  # noqa: ARG001 - how many passes there are
) -> Shadows:
    """Log-probabilities of the audited texts and of the population under `models` shadow models."""
    audited, populations = shadow_passes[0].audited, [p.population for p in shadow_passes if p.population is not None]
    nobody = np.empty((len(shadow_passes), 0), dtype=audited.logp.dtype)
    return Shadows(
        logp=np.stack([p.audited.logp for p in shadow_passes]),
        starts=audited.starts,
        inside=np.stack([p.inside for p in shadow_passes]),
        population_logp=np.stack([p.logp for p in populations]) if populations else nobody,
        population_starts=populations[0].starts if populations else np.zeros(1, dtype=np.int64),
    )
