"""RMIA: measures over how many population texts this text's likelihood ratio dominates.

Sajjad Zarifzadeh, Philippe Liu, Reza Shokri. Low-Cost High-Power Membership Inference Attacks. ICML, 2024.
arXiv 2312.03262.

    LR(x, z) = [p(x | target) / p(x)] / [p(z | target) / p(z)]        p(x) = exp(mean of ln p(x_t | x_<t))
    score(x) = share of the population's texts z with LR(x, z) >= gamma
    online:   p(x) = (mean inside shadows + mean outside) / 2,  p(z) = mean of all shadows, which are all outside of z
    offline:  p(x) = ((1 + a) p_out(x) + (1 - a)) / 2, and z likewise

"Inside" are the shadow models trained on x, "outside" the others; p_out is the mean likelihood outside; a and gamma are
settings. The population is the `data.known` non-members, which no model was trained on and which are not audited. The score has
as many steps as the population has texts: with 50, texts that dominate all but one tie at .98, and a false positive rate below
a few percent may not be reachable. Gamma and the population only determine these steps: without them, texts rank by
p(x | target) / p(x), which is `info_rmia` with unit text.

Departures from the authors' code:

- Theirs has the offline form only. Ours is online by default, because the shadow models exist anyway.
- Theirs counts LR > 1 and searches a on a shadow model. Their a of 0.3 assumes that training raises a likelihood of .1 to .73,
  which a few epochs do not do to a language model.

If target and shadow models are the same model, as at epoch 0, all texts tie online. Offline with a below 1 they rank by their
likelihood.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval

from byheart.attacks._shadow_models import check_shadows, log_prior, text_logprobs
from byheart.core import DataError, LogProbs, Scores, Shadows, ragged

VARIANT = "online by default; the authors' code has the offline form only"

KNOWN = 10
"""Minimum number of population texts: the score has only as many steps."""


def rmia(
    target: LogProbs,
    shadows: Shadows,
    known_nonmembers: LogProbs,
    *,
    gamma: Annotated[float, Ge(1)] = 1.0,
    mode: Literal["online", "offline"] = "online",
    a: Annotated[float, Interval(ge=0, le=1)] = 0.3,
) -> Scores:
    """Share (0 to 1) of the population over which the text's likelihood gains by a factor of gamma; higher means member.

    `a` is used offline only. Raises `DataError` without a population, if the shadow models scored other tokens, and for a text that
    all shadow models or no shadow model was trained on.
    """
    check_shadows("rmia", target, shadows, min_shadows=1)
    if not len(known_nonmembers):
        raise DataError("attacks rmia: no known non-members for the population. Set data.known, for example to 50.")
    if not np.array_equal(known_nonmembers.starts, shadows.population_starts):
        raise DataError(
            f"attacks rmia: target model ({len(known_nonmembers)} population texts) and shadow models "
            f"({len(shadows.population_starts) - 1}) scored different tokens. Set data.known, and score the same population."
        )
    online = mode == "online"
    never_inside = np.zeros((len(known_nonmembers), len(shadows.inside)), dtype=np.bool_)
    population_logprobs = text_logprobs(shadows.population_logp, shadows.population_starts)
    gains = ragged.means(target.logp, target.starts) - log_prior(
        text_logprobs(shadows.logp, shadows.starts), shadows.inside.T, online=online, a=a
    )
    population_gains = ragged.means(known_nonmembers.logp, known_nonmembers.starts) - log_prior(
        population_logprobs, never_inside, online=online, a=a
    )
    return np.searchsorted(np.sort(population_gains), gains - math.log(gamma), side="right") / len(population_gains)
