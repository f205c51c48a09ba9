"""Check what an attack returns: one finite score per text, and for an extraction attack also what it extracted."""

from __future__ import annotations

from typing import Any

import numpy as np

from byheart.core.errors import DataError
from byheart.core.registry import Choice
from byheart.core.types import Extraction

ATTACK_OUTPUT_NAMES = ("scores", "extracted")
"""Outputs that a metric may request by name: every attack returns scores, an extraction attack also `extracted`."""


def is_extraction_attack(attack: Choice) -> bool:
    """Whether an attack's signature declares an `Extraction` as its return type."""
    return attack.return_type == Extraction.__name__


def output_arrays(attack: Choice, output: Any, texts: int) -> dict[str, np.ndarray]:
    """Return an attack's output by name: `scores`, and for an `Extraction` also `extracted` and `tokens`.

    Raises `DataError` unless there is one finite score per text, and where the output contradicts the declared type.
    """
    if is_extraction_attack(attack) != isinstance(output, Extraction):
        raise DataError(
            f"attacks {attack.name}: declares return type {attack.return_type or 'nothing'} but returned "
            f"{type(output).__name__}. An attack that extracts texts must be declared `-> Extraction` and return one."
        )
    if not isinstance(output, Extraction):
        return {"scores": _validate_scores(attack, output, texts)}
    columns = {name: np.asarray(column) for name, column in output._asdict().items()}
    columns["scores"] = _validate_scores(attack, output.scores, texts)
    if any(column.shape != (texts,) for column in columns.values()):
        raise DataError(
            f"attacks {attack.name}: an array of the Extraction does not have {texts} entries. "
            "Return one entry per text in scores, extracted and tokens."
        )
    return columns


def _validate_scores(attack: Choice, scores: Any, texts: int) -> np.ndarray:
    try:
        array = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"attacks {attack.name}: the scores are not numbers. Return {texts} scores, one per text."
        ) from error
    if array.shape != (texts,):
        raise DataError(
            f"attacks {attack.name}: the scores have shape {array.shape}. Return {texts} scores, one per text."
        )
    if not np.isfinite(array).all():
        non_finite = int((~np.isfinite(array)).sum())
        raise DataError(
            f"attacks {attack.name}: {non_finite} of {texts} scores are NaN or infinite. Return finite scores."
        )
    return array
