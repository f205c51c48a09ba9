"""Gain of each canary's log-likelihood over the base model, centered by kind."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from byheart.core import ragged
from byheart.core.split import PlantedCanaries
from byheart.core.types import LogProbs


def canary_gain(
    canaries: LogProbs, canaries_base: LogProbs, planted: PlantedCanaries, chosen: Int[np.ndarray, " chosen"]
) -> Float[np.ndarray, " canaries"]:
    """Return log-likelihood under the model minus that under the base model (nats); higher means trained on.

    The median over the chosen canaries of a kind is subtracted from those, because kinds differ; it does not depend on the coins.
    """
    gain = ragged.sums(canaries.logp, canaries.starts) - ragged.sums(canaries_base.logp, canaries_base.starts)
    kinds = np.array(planted.kinds)
    for kind in sorted(set(planted.kinds)):
        of_kind = chosen[kinds[chosen] == kind]
        gain[of_kind] -= np.median(gain[of_kind]) if len(of_kind) else 0.0
    return gain
