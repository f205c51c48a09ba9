"""A bound passes only if it is shown for every attack, on a comparable split, with enough texts."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri
from transformers import AutoTokenizer

import byheart
from byheart.auditing.pass_bounds import (
    PassBound,
    check_pass_bounds,
    judge_pass_bounds,
    parse_pass_bounds,
    pass_table,
    required_texts,
)
from byheart.core.errors import DataError, SettingError, UnknownNameError
from byheart.core.registry import choose
from byheart.core.split_check import Finding, Gate
from byheart.metrics.tpr_at_fpr import tpr_at_fpr
from byheart.stats.equivalence import auc_pass_power
from byheart.stats.leakage_tests import RecordLabels
from byheart.stats.roc_auc import auc_interval
from testing.audited import MEMBERS, NONMEMBERS, TEXTS, opened, records, refusal

SIZE = 400
LABELS = RecordLabels(np.arange(2 * SIZE) < SIZE, tuple(map(str, range(2 * SIZE))))
SOUND = Finding("blind: words", "sound", "", "", 0.5, 0.45, 0.55, 0.6)
WEAK_POWER = Finding("power, AUC", "doubtful", "", "few texts", 0.7)
DIFFERENT = Finding("blind: words", "doubtful", "", "words differ", 0.58, 0.53, 0.63, 0.01)
BROKEN = Finding("shared groups", "broken", "", "a group has members and non-members", 1.0)


def gate_of(*findings):
    return Gate(SIZE, SIZE, findings)


def scores_of(auc):
    """Scores with exactly this AUC: quantiles, shifted for the members."""
    quantiles = ndtri((np.random.default_rng(0).permutation(SIZE) + 0.5) / SIZE)
    return np.concatenate([quantiles + np.sqrt(2) * ndtri(auc), quantiles])


AUC_BOUND = PassBound("auc", 0.6)


def judged(*aucs, bound=AUC_BOUND, gate=None, fpr=0.1, labels=LABELS):
    scores = {f"a{i}": scores_of(auc) for i, auc in enumerate(aucs)}
    (result,) = judge_pass_bounds((bound,), scores, labels, gate or gate_of(SOUND, WEAK_POWER), fpr=fpr)
    return result


def test_every_attack_and_its_reverse_must_stay_below():
    assert judged(0.5, 0.51).is_shown
    high = auc_interval(scores_of(0.58), *LABELS)[1][1]
    assert high > 0.6
    close = judged(0.5, 0.58)
    assert (close.is_shown, close.attack, close.high) == (False, "a1", high)
    assert close.reason == "the upper 95 % end of a1 is not below 0.6"
    assert "is above 0.6" in judged(0.5, 0.7).reason
    turned = judged(0.5, 0.3)
    assert (turned.is_shown, turned.attack) == (False, "a1, reversed")
    assert turned.value == pytest.approx(0.7, abs=0.01)


def test_the_point_estimate_below_is_not_enough():
    """What --fail-above does not exceed is not shown to stay below."""
    labels = RecordLabels(LABELS.membership[SIZE - 50 : SIZE + 50], LABELS.groups[:100])
    scores = {"loss": np.random.default_rng(1).normal(size=100)}
    (result,) = judge_pass_bounds((PassBound("auc", 0.6),), scores, labels, gate_of(SOUND), fpr=0.1)
    assert result.value < 0.6
    assert not result.is_shown


def test_a_split_that_is_not_comparable_passes_nothing():
    for finding in (DIFFERENT, BROKEN):
        result = judged(0.5, gate=gate_of(SOUND, WEAK_POWER, finding))
        assert not result.is_shown
        assert result.reason == f"the split is {finding.verdict}: {finding.why}"
    assert judged(0.5, gate=gate_of(DIFFERENT, BROKEN)).reason.startswith("the split is broken")
    (result,) = judge_pass_bounds((PassBound("auc", 0.6),), {"a": scores_of(0.5)}, LABELS, None, fpr=0.1)
    assert result.reason == "fewer than 20 independent texts per class"


def test_a_tpr_and_an_epsilon_are_read_at_the_same_upper_end():
    scores = scores_of(0.5)
    high = max(tpr_at_fpr(s, *LABELS, fpr=0.1).high for s in (scores, -scores))
    below, above = (judged(0.5, bound=PassBound("tpr_at_fpr", high + step)) for step in (1e-6, -1e-6))
    assert (below.is_shown, above.is_shown) == (True, False)
    epsilon = np.log(high / 0.1)
    below, above = (judged(0.5, bound=PassBound("epsilon", epsilon + step)) for step in (1e-6, -1e-6))
    assert (below.is_shown, above.is_shown) == (True, False)
    assert below.high == pytest.approx(epsilon)
    assert "no audit bounds from above" in pass_table((below,), 0.1).note
    assert "no audit bounds from above" not in pass_table((judged(0.5),), 0.1).note


@pytest.mark.parametrize(
    ("written", "error", "says"),
    [
        ("perplexity=3", UnknownNameError, "Choices: auc, epsilon, tpr_at_fpr"),
        ("auc=0.5", SettingError, "above 0.5, which chance reaches, and below 1"),
        ("auc=1", SettingError, "above 0.5, which chance reaches, and below 1"),
        ("auc=nan", SettingError, "auc=nan"),
        ("auc", SettingError, "--pass-below auc:"),
        ("tpr_at_fpr=0.01", SettingError, "above 0.01, which chance reaches, and below 1"),
        ("epsilon=0", SettingError, "above 0, which chance reaches, and below 4.6"),
        ("epsilon=5", SettingError, "above 0, which chance reaches, and below 4.6"),
    ],
)
def test_a_bound_outside_its_range_is_refused(written, error, says):
    with pytest.raises(error, match=says):
        parse_pass_bounds([written], fpr=0.01)


def test_bounds_are_written_in_two_ways():
    assert parse_pass_bounds({"auc": 0.55}, fpr=0.01) == parse_pass_bounds(["auc=0.55"], fpr=0.01)
    assert parse_pass_bounds("auc=0.55", fpr=0.01) == parse_pass_bounds(["auc=0.55"], fpr=0.01)
    assert [str(b) for b in parse_pass_bounds(["auc=0.55", "epsilon=1"], fpr=0.01)] == ["auc=0.55", "epsilon=1"]


def test_too_few_texts_are_refused_before_a_model_is_loaded():
    attacks = {name: choose("attacks", name) for name in ("loss", "min_k", "discoverable")}
    check_pass_bounds((PassBound("auc", 0.6),), LABELS, attacks, fpr=0.1)
    needed = required_texts(PassBound("auc", 0.52), fpr=0.1, attacks=2)
    with pytest.raises(DataError, match=f"400 independent members .* Provide {needed:,} of each"):
        check_pass_bounds((PassBound("auc", 0.52),), LABELS, attacks, fpr=0.1)
    grouped = RecordLabels(LABELS.membership, tuple(f"g{i // 20}" for i in range(2 * SIZE)))
    with pytest.raises(DataError, match="20 independent members"):
        check_pass_bounds((PassBound("auc", 0.6),), grouped, attacks, fpr=0.1)
    only_members = RecordLabels(np.ones(SIZE, dtype=bool), LABELS.groups[:SIZE])
    with pytest.raises(DataError, match="0 independent non-members"):
        check_pass_bounds((PassBound("auc", 0.6),), only_members, attacks, fpr=0.1)


def test_the_command_exits_with_0_only_if_the_bound_is_shown(base, saved, command, tmp_path):
    words = ("--attacks", "loss,min_k", "--pass-below", "auc=0.9")
    code, out, err = command("--model", base, *words)
    assert code == 0, err
    assert "AUC below 0.9" in out
    assert "shown" in out
    code, _, err = command("--model", saved / "full", *words)
    assert code == 4
    assert "byheart: bound not shown: auc=0.9: the upper 95 % end of" in err
    code, out, _ = command("--model", saved / "full", *words, "--json", "-o", tmp_path / "out")
    content = json.loads(out)
    assert code == 4
    assert [(b["bound"], b["is_shown"]) for b in content["bounds"]] == [("auc=0.9", False)]
    assert content["made"]["settings"]["pass_below"] == ["auc=0.9"]
    for name in ("report.html", "model_card.md"):
        assert "not shown: the upper 95 % end of" in (tmp_path / "out" / name).read_text()
    # A bound that is exceeded comes first.
    assert command("--model", saved / "full", *words, "--fail-above", "auc=0.6")[0] == 3


def test_the_command_refuses_too_few_texts_and_shows_nothing_on_a_broken_split(base, command, files):
    assert "are too few; a model that leaks nothing would pass" in refusal(
        command("--model", base, "--attacks", "loss", "--pass-below", "auc=0.55")
    )
    records(files / "other.jsonl", [{"text": f"{t} And {t[::-1]} too, as they say."} for t in TEXTS[:32]])
    words = ("--model", base, "--attacks", "loss", "--pass-below", "auc=0.999")
    code, _, err = command(*words, nonmembers="other.jsonl")
    assert code == 4
    assert "the split is broken" in err


def test_bounds_without_an_attack_on_membership_are_refused(command, typed, tmp_path):
    words = ("--attacks", "discoverable", "--pass-below", "auc=0.9")
    says = "bounds limit attacks on membership, and discoverable is none"
    assert says in refusal(command(*words, "--preregister", tmp_path / "plan.json"))
    assert "discoverable is none" in refusal(typed("check", *words))


def test_the_plan_says_how_many_texts_a_bound_takes(files, typed):
    words = ("--pass-below", "auc=0.55", "--pass-below", "tpr_at_fpr=0.2", "--attacks", "loss,min_k", "--fpr", "0.1")
    code, out, _ = typed("check", *words, "--json")
    assert code == 0
    (plan,) = json.loads(out)["pass_below"]
    assert [b["texts_per_class"] for b in plan["bounds"]] == [
        required_texts(bound, fpr=0.1, attacks=2) for bound in (PassBound("auc", 0.55), PassBound("tpr_at_fpr", 0.2))
    ]
    assert [b["power"] for b in plan["bounds"]] == [None, None]
    code, out, _ = typed("check", *words)
    assert f"{plan['bounds'][0]['texts_per_class']:,}" in out
    sides = ("--members", files / "members.jsonl", "--nonmembers", files / "nonmembers.jsonl")
    code, out, _ = typed("check", *words, *sides)
    assert "power with 32 and 32" in out
    content = json.loads(typed("check", *words, *sides, "--json")[1])
    assert content["datasets"][0]["members"] == 32
    assert content["pass_below"][0]["bounds"][0]["power"] == pytest.approx(auc_pass_power(32, 32, 0.55, attacks=2))
    assert "a value above 0.5, which chance reaches, and below 1." in refusal(typed("check", "--pass-below", "auc=0.5"))


@pytest.mark.usefixtures("many_calls")
def test_the_page_has_the_texts_that_bounds_take():
    page = (Path(__file__).parents[2] / "docs" / "tutorials" / "evidence.md").read_text()
    rows = re.findall(r"^\| (AUC|TPR|epsilon) below ([\d.]+)( %)? \| ([\d,]+) \| ([\d,]+) \|$", page, re.MULTILINE)
    assert len(rows) == 7
    for name, value, percent, one, five in rows:
        metric = {"AUC": "auc", "TPR": "tpr_at_fpr", "epsilon": "epsilon"}[name]
        bound = PassBound(metric, float(value) / (100 if percent else 1))
        assert [f"{required_texts(bound, fpr=0.01, attacks=n):,}" for n in (1, 5)] == [one, five]


def test_in_python_the_result_says_whether_it_passed(base, saved):
    tokenizer = AutoTokenizer.from_pretrained(base)
    audit = byheart.audit(
        opened(base, saved, "full"), tokenizer, MEMBERS, NONMEMBERS, attacks=["loss"], pass_below={"auc": 0.9}
    )
    assert not audit.is_passed
    assert "Bounds to pass" in audit.markdown()
    assert not byheart.audit(opened(base, saved, "full"), tokenizer, MEMBERS, NONMEMBERS, attacks=["loss"]).is_passed
