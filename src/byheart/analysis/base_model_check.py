"""Do attacks tell members from non-members before any fine-tuning? The part of the validity gate that needs a model.

What an attack finds on the untuned model it finds without training, so it is a difference between the two sets of
texts, or an older training of the base on some of them: Shi et al., Detecting Pretraining Data from Large Language
Models, ICLR 2024, arXiv 2310.16789, find such members by the same attacks. The rules stand in docs/validity.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from byheart.core.types import ScoreSet
from byheart.data.split_check import BOUND, Finding, Verdict
from byheart.stats.roc_auc import TAIL, holm
from byheart.stats.simultaneous import ALPHA, auc_at_once, p_above, p_apart, turned


def untuned(attacks: Mapping[str, ScoreSet]) -> tuple[Finding, ...]:
    """What each attack, by its name, finds on the untuned model; all attacks share an error of 5 % (Holm).

    An AUC as far below one half tells the two sides apart as well.
    """
    if not attacks:
        return ()
    apart = holm(np.array([p_apart(held) for held in attacks.values()]))
    far = holm(np.array([min(p_above(held, BOUND), p_above(turned(held), BOUND)) for held in attacks.values()]))
    return tuple(
        _finding(name, held, float(p), float(bound))
        for (name, held), p, bound in zip(attacks.items(), apart, far, strict=True)
    )


def _finding(name: str, held: ScoreSet, p: float, bound: float) -> Finding:
    value, low, high = auc_at_once(held)
    verdict: Verdict = "sound" if p > ALPHA else "broken" if bound <= TAIL else "doubtful"
    found = f"AUC {value:.3f} [{low:.3f}, {high:.3f}], p {p:.3f}"
    beyond = f"its interval above {BOUND}" if value > 1 - BOUND else f"its interval below {1 - BOUND:g}"
    limit = beyond if verdict == "broken" else "not one half"
    why = f"{name} tells members from non-members on the untuned model already (AUC {value:.2f}, {limit})"
    return Finding(f"untuned: {name}", verdict, found, why if p <= ALPHA else "", value, low, high, p)
