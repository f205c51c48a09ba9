"""Keys of stored results stay unchanged: these keys were computed before modules and observations were renamed."""

import json

import pytest

from byheart.core.dependencies import observation_name
from byheart.core.former_names import FORMER_NAMES
from byheart.core.registry import choose, load_function
from byheart.data.splitting import GROUPED_REVISION
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.plan import plan_cells
from byheart.study.shadow_models import shadow_cells
from byheart.study.study_file import parse_study

KEYS = {
    "cell": "835d273d8be861d9",
    "shadow": "b9016fa5bbed1341",
    "target": "f04e5234a221fe4a",
    "nonmember_prefix": "d50b239cbe7b00dc",
    "member_prefix": "afe12be4112a7059",
    "prefix_suffix_split": "cf1b2b95a8a6ccad",
    "greedy_continuation": "c4c92fb2946dfa67",
    "sampling_logprobs": "c0264f6c8fbcd110",
    "neighbour_texts": "86a926711b49ae1e",
    "neighbours": "2c03121533d4d085",
    "shadows": "72fdeaa558072742",
    "validation": "d3ccb5f4138ac417",
}
FORMER = [{"suffixes": {"suffix": 12}}, {"substitutes": {"count": 3}}, {"after_members": {"shots": 2}}]
TODAY = [{"prefix_suffix_split": {"suffix": 12}}, {"neighbour_texts": {"count": 3}}, {"member_prefix": {"shots": 2}}]


@pytest.fixture
def keys_of(tmp_path, monkeypatch):
    """Return a function from settings of observations to the keys of a study with them."""
    monkeypatch.setattr("byheart.study.planned_cell.identity", lambda _: "base")

    def keys(observations, groups=240, *, precision="float32", shadows=(), planned=False):
        lines = [
            {"text": f"Record {i} was written by person {i * i} in town {i % 13}.", "group": f"g{i % groups}"}
            for i in range(240)
        ]
        path = tmp_path / "t.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        study = {
            "models": "tiny",
            "datasets": [{"files": {"path": str(path)}}],
            "data": {"train": 80, "members": 40, "nonmembers": 40, "validation": 20, "known": 20, "canaries": {}},
            "methods": ["lora"],
            "attacks": ["loss", "con_recall", "discoverable", "probabilistic", "neighbourhood", "lira"],
            "metrics": ["auc", "perplexity"],
            "training": {"epochs": 1},
            "observations": [*observations, {"shadows": {"models": 4, **dict(shadows)}}],
            "scoring": {"precision": precision},
        }
        (cell,) = plan_cells(parse_study(study), Store.open(tmp_path / "store"))
        if planned:
            return cell
        evidence = {observation_name(o): evidence_key(cell, o, ModelState(1)) for o in cell.observations}
        return {"cell": cell.key, "shadow": shadow_cells(cell)[0].key, **evidence}

    return keys


def test_keys_are_those_of_older_stores(keys_of):
    assert keys_of(TODAY) == KEYS


def test_only_evidence_in_bfloat16_is_computed_again(keys_of, monkeypatch):
    today = keys_of(TODAY, precision="bfloat16")
    monkeypatch.setattr("byheart.lm.BFLOAT16_REVISION", 0)
    former = keys_of(TODAY, precision="bfloat16")
    assert {name for name in KEYS if today[name] == former[name]} == {"cell", "shadow"}
    assert keys_of(TODAY) == KEYS


def test_only_rows_with_another_adversary_than_by_default_have_another_key(keys_of):
    from byheart.study.run_cell import _adversary_recipe

    assert _adversary_recipe(keys_of(TODAY, planned=True)) == {}
    without_rest = keys_of(TODAY, shadows={"rest": False}, planned=True)
    assert _adversary_recipe(without_rest) == {"adversaries": {"lira": "log-probabilities + shadow models"}}


@pytest.mark.parametrize(("groups", "splits"), [(240, 1), (60, 2)])
def test_only_data_with_groups_of_several_texts_are_split_again(keys_of, tmp_path, monkeypatch, groups, splits):
    for revision in (0, GROUPED_REVISION):
        monkeypatch.setattr("byheart.study.stored_split.GROUPED_REVISION", revision)
        keys_of(TODAY, groups)
    assert len(list((tmp_path / "store" / "splits").iterdir())) == splits


def test_former_names_are_read_with_a_warning_and_give_the_same_keys(keys_of):
    with pytest.warns(FutureWarning, match="neighbour_texts"):
        assert keys_of(FORMER) == KEYS


def test_former_names_are_entries_of_the_shelves_by_their_new_names():
    for shelf, names in FORMER_NAMES.items():
        for former, today in names.items():
            assert load_function(shelf, today).__name__ == today
            with pytest.warns(FutureWarning, match=today):
                assert choose(shelf, former).name == today
