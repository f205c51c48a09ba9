"""Names in figures: the settings of a metric belong to the metric, not to the attack."""

from dataclasses import replace

from byheart.analysis import labels
from byheart.analysis.chart_points import chart_names
from testing.made_up import study


def test_an_attack_at_two_false_positive_rates_has_one_name():
    rows = [r for r in study(datasets=("xsum",), methods=("lora",)) if r.metric == "tpr_at_fpr" and r.attack == "min_k"]
    rows = [replace(r, metric_settings=f"fpr={fpr}") for r in rows for fpr in (0.01, 0.1)]
    names = chart_names(rows)
    assert {names.attacks(r) for r in rows} == {"Min-K%"}
    assert list(names.metrics.values()) == ["TPR at 1 % FPR", "TPR at 10 % FPR"]
    assert set(labels.attacks(rows).names.values()) == {"Min-K% fpr=0.01", "Min-K% fpr=0.1"}
