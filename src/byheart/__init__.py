"""Measure what a fine-tuned language model memorized.

- `byheart.run(study)` trains models, attacks them and measures leakage.
- `byheart.audit(model, tokenizer, members=..., nonmembers=...)` audits a model that byheart did not train.
- `byheart.audit_endpoint(url, name, members, nonmembers)` audits a model behind a server.
- `byheart.audit_generated(generated, members, nonmembers)` audits texts that a model generated, without the model.
- `byheart.audit_scores(members, nonmembers, scores=...)` audits scores that another tool computed, without the model.
- `byheart.plant(dataset)` plants canaries in training data, for an audit with `canaries=`.
- `byheart.MemorizationCallback` attacks a model during training with the Hugging Face Trainer.
- `byheart.token_stats(model, tokenizer, texts)` returns the evidence that attacks read. Each attack is a plain function:
  `byheart.attacks.loss.loss(stats)`.

Names are imported on first use.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byheart.auditing.canaries.plant import plant
    from byheart.auditing.generated import audit_generated
    from byheart.auditing.given_scores import audit_scores
    from byheart.auditing.local import audit
    from byheart.auditing.server.audit import audit_endpoint
    from byheart.auditing.training.callback import MemorizationCallback
    from byheart.core.types import LogProbs, Texts, TokenStats
    from byheart.lm.score import token_stats
    from byheart.study.run_study import run

__all__ = [
    "LogProbs",
    "MemorizationCallback",
    "Texts",
    "TokenStats",
    "audit",
    "audit_endpoint",
    "audit_generated",
    "audit_scores",
    "plant",
    "run",
    "token_stats",
]

_MODULE_OF_NAME = {
    "LogProbs": "byheart.core.types",
    "MemorizationCallback": "byheart.auditing.training.callback",
    "Texts": "byheart.core.types",
    "TokenStats": "byheart.core.types",
    "audit": "byheart.auditing.local",
    "audit_endpoint": "byheart.auditing.server.audit",
    "audit_generated": "byheart.auditing.generated",
    "audit_scores": "byheart.auditing.given_scores",
    "plant": "byheart.auditing.canaries.plant",
    "run": "byheart.study.run_study",
    "token_stats": "byheart.lm.score",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, because `byheart --help` must not wait for torch."""
    if name == "__version__":
        return metadata.version("byheart")
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module 'byheart' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF_NAME[name]), name)
