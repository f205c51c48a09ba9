"""What an attack gave, checked: one finite number a text, and of an extraction attack also what was extracted."""

from __future__ import annotations

from typing import Any

import numpy as np

from byheart.core.errors import DataError
from byheart.core.registry import Choice
from byheart.core.types import Extraction

ATTACK_OUTPUT_NAMES = ("scores", "extracted")
"""What a metric may ask of an attack, by name: every attack gives scores, an `Extraction` the other too."""


def is_extraction_attack(attack: Choice) -> bool:
    """Whether an attack says by its signature that it gives an `Extraction`."""
    return attack.return_type == Extraction.__name__


def output_arrays(attack: Choice, output: Any, texts: int) -> dict[str, np.ndarray]:
    """Return what an attack gave by name: `scores`, and of an `Extraction` also `extracted` and `tokens`.

    Raises `DataError` for anything but one finite number a text, and for an `Extraction` that the signature does not tell of.
    """
    if is_extraction_attack(attack) != isinstance(output, Extraction):
        raise DataError(
            f"attacks {attack.name} says that it gives {attack.return_type or 'nothing'} and gave {type(output).__name__}; "
            "an attack that extracts texts is declared `-> Extraction` and gives one"
        )
    if not isinstance(output, Extraction):
        return {"scores": _validate_scores(attack, output, texts)}
    columns = {name: np.asarray(column) for name, column in output._asdict().items()}
    columns["scores"] = _validate_scores(attack, output.scores, texts)
    if any(column.shape != (texts,) for column in columns.values()):
        raise DataError(f"attacks {attack.name} must say of each of {texts} texts whether it was extracted")
    return columns


def _validate_scores(attack: Choice, scores: Any, texts: int) -> np.ndarray:
    try:
        found = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"attacks {attack.name} must give {texts} scores, one a text; it gave no numbers") from error
    if found.shape != (texts,):
        raise DataError(f"attacks {attack.name} must give {texts} scores, one a text; it gave shape {found.shape}")
    if not np.isfinite(found).all():
        wrong = int((~np.isfinite(found)).sum())
        raise DataError(f"attacks {attack.name} must give finite scores; {wrong} of {texts} are NaN or infinite")
    return found
