"""An audit made of written numbers, without a model."""

import numpy as np

from byheart.auditing.annex.evidence import AuditFacts
from byheart.auditing.audit import Audit
from byheart.auditing.verdict import Ruling
from byheart.core.registry import choose
from byheart.core.row import build_row
from byheart.core.types import Estimate
from byheart.stats.leakage_tests import RecordLabels

SIZE = 50
LABELS = {"base": "b", "dataset": "audited texts", "method": "lora", "seed": 0} | dict.fromkeys(
    ("dataset_settings", "method_settings", "training_settings", "cell"), ""
)
RECORD_LABELS = RecordLabels(np.arange(2 * SIZE) < SIZE, tuple(map(str, range(2 * SIZE))))
PROVENANCE = {
    "model": "models/my-lora",
    "method": "lora",
    "texts": {"members": SIZE, "nonmembers": SIZE},
    "settings": {"attacks": {}, "fpr": 0.1},
    "at": "2026-01-02T03:04:05Z",
    "seconds": 7.25,
    "versions": {"byheart": "0.1.0"},
}


def number(metric, value, attack="", *, low=None, high=None, epoch=1, **settings):
    """The row of a number; metric settings by keyword."""
    chosen = choose("attacks", attack) if attack else None
    label = ", ".join(f"{n}={v}" for n, v in settings.items())
    return build_row(LABELS, epoch, metric, Estimate(value, low, high, SIZE, SIZE), chosen, label=label)


def facts_of(*rows, selected=(), left_out=None, bounds=(), labels=RECORD_LABELS):
    """An audit as its folder has it; every attack of the rows is selected."""
    names = dict.fromkeys([*(r.attack for r in rows if r.attack), *selected])
    made = {**PROVENANCE, "settings": {"attacks": names, "fpr": 0.1}}
    manifest = {
        "verdict": "leaks",
        "sentence": "leaks: loss ranks",
        "gate": "sound",
        "preregistration": None,
        "bounds": [*bounds],
        "not_run": left_out or {},
    }
    return AuditFacts(rows, {**manifest, "made": made}, labels)


def audit_of(*rows, word="nothing", left_out=None, bounds=(), preregistration=None):
    """An audit in memory."""
    return Audit(
        rows=rows,
        ruling=Ruling(word, "no leakage detectable"),
        gate=None,
        doubts=(),
        left_out=left_out or {},
        ids=(),
        scores={},
        record_labels=RECORD_LABELS,
        texts=None,
        passes={},
        pieces=None,
        private_values=(),
        provenance=PROVENANCE,
        bounds=bounds,
        preregistration=preregistration,
    )
