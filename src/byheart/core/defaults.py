"""Default attacks, metrics and methods of a study."""

from __future__ import annotations

COST_METRICS = frozenset({"passes", "seconds"})
"""Metrics of an attack's cost."""


EXTRACTION_METRICS = ("extraction_rate", "extraction_rate_nonmembers", "extraction_excess")
"""Metrics of extraction attacks, shown in a separate table."""


DEFAULT_ATTACKS = ("loss", "reference", "zlib_ratio", "min_k", "min_k_plus_plus")


SYNTHETIC_ATTACKS = ("synthetic_ngram", "synthetic_similarity")
CALIBRATED_SYNTHETIC_ATTACKS = ("synthetic_ngram_calibrated", "synthetic_similarity_calibrated")
"""Attacks of an audit of generated texts; the calibrated ones need reference texts."""


DEFAULT_METRICS = ("auc", "perplexity", "train_perplexity", "generalisation_gap", *EXTRACTION_METRICS)


DEFAULT_METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")
