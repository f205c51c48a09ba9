"""byheart finds out what a fine-tuned language model knows by heart.

`byheart.run(study)` trains, attacks and measures; `byheart.token_stats(model, tokenizer, texts)` gives the evidence that
attacks read; each attack is a plain function, `byheart.attacks.loss.loss(stats)`; `byheart.audit(model, tokenizer,
members=..., nonmembers=...)` audits a finished model, `byheart.audit_endpoint(url, name, members, nonmembers)` one behind a server;
`byheart.MemorizationCallback` watches a model in somebody else's
trainer. Names are imported on first use.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byheart.auditing.local import audit
    from byheart.auditing.server.audit import audit_endpoint
    from byheart.auditing.training.callback import MemorizationCallback
    from byheart.core.types import LogProbs, Texts, TokenStats
    from byheart.lm.score import token_stats
    from byheart.study.run_study import run

__all__ = ["LogProbs", "MemorizationCallback", "Texts", "TokenStats", "audit", "audit_endpoint", "run", "token_stats"]

_HOMES = {
    "LogProbs": "byheart.core.types",
    "MemorizationCallback": "byheart.auditing.training.callback",
    "Texts": "byheart.core.types",
    "TokenStats": "byheart.core.types",
    "audit": "byheart.auditing.local",
    "audit_endpoint": "byheart.auditing.server.audit",
    "run": "byheart.study.run_study",
    "token_stats": "byheart.lm.score",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `byheart --help` must not wait for torch."""
    if name == "__version__":
        return metadata.version("byheart")
    if name not in _HOMES:
        raise AttributeError(f"module 'byheart' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
