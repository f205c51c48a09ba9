"""RMIA: over how many texts of a population does this text gain more by the target than they do?

Sajjad Zarifzadeh, Philippe Liu, Reza Shokri. Low-Cost High-Power Membership Inference Attacks. ICML, 2024.
arXiv 2312.03262.

    LR(x, z) = [p(x | target) / p(x)] / [p(z | target) / p(z)]        p(x) = exp(mean of ln p(x_t | x_<t))
    score(x) = share of the population's texts z with LR(x, z) >= gamma
    online:   p(x) = (mean inside shadows + mean outside) / 2,  p(z) = mean of all shadows, which are all outside of z
    offline:  p(x) = ((1 + a) p_out(x) + (1 - a)) / 2, and z likewise

The population is `data.known` non-members, which no model was tuned on and no attack is tried on. The score has as many
steps as there are such texts: of 50, texts that outdo all but one tie at .98, and a false-positive rate below a few
percent may not be reached. Gamma and the population only say where these steps are: without them texts rank by
p(x | target) / p(x), which is `info_rmia` with unit text.

The authors' code knows the offline form only, counts LR > 1, and searches a on a shadow. Their 0.3 guesses that a text
with a likelihood of .1 gets .73 by being trained on, which a few epochs do not do to a language model: online is the
default here, as the shadows are there anyway. Offline with a below 1, texts do not tie where target and shadows are one
model, as at epoch 0, but rank by their likelihood; online all tie.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval

from byheart.attacks._shadow_models import check_shadows, log_prior, text_logprobs
from byheart.core import DataError, LogProbs, Scores, Shadows, ragged

KNOWN = 10
"""The fewest texts of a population: the score has no more steps than these."""


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

    `a` is used offline only. Raises `DataError` without a population, where shadows read other tokens, and for a text
    that is inside all shadows or none.
    """
    check_shadows("rmia", target, shadows, min_shadows=1)
    if not len(known_nonmembers):
        raise DataError("rmia needs a population: texts that no model was tuned on; set data.known, to 50 or so")
    if not np.array_equal(known_nonmembers.starts, shadows.population_starts):
        raise DataError(
            f"rmia compares the same population under the target and its shadows; the target scored {len(known_nonmembers)} "
            f"texts, the shadows {len(shadows.population_starts) - 1}, or other tokens of them: set data.known"
        )
    online = mode == "online"
    nowhere = np.zeros((len(known_nonmembers), len(shadows.inside)), dtype=np.bool_)
    population = text_logprobs(shadows.population_logp, shadows.population_starts)
    gained = ragged.means(target.logp, target.starts) - log_prior(
        text_logprobs(shadows.logp, shadows.starts), shadows.inside.T, online=online, a=a
    )
    common = ragged.means(known_nonmembers.logp, known_nonmembers.starts) - log_prior(
        population, nowhere, online=online, a=a
    )
    return np.searchsorted(np.sort(common), gained - math.log(gamma), side="right") / len(common)
