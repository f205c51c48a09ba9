"""Facts of a finished training that rows report, and the check of a method's declared privacy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byheart.core.errors import DataError
from byheart.stats.dp_accounting import privacy_settings
from byheart.study.planned_cell import PlannedCell
from byheart.study.store_provider import CellContext

if TYPE_CHECKING:
    from byheart.lm.load import LanguageModel, TrainableModel


def training_facts(context: CellContext, model: LanguageModel, tuned: TrainableModel) -> dict[str, Any]:
    """Return the number of trained parameters and of truncated texts, the learning rate, and the facts of private training."""
    from byheart.lm import train

    return {
        "trained_parameters": sum(p.numel() for p in train.trainable_parameters(model.module).values()),
        "learning_rate": context.planned.cell.training.learning_rate or tuned.learning_rate,
        "truncated_texts": _truncated_text_count(context),
        **_privacy_facts(context.planned),
    }


def check_declared_privacy(planned: PlannedCell, tuned: TrainableModel) -> None:
    """Raise `DataError` if a method returns other privacy settings than its file declares."""
    declared = privacy_settings(planned.cell.method)
    if tuned.privacy != declared:
        raise DataError(
            f"methods {planned.cell.method.name}: returned privacy = {tuned.privacy}, but its file declares {declared}. "
            "Set PRIVATE = True in the file and return its settings unchanged."
        )


def _privacy_facts(planned: PlannedCell) -> dict[str, Any]:
    """Return noise, delta and the accountant's epsilon by epoch for private training; {} for other training."""
    if planned.spending is None:
        return {}
    epsilons = [planned.spending.epsilon(e) for e in planned.epochs]
    return {
        "noise_multiplier": planned.spending.noise_multiplier,
        "delta": planned.spending.delta,
        "accountant_epsilon": epsilons,
    }


def _truncated_text_count(context: CellContext) -> int:
    """Return the number of truncated texts; members count once."""
    nonmembers = context.tokens["audited"].cut[len(context.planned.split.members) :]
    return sum(int((c > 0).sum()) for c in (context.tokens["train"].cut, nonmembers, context.tokens["validation"].cut))
