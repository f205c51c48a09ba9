"""Attacks whose AUC is far below 0.5 on the fine-tuned model: the verdict says that the model leaks in reverse."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.auditing.fail_bounds import Bound, crossed_bounds
from byheart.auditing.training.alarms import Evaluation, leaking_attacks, reversed_attacks
from byheart.auditing.training.callback import MemorizationWarning
from byheart.auditing.training.monitor import TrainingMonitor
from byheart.auditing.verdict import ruling
from byheart.core.registry import choose
from byheart.core.row import build_row
from byheart.core.split_check import Finding, Gate
from byheart.core.types import Estimate
from byheart.stats.leakage_tests import ALPHA, RecordLabels
from testing.audited import MEMBERS, NONMEMBERS
from testing.training import gpt2, plain, watched

WORDS = Finding("blind: words", "doubtful", "", "words differ", 0.588, 0.531, 0.643, 0.004)
LABELS = dict.fromkeys(
    ("base", "dataset", "dataset_settings", "method", "method_settings", "training_settings", "cell"), ""
) | {"seed": 0}


def labels_of(size):
    return RecordLabels(np.arange(2 * size) < size, tuple(map(str, range(2 * size))))


def rows_of(scores, labels):
    metric = choose("metrics", "auc")
    return [build_row(LABELS, 1, metric, metric(s, *labels), choose("attacks", n)) for n, s in scores.items()]


def ruled(shift, base_shift=None, *, size=200, gate=None, attacks=("loss",)):
    labels, rng = labels_of(size), np.random.default_rng(3)
    drawn = {n: rng.normal(size=2 * size) for n in attacks}
    now = {n: d + shift * labels.membership for n, d in drawn.items()}
    base = {} if base_shift is None else {n: d + base_shift * labels.membership for n, d in drawn.items()}
    return ruling(now, base, rows_of(now, labels), labels, gate)


def test_members_that_score_below_nonmembers_leak_in_reverse():
    for found in (ruled(-1.5), ruled(-1.5, 0.0), ruled(-1.5, 1.0)):
        assert (found.word, found.attack) == ("reversed", "loss")
        assert re.fullmatch(
            r"leaks in reverse: loss ranks a member below a non-member in 8\d % \(\d\d\N{EN DASH}\d\d %\) of pairs \(chance: 50 %\), "
            "so an adversary who reverses the score identifies members",
            found.sentence,
        )


def test_an_auc_below_chance_must_be_below_the_base_models():
    found = ruled(-1.0, -1.0)
    assert found.word == "differs"
    assert "separates members from non-members in reverse order (AUC 0.2" in found.sentence
    assert "not significantly better than on the base model" in found.sentence


def test_an_auc_below_chance_must_exceed_the_blind_classifiers_in_reverse():
    gate = Gate(200, 200, (WORDS,))
    found = ruled(-0.35, gate=gate)
    assert found.word == "differs"
    assert "in reverse order" in found.sentence
    assert "words alone" in found.sentence
    assert ruled(-1.5, gate=gate).word == "reversed"
    broken = Gate(200, 200, (Finding("copies", "broken", "", "copies", 1.0),))
    assert ruled(-1.5, gate=broken).word == "broken"


def test_a_leak_counts_before_a_leak_in_reverse():
    labels, rng = labels_of(100), np.random.default_rng(0)
    scores = {
        "loss": rng.normal(size=200) - 3 * labels.membership,
        "min_k": rng.normal(size=200) + labels.membership,
    }
    assert ruling(scores, {}, rows_of(scores, labels), labels, None)[::2] == ("leaks", "min_k")


@pytest.mark.usefixtures("many_calls")
def test_ten_attacks_at_chance_are_seldom_called_a_leak_in_either_direction():
    """Each direction has an error of 2.5 %: 10 of 200 is exceeded once in 80."""
    labels, rng = labels_of(40), np.random.default_rng(0)
    names = (
        "loss",
        "min_k",
        "min_k_plus_plus",
        "zlib_ratio",
        "reference",
        "lowercase",
        "surp",
        "camia",
        "recall",
        "wbc",
    )
    words = []
    for _ in range(200):
        scores = {n: rng.normal(size=80) for n in names}
        words.append(ruling(scores, {}, rows_of(scores, labels), labels, None).word)
    assert words.count("leaks") <= 10
    assert words.count("reversed") <= 10


def test_a_reversed_score_that_exceeds_a_bound_exceeds_it():
    class Found:
        ruling = ruled(-1.5)
        rows = tuple(rows_of({"loss": np.random.default_rng(3).normal(size=400) - 1.5 * labels_of(200).membership}, labels_of(200)))  # fmt: skip

    exceeded, undecided = crossed_bounds(Found(), [Bound("auc", 0.6)])
    assert len(exceeded) == 1
    assert "reversed score, 1 - AUC, is above 0.6" in exceeded[0]
    assert undecided == []
    assert crossed_bounds(Found(), [Bound("auc", 0.95)]) == ([], [])
    Found.ruling = ruled(0.0)
    assert crossed_bounds(Found(), [Bound("auc", 0.6)]) == ([], [])


def test_a_weak_leak_of_another_attack_does_not_hide_a_reversed_score_above_a_bound():
    labels, rng = labels_of(100), np.random.default_rng(0)
    scores = {
        "loss": rng.normal(size=200) - 3 * labels.membership,
        "min_k": rng.normal(size=200) + labels.membership,
    }
    rows = tuple(rows_of(scores, labels))
    found = SimpleNamespace(ruling=ruling(scores, {}, rows, labels, None), rows=rows)
    assert found.ruling.word == "leaks"
    (exceeded,), undecided = crossed_bounds(found, [Bound("auc", 0.9)])
    assert exceeded.startswith("auc of loss is 0.0")
    assert exceeded.endswith("that of its reversed score, 1 - AUC, is above 0.9")
    assert undecided == []


@pytest.mark.parametrize(
    ("value", "low", "high", "maximum", "outcome"),
    [
        (0.35, 0.25, 0.45, 0.3, (1, 0)),  # the score itself is undecided, the reversed score is above
        (0.3, 0.1, 0.5, 0.6, (0, 1)),
        (0.3, 0.1, 0.5, 0.8, (0, 0)),
        (0.05, 0.01, 0.1, 0.3, (1, 0)),
        (0.7, 0.65, 0.75, 0.6, (1, 0)),
        (0.55, 0.4, 0.7, 0.5, (0, 1)),
    ],
)
def test_of_a_leak_in_reverse_both_directions_are_compared_with_a_bound(value, low, high, maximum, outcome):
    row = build_row(
        LABELS, 1, choose("metrics", "auc"), Estimate(value, low, high, 100, 100), choose("attacks", "loss")
    )

    class Found:
        ruling = ruled(-1.5)
        rows = (row,)

    exceeded, undecided = crossed_bounds(Found(), [Bound("auc", maximum)])
    assert (len(exceeded), len(undecided)) == outcome


def test_the_tpr_of_reversed_scores_is_compared_with_a_bound():
    labels = labels_of(200)
    scores = np.random.default_rng(3).normal(size=400) - 3 * labels.membership
    tpr = choose("metrics", "tpr_at_fpr", {"fpr": 0.05})

    found = SimpleNamespace(
        ruling=ruled(-1.5),
        rows=(build_row(LABELS, 1, tpr, tpr(scores, *labels), choose("attacks", "loss")),),
        scores={1: {"loss": scores}},
        record_labels=labels,
        provenance={"settings": {"fpr": 0.05}},
    )
    (exceeded,), undecided = crossed_bounds(found, [Bound("tpr_at_fpr", 0.5)])
    assert "tpr_at_fpr of loss is 0" in exceeded
    assert exceeded.endswith("and that of its reversed score is above 0.5")
    assert undecided == []
    assert tpr(-scores, *labels).low > 0.5


@pytest.fixture(scope="module")
def unlearned(tiny_folder):
    """A model that gradient ascent made forget the members, and its base model."""
    base = AutoModelForCausalLM.from_pretrained(tiny_folder("llama")).eval()
    model = AutoModelForCausalLM.from_pretrained(tiny_folder("llama")).train()
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("llama"))
    tokenizer.pad_token = tokenizer.eos_token
    batches = [tokenizer(texts, return_tensors="pt", padding=True) for texts in (MEMBERS, NONMEMBERS)]
    labels = [b.input_ids.masked_fill(b.attention_mask == 0, -100) for b in batches]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(15):
        forget, keep = (model(**b, labels=y).loss for b, y in zip(batches, labels, strict=True))
        (keep - 0.5 * forget).backward()
        optimizer.step()
        optimizer.zero_grad()
    return byheart.audit(model.eval(), tokenizer, MEMBERS, NONMEMBERS, base=base, attacks=["loss", "reference"])


def test_an_unlearned_model_leaks_in_reverse_in_every_output(unlearned, tmp_path):
    assert unlearned.ruling.word == "reversed"
    for shown in (repr(unlearned), unlearned.markdown(), unlearned.text(), unlearned.html()):
        assert "leaks in reverse" in shown
        assert "no leakage" not in shown
    page = (unlearned.save(tmp_path / "audit") / "report.html").read_text()
    assert "Leaks in reverse: " in page
    assert '<span class="badge reversed">leaks in reverse</span>' in page
    assert "non-members above" in unlearned.text()
    scores = unlearned.scores[1][unlearned.ranking_attack][: len(MEMBERS)]
    most = unlearned.exposed_members(3)
    assert [e.score for e in most] == sorted(map(float, scores))[:3]
    assert most[0].above == pytest.approx(
        np.mean(unlearned.scores[1][unlearned.ranking_attack][len(MEMBERS) :] > most[0].score)
    )


def evaluations_of(rng, size, drop, *, attacks=3, count=4):
    labels = labels_of(size)
    shared = rng.normal(size=2 * size)
    return [
        Evaluation(
            k,
            float(k),
            {
                str(a): 0.6 * shared + 0.8 * rng.normal(size=2 * size) - drop * k * labels.membership
                for a in range(attacks)
            },
            (),
        )
        for k in range(count + 1)
    ], labels


def test_the_callback_alarms_for_aucs_that_fall_below_chance():
    evaluations, labels = evaluations_of(np.random.default_rng(1), 80, 0.7)
    assert reversed_attacks(evaluations, labels, 4) == ("0", "1", "2")
    assert leaking_attacks(evaluations, labels, 4) == ()
    skewed = [
        e._replace(scores={n: s - 2 * labels.membership for n, s in e.scores.items()}) for e in evaluations[:1] * 2
    ]
    assert reversed_attacks(skewed, labels, 1) == ()  # as on the base model
    assert reversed_attacks(evaluations, labels, 4, Gate(80, 80, (Finding("x", "broken", "", "", 1.0),))) == ()


def test_no_direction_alarms_too_often_in_a_training():
    """A run has an error of 5 % over both directions: 15 of 150 is exceeded once in 500."""
    rng, alarms, reverse = np.random.default_rng(4), 0, 0
    for _ in range(150):
        evaluations, labels = evaluations_of(rng, 40, 0.0)
        runs = [evaluations[: k + 1] for k in range(1, 5)]
        reverse += any(reversed_attacks(e, labels, 4) for e in runs)
        alarms += any(leaking_attacks(e, labels, 4) for e in runs)
    assert alarms + reverse <= 15
    assert ALPHA == 0.05


def test_a_training_that_forgets_warns_in_reverse(training_folders, tmp_path, monkeypatch):
    """Gradient ascent on the members, as unlearning does."""
    del training_folders
    monkeypatch.setattr(TrainingMonitor, "gate", None)  # these texts differ in their words
    watch = watched(attacks=["loss"])
    trainer = plain(tmp_path, gpt2(), [watch], learning_rate=1e-3, num_train_epochs=3)
    loss = trainer.compute_loss
    trainer.compute_loss = lambda *args, **kwargs: -loss(*args, **kwargs)
    with pytest.warns(MemorizationWarning, match="in reverse after step .* loss has AUC 0.[01]"):
        trainer.train()
    assert watch.leaking_in_reverse == ["loss"]
    assert watch.leaking == []
