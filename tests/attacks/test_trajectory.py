"""Trajectory: the fitted log-odds as a loop; a path that its sum hides; the null; a study that keeps every epoch's evidence."""

import itertools
import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import byheart
from byheart.attacks.trajectory import trajectory
from byheart.auditing.attack_evidence import runnable_attacks
from byheart.auditing.server.servable_attacks import _reason_not_servable
from byheart.core.errors import DataError
from byheart.core.registry import choose
from byheart.core.types import LogProbs
from byheart.metrics.auc import auc
from byheart.store.store import Store
from byheart.study.observed_states import BASE, INITIALIZED, ModelState
from byheart.study.plan import plan
from byheart.study.study_file import parse_study as parsed

LENGTH = 5


def path(levels, chance):
    """One model's log-probabilities for each column of levels."""
    starts = np.arange(len(levels) + 1) * LENGTH
    noise = np.tile(np.linspace(-0.5, 0.5, LENGTH), len(levels))
    return tuple(LogProbs(logp=np.repeat(column, LENGTH) + noise, starts=starts) for column in levels.T)


def drawn(gains, count, chance):
    """Paths of texts whose log-likelihood changes by about these gains, in nats per token, from epoch to epoch."""
    changes = np.array(gains) + chance.normal(0, 0.1, (count, len(gains)))
    return np.cumsum(np.hstack([chance.normal(-5, 0.5, (count, 1)), changes]), axis=1)


def evidence(member_gains, nonmember_gains, *, count=200, known=30, seed=0):
    chance = np.random.default_rng(seed)
    sides = member_gains, nonmember_gains
    audited = np.vstack([drawn(g, count, chance) for g in sides])
    return [path(audited, chance), *(path(drawn(g, known, chance), chance) for g in sides)]


def measured(scores):
    return auc(scores, np.arange(len(scores)) < len(scores) // 2, tuple(map(str, range(len(scores)))))


def test_it_is_the_log_odds_of_the_changes():
    inputs = evidence([0.5, 0.2], [0.5, 0.0], count=5)

    def changes(models):
        means = [[float(np.mean(m.logp[i : i + LENGTH])) for i in m.starts[:-1]] for m in models]
        return np.array([[after - before for before, after in itertools.pairwise(t)] for t in zip(*means, strict=True)])

    audited, members, nonmembers = map(changes, inputs)
    known = np.vstack([members, nonmembers])
    mean, spread = known.mean(0), known.std(0)
    fitted = LogisticRegression(max_iter=1000).fit((known - mean) / spread, np.arange(60) < 30)
    assert np.allclose(trajectory(*inputs), fitted.decision_function((audited - mean) / spread), atol=1e-9)


def test_it_finds_a_path_that_the_final_model_hides():
    # Members gain in every epoch. Non-members gain as much in the first, by style, and lose it no more.
    inputs = evidence([0.3, 0.3], [0.6, 0.0])
    final = np.array([m.mean() for m in np.split(inputs[0][-1].logp - inputs[0][0].logp, len(inputs[0][0]))])
    hidden = measured(final)
    assert hidden.low < 0.5 < hidden.high
    assert measured(trajectory(*inputs)).low > 0.9


def test_without_a_difference_it_is_at_chance():
    null = measured(trajectory(*evidence([0.3, 0.1], [0.3, 0.1])))
    assert null.low < 0.5 < null.high


def test_at_the_base_model_every_text_scores_zero():
    assert not trajectory(*evidence([], [])).any()


def test_too_few_known_texts_and_other_epochs_raise():
    inputs = evidence([0.3, 0.1], [0.3, 0.1])
    few = evidence([0.3, 0.1], [0.3, 0.1], known=19)
    with pytest.raises(DataError, match="19 known members, but the fit needs at least 20"):
        trajectory(*few)
    with pytest.raises(
        DataError, match="3 models scored the audited texts, 2 the known members, 3 the known non-members"
    ):
        trajectory(inputs[0], inputs[1][:2], inputs[2])


STUDY = {
    "name": "path",
    "datasets": [{"records": {"count": 160}}],
    "data": {"train": 44, "members": 20, "nonmembers": 20, "validation": 4, "known": 20, "max_tokens": 32},
    "methods": ["full"],
    "training": {"epochs": 6, "batch_size": 2, "learning_rate": 0.005, "schedule": "linear", "warmup": 0.1},
    "metrics": ["auc"],
    "machine": {"precision": "float32"},
}


def trained_at(store, requested):
    (cell,) = plan(parsed({**requested, "attacks": ["ensemble"]}), store)
    return store.folder("training", cell.key).stat().st_mtime_ns


@pytest.fixture(scope="module")
def studied(tiny_folder, tmp_path_factory):
    """A study of one attack, then of the same with `trajectory`, in one store."""
    store = Store.open(tmp_path_factory.mktemp("store"))
    requested = {**STUDY, "models": str(tiny_folder("llama"))}
    first = byheart.run({**requested, "attacks": ["ensemble"]}, store=store)
    trained = trained_at(store, requested)
    second = byheart.run({**requested, "attacks": ["ensemble", "trajectory"]}, store=store)
    assert not first.failed, first.failed
    assert not second.failed, second.failed
    return requested, store, trained, second.rows


def test_a_study_reads_the_evidence_of_every_epoch_that_the_store_has(studied):
    requested, store, trained, rows = studied
    assert trained_at(store, requested) == trained  # nothing was trained again
    by_epoch = {r.epoch: r for r in rows if r.attack == "trajectory" and r.metric == "auc"}
    assert by_epoch[0].value == 0.5
    assert by_epoch[6].low > 0.5
    passes = {r.epoch: r.value for r in rows if r.attack == "trajectory" and r.metric == "passes"}
    assert passes[6] == pytest.approx(7 * passes[0])
    recipe = json.loads((store.folder("scores", by_epoch[2].scores) / "recipe.json").read_text())["recipe"]
    assert {n: len(keys) for n, keys in recipe["evidence"].items()} == {
        "target_by_epoch": 3,
        "known_members_by_epoch": 3,
        "known_nonmembers_by_epoch": 3,
    }


def test_the_path_to_a_state_has_no_other_initialization(tiny_folder, tmp_path):
    study = {**STUDY, "models": str(tiny_folder("llama")), "attacks": ["loss"], "methods": ["prompt"]}
    (cell,) = plan(parsed(study), Store.open(tmp_path))
    assert cell.states_until(BASE) == (BASE,)
    assert cell.states_until(INITIALIZED) == (BASE, INITIALIZED)
    assert cell.states_until(ModelState(2)) == (BASE, ModelState(1), ModelState(2))


def test_an_audit_of_one_model_and_a_server_refuse_it():
    attacks = {n: choose("attacks", n) for n in ("loss", "trajectory")}
    inputs = {"model", "base_model", "tokens", "known_member_tokens", "known_nonmember_tokens"}
    runnable, reasons = runnable_attacks(attacks, inputs, {"known_member_tokens": 30, "known_nonmember_tokens": 30})
    assert [*runnable] == ["loss"]
    assert "after every epoch" in reasons["trajectory"]
    assert _reason_not_servable(attacks["trajectory"], base=True)
