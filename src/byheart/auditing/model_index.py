"""An audit as `model-index` metadata of a Hugging Face model card.

The format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. One entry of the task text-generation, with a metric per
number of the fine-tuned model. Metric ids are byheart's where the Hub has none.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from byheart.analysis import row_values
from byheart.analysis.labels import attack_label, base_name, metric_name
from byheart.auditing.canaries.table import METRICS as CANARY_METRICS
from byheart.auditing.result import FINETUNED_EPOCH
from byheart.core.defaults import EXTRACTION_METRICS
from byheart.core.types import Row

METRICS = frozenset({"auc", "tpr_at_fpr", *EXTRACTION_METRICS, *CANARY_METRICS})
_HUB_METRIC_IDS = {"auc": "roc_auc"}


def model_index(rows: Sequence[Row], provenance: Mapping[str, Any]) -> str:
    """Return the YAML of `model-index` for the front matter of a model card; "" if there is no number to report."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index
    from ruamel.yaml import YAML

    texts = provenance["texts"]
    results = [
        EvalResult(
            task_type="text-generation",
            task_name="Memorization audit (byheart)",
            dataset_type="audited-texts",
            dataset_name=f"{texts['members']} training texts, {texts['nonmembers']} other texts",
            metric_type=_HUB_METRIC_IDS.get(row.metric, row.metric),
            metric_name=_name(row),
            metric_value=float(row_values.format_number(row.value).replace(",", "")),
            metric_args=_arguments(row),
        )
        for row in rows
        if row.epoch == FINETUNED_EPOCH and row.metric in METRICS and "estimate=" not in row.metric_settings
    ]
    if not results:
        return ""
    written = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 10_000
    yaml.dump({"model-index": eval_results_to_model_index(base_name(str(provenance["model"])), results)}, written)
    return written.getvalue()


def _name(row: Row) -> str:
    name = metric_name(row.metric)
    settings = f" ({row.metric_settings})" if row.metric_settings else ""
    return f"{name}{settings} of {attack_label(row)}" if row.attack else f"{name}{settings}"


def _arguments(row: Row) -> dict[str, Any]:
    """Return what the number needs to be read: interval, counts, attack and adversary."""
    plain = {
        "attack": attack_label(row),
        "adversary": row.adversary,
        "settings": row.metric_settings,
        "low": None if row.low is None else round(row.low, 4),
        "high": None if row.high is None else round(row.high, 4),
        "members": row.members,
        "nonmembers": row.nonmembers,
    }
    return {name: value for name, value in plain.items() if value not in {None, ""}}
