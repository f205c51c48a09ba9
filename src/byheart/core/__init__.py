"""Value types, errors, settings and the registry of shelves. No torch, no files.

Shelf files import from here, for instance `from byheart.core import LogProbs, Scores, ragged`: these names are stable.
Names are imported on first use, because `byheart --help` must not wait for NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byheart.core import ragged
    from byheart.core.activations import Activations, Drift
    from byheart.core.completions import Completions
    from byheart.core.errors import DataError, SettingError
    from byheart.core.evidence import (
        Candidates,
        ContrastiveSamples,
        Frequencies,
        Generations,
        GradientAlignment,
        Gradients,
        GreedyContinuation,
        NeighborTokens,
        PromptedTexts,
        PromptLikelihoods,
        RecitedAttributes,
        SamplingLogProbs,
        ShadowPass,
        Shadows,
        SuffixSpans,
        SyntheticTexts,
        Variants,
    )
    from byheart.core.split import Examples
    from byheart.core.types import Estimate, Extraction, LogProbs, Row, Scores, Table, Texts, TokenStats

__all__ = [
    "Activations",
    "Candidates",
    "Completions",
    "ContrastiveSamples",
    "DataError",
    "Drift",
    "Estimate",
    "Examples",
    "Extraction",
    "Frequencies",
    "Generations",
    "GradientAlignment",
    "Gradients",
    "GreedyContinuation",
    "LogProbs",
    "NeighborTokens",
    "PromptLikelihoods",
    "PromptedTexts",
    "RecitedAttributes",
    "Row",
    "SamplingLogProbs",
    "Scores",
    "SettingError",
    "ShadowPass",
    "Shadows",
    "SuffixSpans",
    "SyntheticTexts",
    "Table",
    "Texts",
    "TokenStats",
    "Variants",
    "ragged",
]

_NAMES_OF_MODULE = {
    "activations": ("Activations", "Drift"),
    "completions": ("Completions",),
    "errors": ("DataError", "SettingError"),
    "evidence": (
        "Candidates",
        "ContrastiveSamples",
        "SamplingLogProbs",
        "Frequencies",
        "Generations",
        "GradientAlignment",
        "Gradients",
        "GreedyContinuation",
        "PromptLikelihoods",
        "PromptedTexts",
        "RecitedAttributes",
        "ShadowPass",
        "Shadows",
        "NeighborTokens",
        "SuffixSpans",
        "SyntheticTexts",
        "Variants",
    ),
    "split": ("Examples",),
    "types": ("Estimate", "Extraction", "LogProbs", "Row", "Scores", "Table", "Texts", "TokenStats"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    for module, names in _NAMES_OF_MODULE.items():
        if name in names:
            return getattr(importlib.import_module(f"byheart.core.{module}"), name)
    raise AttributeError(f"module 'byheart.core' has no attribute {name!r}")
