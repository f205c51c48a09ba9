"""A study with the objective dpo on a tiny model: the attack on pairs finds the trained ones; and what is refused."""

import json

import numpy as np
import pytest

import byheart
from byheart.core.errors import ByheartError
from byheart.core.registry import choose
from byheart.store.result_files import read_arrays
from byheart.store.store import Store
from byheart.study.plan import plan_cells
from byheart.study.shadow_models import shadow_cells
from byheart.study.study_file import parse_study
from testing.made_up import tiny_study
from testing.preferences import pair_file, pairs


def study(tiny_folder, path, **changes):
    plain = {
        "datasets": [{"preferences": {"path": str(path)}}],
        "data": {
            "train": 24,
            "members": 24,
            "nonmembers": 24,
            "validation": 4,
            "max_tokens": 60,
            "near_duplicate": 1.0,
        },
        "methods": [{"full": {"learning_rate": 0.002}}],
        "training": {"epochs": 4, "batch_size": 4, "warmup": 0, "objective": "dpo", "beta": 0.5},
        "attacks": ["reward_margin", "loss"],
        "metrics": ["auc"],
        "machine": {"device": "cpu", "precision": "float32"},
    }
    return tiny_study(tiny_folder("llama"), **{**plain, **changes})


@pytest.fixture(scope="module")
def finished(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dpo")
    store = Store.open(folder / "store")
    content = study(tiny_folder, pair_file(folder / "pairs.jsonl", pairs(60)))
    result = byheart.run(content, store=store)
    assert not result.failed
    return content, store, result.rows


def test_the_attack_on_pairs_finds_the_pairs_of_the_training(finished):
    found = {(r.attack, r.epoch): r for r in finished[2] if r.metric == "auc"}
    last, chosen_only, base = (found[key] for key in (("reward_margin", 4), ("loss", 4), ("reward_margin", 0)))
    assert last.low > 0.7
    assert last.value > chosen_only.value
    assert base.value == 0.5
    assert last.adversary == "log-probabilities + base model"


def test_the_scores_are_the_margins_of_the_stored_evidence(finished):
    content, store, rows = finished
    (planned,) = plan_cells(parse_study(content), store)
    last = next(r for r in rows if (r.attack, r.epoch, r.metric) == ("reward_margin", 4, "auc"))
    stored = read_arrays(store.folder("scores", last.scores))
    from byheart.study.observed_states import ModelState
    from byheart.study.stored_evidence import read_evidence

    sums = {}
    for name, epoch in (("target", 4), ("base", 4), ("rejected", 4), ("rejected_base", 4)):
        evidence = read_evidence(planned, store, planned.observation(name), ModelState(epoch))
        sums[name] = [evidence.logp[i:j].sum() for i, j in zip(evidence.starts, evidence.starts[1:], strict=False)]
    expected = np.array(sums["target"]) - sums["base"] - (np.array(sums["rejected"]) - sums["rejected_base"])
    np.testing.assert_allclose(stored["scores"], expected, atol=1e-3)


def test_the_objective_is_in_the_key_and_in_the_rows(finished, tmp_path):
    content, store, rows = finished
    others = [{"epochs": 4}, {"epochs": 4, "objective": "dpo"}]
    keys = {plan_cells(parse_study({**content, "training": t}), store)[0].key for t in (content["training"], *others)}
    assert len(keys) == 3
    assert {r.training_settings for r in rows} == {"epochs=4, batch_size=4, warmup=0.0, objective=dpo, beta=0.5"}
    (planned,) = plan_cells(parse_study(content), store)
    facts = json.loads((store.folder("training", planned.key) / "facts.json").read_text())
    assert facts["losses"][-1] < facts["losses"][0] / 2


def test_a_shadow_model_trains_on_the_rejected_responses_of_its_own_pairs(finished):
    content, store, _ = finished
    shadows = {"attacks": ["lira"], "observations": [{"shadows": {"models": 4}}]}
    (planned,) = plan_cells(parse_study({**content, **shadows}), store)
    for shadow in shadow_cells(planned):
        assert shadow.texts["train_rejected"] == shadow.texts["train"].rejected_texts
        assert len(shadow.texts["train_rejected"]) == len(shadow.texts["train"])
        assert shadow.texts["train"].ids != planned.texts["train"].ids


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"datasets": ["records"]},
            "training.objective = 'dpo': requires preference pairs, and the data set has texts",
        ),
        (
            {"datasets": ["records"], "training": {"epochs": 1}},
            "attacks reward_margin: requires preference pairs, and the data set has texts. Write datasets: [preferences:",
        ),
        ({"training": {"objective": "dpo", "goldfish": 4}}, "training.goldfish: it omits tokens"),
        ({"training": {"beta": 0.2}}, "training.beta: only the objective dpo uses it"),
        (
            {"training": {"objective": "dpo", "learning_rate": "search"}, "methods": ["lora"]},
            "learning_rate: a search minimizes",
        ),
        (
            {"methods": [{"dp_lora": {"noise_multiplier": 1.0}}]},
            "methods dp_lora: private training supports text loss only",
        ),
        (
            {"data": {"train": 24, "members": 10, "nonmembers": 10, "validation": 4, "canaries": {}}},
            "canaries are texts, not preference pairs",
        ),
        ({"training": {"objective": "ppo"}}, "training.objective = 'ppo'"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(tiny_folder, tmp_path, changes, says):
    content = study(tiny_folder, pair_file(tmp_path / "pairs.jsonl", pairs(60)), **changes)
    with pytest.raises(ByheartError) as error:
        plan_cells(parse_study(content), Store.open(tmp_path / "store"))
    assert says in str(error.value)


def test_the_attack_requires_evidence_of_both_responses():
    assert choose("attacks", "reward_margin").needs == ("target", "base", "rejected", "rejected_base")
