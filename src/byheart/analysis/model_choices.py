"""Models to choose from: no other observed model exceeds them in both utility and measured leakage.

A choice is a method at an observed epoch. All intervals hold simultaneously over the attacks on all observed models of all
methods, so a model that is chosen for its numbers keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import ScoreLookup
from byheart.analysis.method_verdict import MethodVerdict
from byheart.analysis.verdicts import trained_auc_rows, verdicts
from byheart.core.row import without_initialized
from byheart.core.split_check import Gate
from byheart.core.types import Estimate, Row
from byheart.stats.simultaneous import reversed_interval


class ModelChoice(NamedTuple):
    """A method at an epoch: the verdict on its best attack, its validation perplexity, and how far this is above the lowest.

    `excess` is relative: 0.05 is five percent above the lowest perplexity of all observed models.
    """

    verdict: MethodVerdict
    perplexity: Estimate
    excess: float

    @property
    def leakage(self) -> float:
        """AUC of the best attack; of its reversed score if the model leaks in reverse."""
        auc = self.verdict.auc
        return reversed_interval(auc).value if self.verdict.word == "reversed" else auc.value

    @property
    def name(self) -> str:
        """The method and its epoch: "LoRA after epoch 2"."""
        return f"{self.verdict.method} after epoch {self.verdict.epoch}"


def model_choices(rows: Sequence[Row], scores: ScoreLookup, gates: Mapping[str, Gate]) -> dict[str, list[ModelChoice]]:
    """Return the observed models by data set (and base model), lowest perplexity first.

    Omitted: models whose perplexity is not below the base model's, and data sets whose split is broken, where no AUC counts as
    leakage.
    """
    epochs = sorted({r.epoch for r in rows if r.attack and r.metric == "auc" and r.epoch})
    tests = sum(len(trained_auc_rows(rows, epoch)) for epoch in epochs)
    of_epochs = [verdicts(rows, scores, gates, epoch=epoch, tests=tests) for epoch in epochs]
    by_panel: dict[str, list[ModelChoice]] = {}
    for panel, panel_rows in labels.panels(rows).split(rows).items():
        perplexities = _perplexities(rows, panel_rows)
        models = [v for by_name in of_epochs for v in by_name.get(panel, []) if v.word != "broken"]
        if choices := _choices(models, perplexities):
            by_panel[panel] = choices
    return by_panel


def _perplexities(rows: Sequence[Row], panel_rows: Sequence[Row]) -> dict[tuple[str, float], Estimate]:
    """Return the validation perplexity by method and epoch, mean over seeds."""
    utility = [r for r in without_initialized(panel_rows) if r.metric == "perplexity" and not r.attack]
    return {
        (method, epoch): row_values.pool_rows([r for r in of_method if r.epoch == epoch])
        for method, of_method in labels.variants(rows).split(utility).items()
        for epoch in sorted({r.epoch for r in of_method if r.epoch is not None})
    }


def _choices(models: Sequence[MethodVerdict], perplexities: Mapping[tuple[str, float], Estimate]) -> list[ModelChoice]:
    """Return the models that improve on the base model's perplexity, lowest perplexity first."""
    measured = [(v, perplexities[v.method, v.epoch]) for v in models if v.epoch and (v.method, v.epoch) in perplexities]
    if not measured:
        return []
    lowest = min(p.value for _, p in measured)
    choices = [
        ModelChoice(v, p, p.value / lowest - 1)
        for v, p in measured
        if p.value < perplexities.get((v.method, 0), Estimate(float("inf"), None, None)).value
    ]
    return sorted(choices, key=lambda c: (c.perplexity.value, c.leakage))


def pareto_front(choices: Sequence[ModelChoice], step: float) -> list[ModelChoice]:
    """Return the choices whose leakage is lower by at least `step` than that of each returned choice of lower perplexity."""
    front: list[ModelChoice] = []
    for choice in choices:
        if not front or choice.leakage <= front[-1].leakage - step:
            front.append(choice)
    return front


def choice_summaries(rows: Sequence[Row], scores: ScoreLookup, gates: Mapping[str, Gate]) -> dict[str, str]:
    """Return the sentences on which model to choose, by data set (and base model); none for a data set with one model."""
    by_panel = model_choices(rows, scores, gates)
    return {panel: _choice_summary(choices) for panel, choices in by_panel.items() if len(choices) > 1}


def _choice_summary(choices: Sequence[ModelChoice]) -> str:
    """State the model with the lowest perplexity, and the first without detectable leakage, else the one with the least."""
    best = choices[0]
    undetected = next((c for c in choices if c.verdict.word == "nothing"), None)
    other = undetected or min(choices, key=lambda c: c.leakage)
    perplexity = row_values.format_number(best.perplexity.value)
    first = (
        f"Lowest validation perplexity of {len(choices)} observed models: {perplexity}, {best.name} "
        f"({best.verdict.claim}; {_best_attack(best)})."
    )
    if other is best:
        return first
    price = f"{row_values.format_number(other.perplexity.value)} ({100 * other.excess:.0f} % higher)"
    if undetected:
        return f"{first} Lowest perplexity without detectable leakage: {price}, {other.name} ({_best_attack(other)})."
    return (
        f"{first} Perplexity with the least measured leakage: {price}, {other.name} "
        f"({other.verdict.claim}; {_best_attack(other)})."
    )


def _best_attack(choice: ModelChoice) -> str:
    return f"{choice.verdict.attack} AUC {choice.verdict.auc_text}"
