"""Shadow models: the base tuned again as the target was, each time on a known half of the audited texts.

Whoever uses them must own the base model, know how the target was tuned, and be able to do the same many times over.
They come in pairs tuned on one half each, whole groups together, so that every text is inside half of the shadows, and
are observed at the epoch at which the target is. The population, texts that neither the target nor a shadow was tuned
on, is `data.known` non-members where there are any. They cost as many trainings as there are `models`, the target's apart.

Training texts that are not audited are in every shadow, as they are in the target: the strongest adversary knows all but
what is asked for. With as many members as non-members a shadow then has as many texts and takes as many steps as the
target. Without them (`rest: false`, an adversary who knows none) its steps are fewer, every text is likelier or less
likely under the target than under any shadow whoever is a member, and an attack that weighs inside against outside may
do worse than chance: choose data.nonmembers = 2 * data.train - data.members then, so that half of the audited texts are
as many as the target had.

Reza Shokri, Marco Stronati, Congzheng Song, Vitaly Shmatikov. Membership Inference Attacks against Machine Learning
Models. IEEE S&P, 2017. arXiv 1610.05820.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, MultipleOf

from byheart.core.evidence import ShadowPass, Shadows

PASSES = 0.0
ADVERSARY = (
    "the base model, training texts that are not audited, and the means to tune it as the target was, many times"
)


def shadows(
    shadow_passes: tuple[ShadowPass, ...],
    *,
    models: Annotated[int, Ge(4), MultipleOf(2)] = 8,  # noqa: ARG001 - how many passes there are
    rest: bool = True,  # noqa: ARG001 - what was tuned on
) -> Shadows:
    """Log-probabilities of the audited texts and of the population under `models` shadow models.

    With `rest` they are tuned on the training texts that are not audited too.
    """
    audited, populations = shadow_passes[0].audited, [p.population for p in shadow_passes if p.population is not None]
    nobody = np.empty((len(shadow_passes), 0), dtype=audited.logp.dtype)
    return Shadows(
        logp=np.stack([p.audited.logp for p in shadow_passes]),
        starts=audited.starts,
        inside=np.stack([p.inside for p in shadow_passes]),
        population_logp=np.stack([p.logp for p in populations]) if populations else nobody,
        population_starts=populations[0].starts if populations else np.zeros(1, dtype=np.int64),
    )
