"""The annex says what was run, what was not and what runs it, beside clauses; it claims no compliance."""

import json

import numpy as np
import pytest

from byheart.auditing.annex.annex import DISCLAIMER, build_annex
from byheart.auditing.annex.clauses import framework_names, general_duties, parse_frameworks, read_framework
from byheart.auditing.annex.contexts import EXCLUDED, counts
from byheart.auditing.annex.evidence import CLASS_LABELS, class_summary, evidence_lines
from byheart.core.adversary import default_adversary_label
from byheart.core.errors import SettingError, UnknownNameError
from byheart.core.registry import entry_names
from byheart.stats.leakage_tests import RecordLabels
from testing.audit_facts import facts_of, number
from testing.audited import TEXTS, refusal

LOSS = number("auc", 0.7, "loss", low=0.6, high=0.8)
DISTRIBUTIONS = number("auc", 0.9, "min_k_plus_plus", low=0.8, high=0.95)


def clauses_of(annex):
    return {c["short"]: c for f in annex.as_dict()["documents"] for c in f["clauses"]}


def test_every_clause_is_complete_and_names_known_classes():
    documents = [read_framework(name) for name in framework_names()]
    assert [d.name for d in documents] == ["edpb", "aisvs", "nist", "aiact", "atlas"]
    shorts = [c.short for d in documents for c in d.clauses]
    assert len(set(shorts)) == len(shorts)
    for document in documents:
        assert document.source.startswith("https://")
        assert "2026-" in document.read
        for clause in document.clauses:
            assert set(clause.classes) <= set(CLASS_LABELS)
            assert clause.asks.endswith(".")
            assert clause.yours.endswith(".")
    assert all(duty.endswith(".") for duty in general_duties())
    # Its text could not be read, so no table may cite it.
    assert "EDPB 46" not in shorts
    assert [item["clause"] for item in read_framework("edpb").not_listed] == ["paragraph 46"]


def test_the_context_decides_which_adversaries_count():
    least = {
        context: {n for n in entry_names("attacks") if counts(default_adversary_label(n), context)}
        for context in EXCLUDED
    }
    assert {"loss", "reference", "samia"} <= least["public-api"] & least["internal"] & least["weights"]
    assert {"min_k_plus_plus", "grad_norm"} <= least["weights"] - least["public-api"] - least["internal"]
    assert "lira" in least["internal"] - least["public-api"] - least["weights"]  # other training texts
    assert "trajectory" not in least["public-api"] | least["weights"] | least["internal"]  # the model after every epoch
    for context, expected in (("public-api", "0.7"), ("weights", "0.9")):
        annex = build_annex(facts_of(LOSS, DISTRIBUTIONS), "aisvs", context=context)
        attacks, highest = ("1 attack", "(loss)") if context == "public-api" else ("2 attacks", "(min_k_plus_plus)")
        said = clauses_of(annex)["AISVS 11.2.5"]["tests"]["membership"]
        assert said.startswith(f"{attacks}, ROC AUC up to {expected}")
        assert said.endswith(highest)
    assert "does not count: public-api" in build_annex(facts_of(DISTRIBUTIONS), "edpb", context="public-api").markdown()


def test_what_was_not_run_says_so_and_what_runs_it():
    annex = build_annex(facts_of(LOSS, left_out={"spv": "requires a thing"}), framework_names())
    tests = {n: t for c in clauses_of(annex).values() for n, t in c["tests"].items()}
    assert tests["extraction"] == "not run (--attacks discoverable,approximate)"
    assert tests["canaries"] == "not run (--canaries MANIFEST)"
    assert tests["attributes"] == "not run (byheart run)"
    assert tests["inversion"] == "not run (another tool)"
    shown = annex.markdown()
    assert "not run: spv (requires a thing)" in shown
    others = next(
        x for x in annex.lines if x.reason == "not selected; add --attacks all" and x.attack_class == "membership"
    )
    assert "reference" in others.test
    assert "loss" not in others.test.split(", ")
    assert {"discoverable", "approximate"} <= set(entry_names("attacks"))
    only = build_annex(facts_of(DISTRIBUTIONS), "aisvs", context="public-api")
    assert clauses_of(only)["AISVS 11.2.5"]["tests"]["membership"] == (
        "not run by an adversary of this context (--attacks default)"
    )


