"""Scores the audited texts with shadow models: base models fine-tuned like the target, each on a known half of the audited texts.

Reza Shokri, Marco Stronati, Congzheng Song, Vitaly Shmatikov. Membership Inference Attacks against Machine Learning
Models. IEEE S&P, 2017. arXiv 1610.05820.

The adversary needs the base model, the training settings of the target, and the means to repeat the training many times. Shadow
models come in pairs, trained on one half each, with whole groups together. Every text is therefore in the training half of half
of the shadow models. They are observed at the target's epoch. The population, texts that neither the target nor a shadow model
was trained on, is the `data.known` non-members if there are any. The cost is `models` trainings in addition to the target's.

Training texts that are not audited are in every shadow model, as in the target: the strongest adversary knows everything except
the membership of the audited texts. Exception: texts that are not audited, but belong to the group of an audited member, are only
in the shadow models that are trained on the group. With as many members as non-members, a shadow model then has as many texts and
steps as the target.

Without them (`rest: false`, an adversary who knows no training text) a shadow model has fewer steps. Every text is then likelier, or
less likely, under the target than under any shadow model, whether it is a member or not, and an attack that compares inside with
outside may be worse than chance. In this case choose data.nonmembers = 2 * data.train - data.members, so that half of the audited
texts are as many as the target's training texts.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, MultipleOf

from byheart.core.evidence import ShadowPass, Shadows

PASSES = 0.0
ADVERSARY = (
    "the base model, the training texts that are not audited, and the means to repeat the fine-tuning many times"
)


def shadows(
    shadow_passes: tuple[ShadowPass, ...],
    *,
    models: Annotated[int, Ge(4), MultipleOf(2)] = 8,  # noqa: ARG001 - determines the number of passes
    rest: bool = True,  # noqa: ARG001 - determines the training texts of the shadow models
) -> Shadows:
    """Log-probabilities (nats) of the audited texts and of the population under `models` shadow models; higher is likelier.

    With `rest` they are also trained on the training texts that are not audited.
    """
    audited, populations = shadow_passes[0].audited, [p.population for p in shadow_passes if p.population is not None]
    no_population = np.empty((len(shadow_passes), 0), dtype=audited.logp.dtype)
    return Shadows(
        logp=np.stack([p.audited.logp for p in shadow_passes]),
        starts=audited.starts,
        inside=np.stack([p.inside for p in shadow_passes]),
        population_logp=np.stack([p.logp for p in populations]) if populations else no_population,
        population_starts=populations[0].starts if populations else np.zeros(1, dtype=np.int64),
    )
