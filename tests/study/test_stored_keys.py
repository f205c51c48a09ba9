"""Keys of stored results stay unchanged: these keys were computed before modules and observations were renamed."""

import json

import pytest

from byheart.core.dependencies import observation_name
from byheart.core.former_names import FORMER_NAMES
from byheart.core.registry import choose, load_function
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.plan import plan_cells
from byheart.study.shadow_models import shadow_cells
from byheart.study.study_file import parse_study

KEYS = {
    "cell": "82cda82d179d546d",
    "shadow": "f4e0d96d8f6f481b",
    "target": "72f847736483167b",
    "nonmember_prefix": "2dff969a40ef2a62",
    "member_prefix": "3a53d181ab33fe58",
    "prefix_suffix_split": "fdbfc7eb011c3766",
    "greedy_continuation": "b107cf7f558de91f",
    "sampling_logprobs": "e89a58f3f960c35c",
    "neighbour_texts": "53cf29c608c84369",
    "neighbours": "502e0ba0fb5cf63b",
    "shadows": "af07b5f50ac78eb5",
    "validation": "21ba5f442021c92e",
}
FORMER = [{"suffixes": {"suffix": 12}}, {"substitutes": {"count": 3}}, {"after_members": {"shots": 2}}]
TODAY = [{"prefix_suffix_split": {"suffix": 12}}, {"neighbour_texts": {"count": 3}}, {"member_prefix": {"shots": 2}}]


@pytest.fixture
def keys_of(tmp_path, monkeypatch):
    """Return a function from settings of observations to the keys of a study with them."""
    monkeypatch.setattr("byheart.study.planned_cell.identity", lambda _: "base")
    lines = [
        {"text": f"Record {i} was written by person {i * i} in town {i % 13}.", "group": f"g{i % 60}"}
        for i in range(240)
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def keys(observations):
        study = {
            "models": "tiny",
            "datasets": [{"files": {"path": str(path)}}],
            "data": {"train": 80, "members": 40, "nonmembers": 40, "validation": 20, "known": 20, "canaries": {}},
            "methods": ["lora"],
            "attacks": ["loss", "con_recall", "discoverable", "probabilistic", "neighbourhood", "lira"],
            "metrics": ["auc", "perplexity"],
            "training": {"epochs": 1},
            "observations": [*observations, {"shadows": {"models": 4}}],
        }
        (planned,) = plan_cells(parse_study(study), Store.open(tmp_path / "store"))
        evidence = {observation_name(o): evidence_key(planned, o, 1) for o in planned.observations}
        return {"cell": planned.key, "shadow": shadow_cells(planned)[0].key, **evidence}

    return keys


def test_keys_are_those_of_older_stores(keys_of):
    assert keys_of(TODAY) == KEYS


def test_former_names_are_read_with_a_warning_and_give_the_same_keys(keys_of):
    with pytest.warns(FutureWarning, match="neighbour_texts"):
        assert keys_of(FORMER) == KEYS


def test_former_names_are_entries_of_the_shelves_by_their_new_names():
    for shelf, names in FORMER_NAMES.items():
        for former, today in names.items():
            assert load_function(shelf, today).__name__ == today
            with pytest.warns(FutureWarning, match=today):
                assert choose(shelf, former).name == today
