"""Trained models to choose from: each is a method at an observed epoch, with its validation perplexity and its verdict.

Verdicts and intervals are those of `byheart.analysis.verdicts` at that epoch, so a model has the same verdict everywhere. A model
that is chosen among many by these numbers has a perplexity and an AUC that are biased downward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import ScoreLookup
from byheart.analysis.method_verdict import MethodVerdict
from byheart.analysis.verdicts import verdicts
from byheart.core.row import without_initialized
from byheart.core.split_check import Gate
from byheart.core.types import Estimate, Row


class ModelChoice(NamedTuple):
    """A method at an epoch: the verdict on its best attack, its validation perplexity, and how far this is above the lowest.

    `excess` is relative: 0.05 is five percent above the lowest perplexity of all observed models. `cell` is the key of its first
    training seed's cell.
    """

    verdict: MethodVerdict
    perplexity: Estimate
    excess: float
    cell: str

    @property
    def leakage(self) -> float:
        """AUC of the best attack, at least one half; that of the reversed score where the interval is below one half."""
        auc = self.verdict.auc
        return 1 - auc.value if auc.high < row_values.CHANCE_AUC else max(auc.value, row_values.CHANCE_AUC)

    @property
    def name(self) -> str:
        """The method and its epoch: "LoRA after 2 epochs"."""
        epoch = self.verdict.epoch or 0
        return f"{self.verdict.method} after {epoch:g} {'epoch' if epoch == 1 else 'epochs'}"


def model_choices(rows: Sequence[Row], scores: ScoreLookup, gates: Mapping[str, Gate]) -> dict[str, list[ModelChoice]]:
    """Return the observed models by data set (and base model), lowest perplexity first.

    Omitted: models whose perplexity is not below the base model's (if it was measured), epochs that some of a method's seeds have not
    reached, and data sets whose split is broken, where no AUC counts as leakage.
    """
    epochs = sorted({r.epoch for r in rows if r.attack and r.metric == "auc" and r.epoch})
    of_epochs = [verdicts(rows, scores, gates, epoch=epoch) for epoch in epochs]
    variants = labels.variants(rows)
    by_panel: dict[str, list[ModelChoice]] = {}
    for panel, panel_rows in labels.panels(rows).split(rows).items():
        utility = [r for r in without_initialized(panel_rows) if r.metric == "perplexity" and not r.attack]
        by_method = variants.split(panel_rows)
        seeds = {n: len({r.seed for r in of_method}) for n, of_method in by_method.items()}
        cells = {n: min(of_method, key=lambda r: r.seed).cell for n, of_method in by_method.items()}
        perplexities, base = _perplexities(variants.split(utility), seeds), row_values.base_estimate(utility)
        models = [
            (v, perplexities[v.method, v.epoch])
            for by_name in of_epochs
            for v in by_name.get(panel, [])
            if v.word != "broken" and v.epoch and (v.method, v.epoch) in perplexities and v.seeds == seeds[v.method]
        ]
        if choices := _choices([(v, p) for v, p in models if base is None or p.value < base.value], cells):
            by_panel[panel] = choices
    return by_panel


def _perplexities(utility: Mapping[str, Sequence[Row]], seeds: Mapping[str, int]) -> dict[tuple[str, float], Estimate]:
    """Return the validation perplexity by method and epoch, mean over seeds, where every seed of the method has it."""
    by_state: dict[tuple[str, float], list[Row]] = {}
    for method, of_method in utility.items():
        for row in of_method:
            by_state.setdefault((method, row.epoch or 0), []).append(row)
    return {state: row_values.pool_rows(found) for state, found in by_state.items() if len(found) == seeds[state[0]]}


def _choices(models: Sequence[tuple[MethodVerdict, Estimate]], cells: Mapping[str, str]) -> list[ModelChoice]:
    lowest = min((p.value for _, p in models), default=0.0)
    choices = [ModelChoice(v, p, p.value / lowest - 1, cells[v.method]) for v, p in models]
    return sorted(choices, key=lambda c: (c.perplexity.value, c.leakage))


def pareto_front(choices: Sequence[ModelChoice], step: float) -> list[ModelChoice]:
    """Return the models that `choice_summaries` names, and those whose AUC is lower by `step` than all returned ones before."""
    named = named_choices(choices)
    front: list[ModelChoice] = []
    for choice in choices:
        if choice in named or choice.leakage <= min(c.leakage for c in front) - step:
            front.append(choice)
    return front


def choice_summaries(rows: Sequence[Row], scores: ScoreLookup, gates: Mapping[str, Gate]) -> dict[str, str]:
    """Return the sentences on which model to choose, by data set (and base model); none for a data set with one model."""
    by_panel = model_choices(rows, scores, gates)
    return {panel: choice_summary(choices) for panel, choices in by_panel.items() if len(choices) > 1}


def named_choices(choices: Sequence[ModelChoice]) -> tuple[ModelChoice, ModelChoice]:
    """Return the model with the lowest perplexity, and the first without detectable leakage, else the one with the least."""
    undetected = next((c for c in choices if c.verdict.word == "nothing"), None)
    return choices[0], undetected or min(choices, key=lambda c: c.leakage)


def choice_summary(choices: Sequence[ModelChoice]) -> str:
    """Return the sentences that name one or two of several models."""
    best, other = named_choices(choices)
    perplexity = row_values.format_number(best.perplexity.value)
    first = (
        f"Lowest validation perplexity of {len(choices)} observed models: {perplexity}, {best.name} "
        f"({best.verdict.claim}; {_best_attack(best)})."
    )
    if other is best:
        return first
    price = f"{row_values.format_number(other.perplexity.value)} ({100 * other.excess:.0f} % higher)"
    if other.verdict.word == "nothing":
        return (
            f"{first} Lowest perplexity of a model on which no membership attack detects leakage: {price}, {other.name} "
            f"({_best_attack(other)})."
        )
    return (
        f"{first} Perplexity of the model with the least measured leakage: {price}, {other.name} "
        f"({other.verdict.claim}; {_best_attack(other)})."
    )


def _best_attack(choice: ModelChoice) -> str:
    return f"{choice.verdict.attack} AUC {choice.verdict.auc_text}"
