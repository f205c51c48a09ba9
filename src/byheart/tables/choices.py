"""Method and epoch to choose: observed models in the order of their perplexity, each with less measured leakage than those before.

The Pareto front of validation perplexity and the AUC of the best attack, after the trade-off curves of Bargav Jayaraman, David
Evans, Evaluating Differentially Private Machine Learning in Practice, USENIX Security 2019, arXiv 1902.08874.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from annotated_types import Interval

from byheart.analysis import labels, row_values
from byheart.analysis.base_model_check import GatesByDataset, panel_gates
from byheart.analysis.comparisons import LeadColumns, auc_rows
from byheart.analysis.model_choices import ModelChoice, model_choices, pareto_front
from byheart.core.errors import DataError
from byheart.core.types import Row, ScoreSet, Table


def choices(
    rows: Sequence[Row],
    scores: Callable[[str], ScoreSet],
    gates: GatesByDataset,
    *,
    step: Annotated[float, Interval(gt=0, lt=1)] = 0.02,
) -> Table:
    """Models to choose from: the higher the validation perplexity, the less measured leakage.

    A model is a method at an observed epoch. Leakage is the AUC of the best membership attack. A line has an AUC that is lower by at
    least `step` than all lines above it, or is one of the two models that the page names. Raises `DataError` without AUC and
    validation perplexity after training, or if every split is broken.
    """
    by_panel = model_choices(rows, scores, panel_gates(rows, scores, gates))
    if not by_panel:
        raise DataError(
            "table choices: no model with AUC and a validation perplexity below the base model's, on a split that is not broken. "
            "Add an attack and the metrics auc and perplexity."
        )
    lead, panels = LeadColumns(auc_rows(rows)), labels.panels(rows)
    heads = {panels(of_head[0]): head for head, of_head in lead.split(auc_rows(rows)).items()}
    lines = tuple(
        (*heads[panel], *_cells(choice)) for panel, models in by_panel.items() for choice in pareto_front(models, step)
    )
    header = ("validation perplexity", "above the lowest", "method", "epoch", "best attack", "AUC", "verdict")
    return Table("Models to choose from", (*lead.header, *header), lines, _note(sum(map(len, by_panel.values())), step))


def _cells(choice: ModelChoice) -> tuple[str, ...]:
    verdict = choice.verdict
    return (
        row_values.format_estimate(choice.perplexity),
        f"{100 * choice.excess:.0f} %",
        verdict.method,
        f"{verdict.epoch:g}",
        verdict.attack,
        verdict.auc_text,
        verdict.claim,
    )


def _note(models: int, step: float) -> str:
    return (
        f"Of {models} observed models (methods and epochs): the lowest perplexity, the lowest perplexity without detectable leakage, and "
        f"each model whose AUC is lower by at least {step:g} than that of every line above. Brackets of the AUC: 95 % interval that holds "
        "simultaneously for all attacks on the models of the same epoch. Differences between lines may be chance; the comparisons of "
        "methods test the last epoch. No detectable leakage does not prove that nothing leaked. Because a model is selected by these "
        "numbers, its perplexity and AUC are biased downward: audit the chosen model on other texts."
    )