def test_numbers_have_intervals_power_and_bounds():
    shown = {
        "bound": "auc=0.6",
        "is_shown": False,
        "attack": "loss",
        "value": 0.7,
        "high": 0.8,
        "power": 0.93,
        "reason": "r",
    }
    base = number("auc", 0.5, "loss", low=0.4, high=0.6, epoch=0)
    facts = facts_of(base, LOSS, number("tpr_at_fpr", 0.3, "loss", fpr=0.1), bounds=[shown])
    auc, tpr, bound, *_ = [x for x in evidence_lines(facts, "weights") if x.attack_class == "membership"]
    assert (auc.estimate.value, auc.estimate.low, auc.estimate.high) == (0.7, 0.6, 0.8)
    assert auc.power.startswith("80 % for an AUC of 0.6")
    assert (tpr.metric, tpr.power) == ("TPR at 10 % FPR", "")
    assert bound.test == "bound auc=0.6: not shown: r"
    assert bound.power == "93 % at chance"
    assert (
        class_summary([auc, tpr, bound], "membership")
        == "1 attack, ROC AUC up to 0.700 (loss); bound auc=0.6: not shown: r"
    )
    canaries = facts_of(number("exposure", 3.0, repeated=4), number("epsilon_lower_bound", 0.5, guesses=6))
    lines = [x for x in evidence_lines(canaries, "weights") if x.attack_class == "canaries"]
    assert [x.metric for x in lines] == ["exposure (bits), trained on 4 times", "epsilon, at least (95 % confidence)"]


def test_an_attack_in_reverse_counts_by_its_reversed_score():
    reverse = number("auc", 0.3, "loss", low=0.25, high=0.35)
    lines = evidence_lines(facts_of(reverse, number("auc", 0.52, "min_k", low=0.45, high=0.6)), "weights")
    assert class_summary(lines, "membership") == "2 attacks, ROC AUC up to 0.700 (loss, reversed)"


def test_attacks_without_nonmembers_have_no_rate():
    labels = RecordLabels(np.ones(30, dtype=bool), tuple(map(str, range(30))))
    annex = build_annex(facts_of(selected=["loss"], labels=labels), "aisvs")
    assert "not run: loss (no rate is defined without non-members; add --nonmembers)" in annex.markdown()
    assert clauses_of(annex)["AISVS 11.2.5"]["tests"]["membership"].startswith("not run")


def test_it_claims_no_compliance_and_lists_what_to_add():
    annex = build_annex(facts_of(LOSS), framework_names())
    for form in (annex.markdown(), json.dumps(annex.as_dict()), " ".join(annex.section().paragraphs)):
        assert "claims no compliance" in form
    shorts = [c.short for f in annex.frameworks for c in f.clauses]
    assert [d.partition(":")[0] for d in annex.duties][: len(shorts)] == shorts
    assert annex.duties[len(shorts) :] == general_duties()
    assert DISCLAIMER in annex.markdown().replace("\\", "")
    assert "Preregistration: none." in annex.markdown()
    assert json.loads(annex.json()) == json.loads(json.dumps(annex.as_dict()))


def test_unknown_names_are_refused():
    assert parse_frameworks("edpb, nist,edpb") == ("edpb", "nist")
    with pytest.raises(UnknownNameError, match="Did you mean 'nist'"):
        parse_frameworks("nits")
    with pytest.raises(SettingError, match="no document is named"):
        parse_frameworks(",")
    with pytest.raises(UnknownNameError, match="--context"):
        build_annex(facts_of(LOSS), "edpb", context="web")


def test_the_command_writes_the_annex_and_reads_it_from_the_folder(base, saved, command, typed, tmp_path):
    words = ("--model", saved / "full", "--base", base, "--attacks", "loss")
    assert "requires --annex" in refusal(command(*words, "--context", "weights"))
    assert "Add -o DIR" in refusal(command(*words, "--annex", "edpb"))
    assert command(*words, "--annex", "edpb,aisvs", "--context", "public-api", "-o", tmp_path / "out")[0] == 0
    written = (tmp_path / "out" / "annex.md").read_text()
    assert "Context public-api" in written
    assert not any(text in written for text in TEXTS)
    page = (tmp_path / "out" / "report.html").read_text()
    section = page.partition('<section id="annex"')[2].partition("</section>")[0]
    assert "claims no compliance" in section
    assert "AISVS 11.2.5" in section
    assert 'href="#annex"' in page

    again = ("--annex", "edpb,aisvs", "--context", "public-api")
    assert typed("report", tmp_path / "out", *again) == (0, written, "")
    assert typed("report", tmp_path / "out", *again, "--export", tmp_path / "e")[0] == 0
    assert (tmp_path / "e" / "annex.json").read_text() == (tmp_path / "out" / "annex.json").read_text()
    assert "is sealed" in refusal(typed("report", tmp_path / "out", *again, "--export", tmp_path / "out" / "e"))
    assert "no audit is named" in refusal(typed("report", "--annex", "edpb"))
    assert "its report.html" in refusal(typed("report", tmp_path / "out"))
