"""Default attacks, metrics and methods of a study."""

from __future__ import annotations

COSTS = frozenset({"passes", "seconds"})
"""Metrics that say what an attack took, and not what leaked."""


EXTRACTION = ("extraction_rate", "extraction_rate_nonmembers", "extraction_excess")
"""Metrics of what was extracted, measured only of attacks that extract, and shown in a table of their own."""


ATTACKS = ("loss", "reference", "zlib_ratio", "min_k", "min_k_plus_plus")


METRICS = ("auc", "perplexity", "train_perplexity", "generalisation_gap", *EXTRACTION)


METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")
