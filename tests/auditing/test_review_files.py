"""JUnit, SARIF and model-index of an audit: the same numbers and outcomes as its exit code, and no text of a record."""

import json
from xml.etree import ElementTree as ET

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from ruamel.yaml import YAML

from byheart.auditing.ci.checks import Check, audit_checks
from byheart.auditing.ci.junit import junit_xml
from byheart.auditing.ci.sarif import sarif_json
from byheart.auditing.fail_bounds import Bound
from byheart.auditing.model_index import model_index
from byheart.auditing.pass_bounds import BoundResult, PassBound
from byheart.auditing.preregistration import Preregistration
from testing.audit_facts import PROVENANCE, audit_of, number
from testing.audited import TEXTS, refusal

ROWS = (
    number("auc", 0.5, "loss", low=0.4, high=0.6, epoch=0),
    number("auc", 0.7, "loss", low=0.62, high=0.8),
    number("auc", 0.61, "min_k", low=0.55, high=0.7),
    number("auc", 0.5, "zlib_ratio", low=0.4, high=0.6),
)
LIMIT = Bound("auc", 0.6)


def outcomes(checks):
    return {check.name: check.outcome for check in checks}


def test_a_bound_fails_is_undecided_or_passes_by_attack():
    checks = audit_checks(audit_of(*ROWS, left_out={"spv": "requires a thing"}), [LIMIT])
    assert outcomes(checks) == {
        "auc=0.6 loss": "failed",
        "auc=0.6 min_k": "undecided",
        "auc=0.6 zlib_ratio": "passed",
        "spv": "not judged",
    }
    assert "0.700 [0.620, 0.800], above 0.6" in checks[0].message
    assert len({check.rule for check in checks}) == len(checks)
    assert all(" " not in check.rule for check in checks)
    # No verdict: --fail-above is an error of the command, and the check is undecided.
    assert set(outcomes(audit_checks(audit_of(*ROWS, word="refused"), [LIMIT])).values()) == {"undecided"}


def test_a_bound_to_pass_that_is_not_shown_fails_like_its_exit_code():
    shown = BoundResult(PassBound("auc", 0.8), True, "loss", 0.5, 0.6, 0.9)
    missed = BoundResult(PassBound("auc", 0.55), False, "loss", 0.5, 0.6, 0.9, "few texts")
    checks = audit_checks(audit_of(*ROWS, bounds=(shown, missed)), [])
    assert outcomes(checks) == {"auc=0.8": "passed", "auc=0.55": "failed"}
    assert "not shown: few texts" in checks[1].message


def test_a_planned_bound_that_was_not_tested_fails_like_its_exit_code():
    plan = Preregistration("0" * 64, "2026-01-01", ("pass_below is not set",), ("--pass-below auc=0.55",))
    checks = audit_checks(audit_of(*ROWS, preregistration=plan), [])
    assert outcomes(checks) == {"--pass-below auc=0.55": "failed"}
    assert "must be tested as planned" in sarif_json(checks, verdict="v", tool_version="0", location="l")


def test_a_plan_that_was_not_followed_fails_beside_bounds_of_fail_above():
    plan = Preregistration("0" * 64, "2026-01-01", ("attack spv was left out",))
    checks = audit_checks(audit_of(*ROWS, preregistration=plan), [LIMIT])
    assert outcomes(checks)["plan"] == "failed"
    assert "plan" not in outcomes(audit_checks(audit_of(*ROWS, preregistration=plan), []))


def test_without_a_bound_nothing_is_judged():
    checks = audit_checks(audit_of(*ROWS), [])
    assert set(outcomes(checks).values()) == {"not judged"}
    assert "0.700 [0.620, 0.800]; no bound was set" in checks[0].message
    # Without non-members only the share of extracted members remains.
    (extracted,) = audit_checks(audit_of(number("extraction_rate", 0.25, "discoverable", low=0.1, high=0.4)), [])
    assert (extracted.outcome, extracted.name) == ("not judged", "discoverable")
    assert "0.250 [0.100, 0.400]; no bound was set" in extracted.message


CHECKS = (
    Check("fail-above", "auc=0.6 loss", "failed", "is above <0.6> \x1b[31m"),
    Check("fail-above", "auc=0.6 min_k", "undecided", "few texts"),
    Check("pass-below", "auc=0.9", "passed", "shown"),
    Check("attack", "spv", "not judged", "not run"),
)


def test_junit_counts_its_cases_and_holds_only_legal_characters():
    root = ET.fromstring(junit_xml(CHECKS, verdict="leaks", at="2026-01-02T03:04:05Z", seconds=7.25))  # noqa: S314 - ours
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    cases = suite.findall("testcase")
    for element in (root, suite):
        assert element.get("name")
        assert int(element.get("tests")) == len(cases) == 4
        assert int(element.get("failures")) == len(suite.findall("testcase/failure")) == 1
        assert int(element.get("skipped")) == len(suite.findall("testcase/skipped")) == 2
        assert element.get("errors") == "0"
        assert element.get("time") == "7.250"
    assert suite.get("timestamp") == "2026-01-02T03:04:05"
    assert all(case.get("name") and case.get("classname") and case.get("time") for case in cases)
    (failure,) = suite.findall("testcase/failure")
    assert failure.get("type") == "fail-above"
    assert failure.get("message") == failure.text == "is above <0.6> \ufffd[31m"
    assert len({(c.get("classname"), c.get("name")) for c in cases}) == 4


