"""Studies in which attacks have AUCs below 0.5: the method leaks in reverse only below the base model and beyond the texts."""

import re
from dataclasses import replace

import numpy as np
import pytest

from byheart.analysis.base_model_check import panel_gates
from byheart.analysis.exposed_records import exposed_records
from byheart.analysis.verdicts import verdict_lines, verdicts
from byheart.core.split_check import Finding, Gate
from byheart.report.exhibits import ReportContent
from byheart.report.page import report
from testing.made_up import judged, scored, study

FEW = {"datasets": ("webnlg",), "methods": ("full", "prompt"), "epochs": (0, 3)}


def study_with(value, *, epochs=(3,), seeds=(0,), changed_seeds=(0,)):
    """Rows in which every attack on prompt tuning has this AUC."""
    return [
        replace(r, value=value)
        if (r.method, r.metric) == ("prompt", "auc") and r.epoch in epochs and r.seed in changed_seeds
        else r
        for r in study(seeds=seeds, **FEW)
    ]


def verdict(rows, gates=None):
    found = panel_gates(rows, scored(rows), judged() if gates is None else gates)
    return next(v for v in verdicts(rows, scored(rows), found)["WebNLG"] if v.method == "prompt")


def test_a_method_whose_members_score_below_nonmembers_leaks_in_reverse():
    found = verdict(study_with(0.15))
    assert (found.word, found.claim) == ("reversed", "leaks in reverse")
    assert found.sentence.startswith(
        "leaks in reverse: an adversary ranks a random member below a random non-member in 85 % ["
    )
    assert "reaches AUC 0.15" in found.evidence
    assert any("leaks in reverse: " in line for line in verdict_lines(study_with(0.15), scored(study_with(0.15)), {}))
    assert verdict(study_with(0.85)).word == "leaks"
    assert verdict(study_with(0.5)).word == "nothing"


def test_the_blind_classifiers_count_in_reverse():
    words = Finding("blind: words", "doubtful", "", "words differ", 0.65, 0.596, 0.7, 0.001)
    gates = {("webnlg", ""): Gate(200, 200, (words,))}
    assert verdict(study_with(0.35), gates).word == "differs"
    assert verdict(study_with(0.05), gates).word == "reversed"
    assert verdict(study_with(0.05), {("webnlg", ""): judged("broken", "copies")[("webnlg", "")]}).word == "broken"


def test_one_seed_is_not_enough_for_a_leak_in_reverse():
    assert verdict(study_with(0.15, seeds=(0, 1), changed_seeds=(0, 1))).word == "reversed"
    assert verdict(study_with(0.15, seeds=(0, 1), changed_seeds=(1,))).word == "nothing"


def test_the_page_counts_leaks_in_reverse_apart():
    rows = study_with(0.15)
    page = report(ReportContent(rows, scored(rows), judged()), title="A study", provenance={"command": "byheart run"})
    assert "Leakage in reverse for prompt: members score below non-members" in page
    assert '<span class="badge reversed">leaks in reverse</span>' in page
    assert len(re.findall(r"\d of 2 methods leak, 1 in reverse", page)) == 2


def test_the_best_attacks_of_other_adversaries_count_in_reverse_too():
    others = verdict(study_with(0.15)).other_adversaries
    aucs = [other.auc for other in others if other.attack.endswith(", score reversed")]
    assert aucs
    values = [re.match(r"(0\.\d+) \[(0\.\d+), ", auc).groups() for auc in aucs]
    assert all(float(value) > float(low) > 0.5 for value, low in values)


def test_the_most_exposed_records_of_a_reversed_method_have_the_lowest_scores():
    rows = study_with(0.15)
    models = exposed_records(rows, scored(rows), set(), reversed_methods={("WebNLG", "prompt")})
    model = next(m for m in models if m["series"] == "prompt")
    assert model["leaks"]
    assert model["reversed"]
    score_set = scored(rows)(
        next(r.scores for r in rows if r.method == "prompt" and r.attack == "loss" and r.epoch == 3)
    )
    lowest = np.sort(score_set.scores[score_set.members])[0]
    assert min(s[-1] for s in model["scores"]["Loss"]) == pytest.approx(lowest, rel=1e-3)
    assert max(s[-1] for s in model["shares"]["Loss"]) > 900
    assert not next(m for m in models if m["series"] == "full")["reversed"]