def test_sarif_has_the_required_fields_and_only_failed_and_undecided_results():
    log = json.loads(sarif_json(CHECKS, verdict="leaks", tool_version="0.1.0", location="out dir/report.html"))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"] == "byheart"
    assert [rule["properties"]["outcome"] for rule in rules] == [check.outcome for check in CHECKS]
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]
    assert [(r["kind"], r["level"]) for r in run["results"]] == [("fail", "error"), ("open", "none")]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "out%20dir/report.html"
        assert location["physicalLocation"]["region"]["startLine"] == 1
        assert result["partialFingerprints"]


def test_model_index_is_read_by_the_hub_library():
    rows = (*ROWS, number("tpr_at_fpr", 1.0, "loss", fpr=0.1), number("perplexity", 9.0))
    written = model_index(rows, PROVENANCE)
    card = ModelCard(f"---\n{written}---\n# My model\n")
    assert card.data.model_name == "my-lora"
    name, results = model_index_to_eval_results(YAML(typ="safe").load(written)["model-index"])
    assert name == "my-lora"
    assert [(r.metric_type, r.metric_value) for r in results] == [
        ("roc_auc", 0.7),
        ("roc_auc", 0.61),
        ("roc_auc", 0.5),
        ("tpr_at_fpr", 1.0),
    ]
    first = results[0]
    assert (first.task_type, first.dataset_name) == ("text-generation", "50 training texts, 50 other texts")
    assert (first.metric_args["low"], first.metric_args["high"], first.metric_args["attack"]) == (0.62, 0.8, "loss")
    assert len(card.data.eval_results) == 4
    assert model_index([number("perplexity", 9.0)], PROVENANCE) == ""


def test_files_that_would_replace_an_input_or_each_other_are_refused_before_the_audit(base, files, command, tmp_path):
    words = ("--model", base, "--attacks", "loss")
    before = (files / "members.jsonl").read_bytes()
    said = refusal(command(*words, "--junit", files / "members.jsonl"))
    assert "the audit reads this file. Name another file, such as junit.xml." in said
    assert (files / "members.jsonl").read_bytes() == before
    same = tmp_path / "same.xml"
    assert "is also the file of --junit" in refusal(command(*words, "--junit", same, "--sarif", same))
    assert not same.exists()
    said = refusal(command(*words, "--sarif", tmp_path))
    assert said.endswith("is no file in an existing folder. Name a file, such as audit.sarif.")
    assert "--junit /proc/j.xml: cannot be written" in refusal(command(*words, "--junit", "/proc/j.xml"))


def test_an_unknown_context_is_named_in_one_sentence(base, command, tmp_path):
    said = refusal(command("--model", base, "--annex", "edpb", "--context", "public", "-o", tmp_path / "out"))
    assert said.startswith("byheart: Invalid value for '--context': 'public' is not one of 'public-api'")


def test_a_plan_is_written_without_the_options_of_a_result(command, tmp_path):
    plan = tmp_path / "plan.json"
    said = refusal(command("--preregister", plan, "--annex", "edpb", "-o", tmp_path / "out"))
    assert "-o, --annex: --preregister audits nothing" in said
    assert not plan.exists()


@pytest.mark.parametrize(("bound", "code"), [("auc=0.6", 3), ("auc=0.999", 0)])
def test_the_files_agree_with_the_exit_code_and_hold_no_text(base, saved, command, tmp_path, bound, code):
    words = ("--model", saved / "full", "--base", base, "--attacks", "loss", "--fail-above", bound)
    junit, sarif = tmp_path / "junit.xml", tmp_path / "audit.sarif"
    inside = refusal(command(*words, "-o", tmp_path / "out", "--junit", tmp_path / "out" / "j.xml"))
    assert "is sealed" in inside
    assert "existing folder" in refusal(command(*words, "--junit", tmp_path / "none" / "j.xml"))
    assert command(*words, "-o", tmp_path / "out", "--junit", junit, "--sarif", sarif)[0] == code
    failures = ET.parse(junit).getroot().get("failures")  # noqa: S314 - ours
    assert (failures != "0") == (code == 3)
    kinds = [result["kind"] for result in json.loads(sarif.read_text())["runs"][0]["results"]]
    assert ("fail" in kinds) == (code == 3)
    content = junit.read_text() + sarif.read_text() + (tmp_path / "out" / "model_index.yaml").read_text()
    assert not any(text in content for text in TEXTS)
    assert "m-0" not in content
