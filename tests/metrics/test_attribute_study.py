"""Private attributes in studies: their rows, tables and keys."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import byheart
from byheart.analysis import row_values
from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.core.split import Examples
from byheart.core.types import Texts
from byheart.data.splitting import split
from byheart.datasets.files import files
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.plan import plan
from byheart.study.study_file import parse_study as parsed
from byheart.tables.attribute_trajectory import attribute_trajectory
from byheart.tables.attributes import attributes
from testing.stores import attribute_study


@pytest.fixture
def lines(attribute_store):
    """The study's file of texts."""
    return Path(attribute_store.content["datasets"][0]["files"]["path"])


@pytest.fixture(scope="module")
def done(attribute_store, tmp_path_factory):
    store = attribute_store.copied(tmp_path_factory.mktemp("attributes") / "store")
    return store, byheart.run(attribute_store.content, store=store)


def of(results, metric, epoch):
    return {r.metric_settings: r for r in results.rows if r.metric == metric and r.epoch == epoch}


def test_an_overfitted_model_reveals_only_its_members_codes(done):
    _, results = done
    assert not results.failed
    found = of(results, "attribute_inference", 16)
    for pool in ("unseen", "trained"):
        assert found[f"kind=code, pool={pool}, measure=top1, of=members"].value > 0.9
        assert found[f"kind=code, pool={pool}, measure=top1, of=nonmembers"].value < 0.6
        for over in ("nonmembers", "untuned", "majority"):
            assert found[f"kind=code, pool={pool}, measure=advantage, over={over}"].low > 0
    assert found["kind=code, pool=unseen, measure=majority, of=members"].value == pytest.approx(1 / 4)
    assert 1 / 4 <= found["kind=code, pool=trained, measure=majority, of=members"].value < 1 / 2
    # All cities occur in training: no candidate is unseen, and a non-member has trained candidates too.
    assert "kind=city, pool=unseen, measure=top1, of=members" not in found
    assert found["kind=city, pool=trained, measure=top1, of=nonmembers"].nonmembers == 12
    untuned = of(results, "attribute_inference", 0)
    assert untuned["kind=code, pool=unseen, measure=advantage, over=nonmembers"].low < 0
    recited = of(results, "attribute_extraction", 16)
    assert recited["kind=code, measure=recited, of=members"].value > 0.3
    assert recited["kind=code, measure=recited, of=nonmembers"].value == 0
    assert recited["kind=code, measure=advantage, over=untuned"].low > 0


@pytest.mark.parametrize("by", ["group", "published"])
def test_every_text_has_its_own_attributes(by):
    texts = Texts(tuple(f"t{i}" for i in range(60)), tuple(f"Number {i} of all, {i * 7} in words." for i in range(60)))
    roles = [("train", "nonmember", "validation")[i % 3] for i in range(60)]
    named = tuple({"number": f"Number {i} "} for i in range(60))
    examples = Examples(texts, tuple(roles), texts.ids, named)
    assigned = split(examples, train=12, members=9, nonmembers=8, validation=7, seed=3, by=by)
    stored = [
        *zip(assigned.audited.scored, assigned.attributes, strict=True),
        *zip(assigned.validation.scored, assigned.validation_attributes, strict=True),
    ]
    assert len(stored) == 24
    assert all(own["number"] in text for text, own in stored)


def test_a_stored_split_contains_the_attributes(done, tiny_folder, lines):
    store, results = done
    assert all(r.value == 0 for r in results.rows if "left_out" in r.metric_settings)
    assigned = plan(parsed(attribute_study(tiny_folder("llama"), lines)), store)[0].split
    texts = (*assigned.audited.scored, *assigned.validation.scored)
    named = (*assigned.attributes, *assigned.validation_attributes)
    assert all(own["code"] in text and own["city"] in text for text, own in zip(texts, named, strict=True))


def test_results_and_costs_are_rows(done):
    _, results = done
    cost = {(r.metric, r.metric_settings): r.value for r in results.rows if r.epoch == 1 and not r.attack}
    assert cost["passes", "observation=candidate_likelihoods"] == 2 * (1 + 3 * 3)
    assert cost["passes", "observation=recited_attributes"] == 2
    assert cost["passes", "observation=candidates"] == 0
    assert cost["seconds", "observation=candidate_likelihoods"] > 0


def test_the_tables_show_every_kind_with_its_controls(done):
    _, results = done
    shown = attributes(results.rows)
    by_kind = {row[2:4]: dict(zip(shown.header, row, strict=True)) for row in shown.rows}
    unseen, trained = "inferred among unseen values", "inferred among trained values"
    measured = {(k, a) for k in ("city", "code", "all") for a in (unseen, trained, "extracted")}
    assert set(by_kind) == measured - {("city", unseen)}
    found = of(results, "attribute_inference", 16)["kind=code, pool=unseen, measure=top1, of=members"]
    code = by_kind["code", unseen]
    assert code["members"].startswith(f"{found.value:.3f}")
    assert code["majority"] == "0.250"
    assert by_kind["code", "extracted"]["majority"] == row_values.MISSING
    path = attribute_trajectory(results.rows)
    assert path.header[5:7] == ("base model", "epoch 1")
    assert len(path.rows) == 2 * len(shown.rows)
    with pytest.raises(DataError, match="private attributes"):
        attributes([r for r in results.rows if r.attack])


def test_a_mark_requires_both_differences_to_be_significant_over_all_lines(done):
    _, results = done

    def marked(lows):
        """Whether the line of the code is marked if its differences have these lower ends, and the value .5."""
        rows = []
        for r in results.rows:
            over = next(
                (o for o in lows if f"kind=code, pool=trained, measure=advantage, over={o}" == r.metric_settings), None
            )
            rows.append(replace(r, value=0.5, low=lows[over], high=0.9) if over else r)
        line = ("code", "inferred among trained values")
        return "*" in next(row[4] for row in attributes(rows).rows if row[2:4] == line)

    assert marked({"nonmembers": 0.3, "untuned": 0.3})
    assert not marked(
        {"nonmembers": 0.3, "untuned": 0.05}
    )  # above 0 by itself, not with six lines of two leads at once
    assert not marked({"nonmembers": -0.1, "untuned": 0.3})


def test_a_second_run_computes_nothing(done, tiny_folder, lines, monkeypatch):
    store, results = done
    monkeypatch.setattr("byheart.lm.load.load", None)
    assert byheart.run(attribute_study(tiny_folder("llama"), lines), store=store).rows == results.rows


def test_attributes_change_only_the_keys_of_results_that_use_them(tiny_folder, lines, tmp_path):
    named = attribute_study(tiny_folder("llama"), lines)
    fewer = attribute_study(
        tiny_folder("llama"), lines, datasets=[{"files": {"path": str(lines), "attributes": ["code"]}}]
    )
    ours, theirs = (plan(parsed(c), Store.open(tmp_path / "store"))[0] for c in (named, fewer))
    assert ours.key == theirs.key
    for name in ("target", "candidates", "recited_attributes"):
        same = evidence_key(ours, ours.observation(name), ModelState(1)) == evidence_key(
            theirs, theirs.observation(name), ModelState(1)
        )
        assert same == (name == "target")


def test_attributes_are_conditioned_on_prompts_and_virtual_tokens(tiny_folder, lines, tmp_path):
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    path = tmp_path / "pairs.jsonl"
    pairs = [
        {**r, "prompt": r["text"].split(" has")[0], "completion": " has" + r["text"].split(" has")[1]} for r in rows
    ]
    path.write_text("".join(json.dumps({k: v for k, v in p.items() if k != "text"}) + "\n" for p in pairs))
    asked_of = attribute_study(
        tiny_folder("gemma"),
        path,
        datasets=[{"files": {"path": str(path), "attributes": ["code"]}}],
        methods=[{"prompt": {"virtual_tokens": 4}}, "prefix"],
        training={"epochs": 1, "batch_size": 4},
    )
    results = byheart.run(asked_of, store=Store.open(tmp_path / "store"))
    assert not results.failed
    assert {r.method for r in results.rows if r.metric == "attribute_extraction" and r.epoch == 1} == {
        "prompt",
        "prefix",
    }
    assert not any("kind=all" in r.metric_settings for r in results.rows)


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"datasets": ["files"]}, "metrics attribute_inference.* private attributes"),
        ({"observations": [{"candidates": {"count": 1}}]}, "candidates: count = 1"),
    ],
)
def test_invalid_requests_raise_an_error_before_training(tiny_folder, lines, tmp_path, monkeypatch, changes, reported):
    monkeypatch.setattr("byheart.lm.load.load", None)
    if changes.get("datasets"):
        changes = {"datasets": [{"files": {"path": str(lines)}}]}
    with pytest.raises((DataError, SettingError), match=reported):
        byheart.run(attribute_study(tiny_folder("llama"), lines, **changes), store=Store.open(tmp_path / "store"))


def test_values_without_a_named_field_are_found(tmp_path, monkeypatch):
    path = tmp_path / "letters.jsonl"
    texts = [
        "Write to ann@web.example or bo@web.example, or call 212-555-0143.",
        "Nothing here.",
        "It was 10.0.0.1 again.",
    ]
    path.write_text(
        "".join(json.dumps({"text": t, "email": "bo@web.example"} if "bo@" in t else {"text": t}) + "\n" for t in texts)
    )
    found = files(path=str(path), pii=("email", "phone"))
    assert found.attributes == ({"email": "ann@web.example", "phone": "212-555-0143"}, {}, {})
    named = files(path=str(path), pii=("email",), attributes=("email",))
    assert named.attributes[0] == {"email": "bo@web.example"}, "what the file names goes first"
    assert files(path=str(path), pii=("ip_address",)).attributes == ({}, {}, {"ip_address": "10.0.0.1"})
    with pytest.raises(SettingError, match="pii"):
        registry.choose("datasets", "files", {"path": str(path), "pii": ["names"]})
    monkeypatch.setitem(sys.modules, "datafog", None)
    with pytest.raises(DataError, match=r"pip install 'byheart\[pii\]'"):
        files(path=str(path), pii=("email",))


def test_candidates_without_a_false_value_raise_an_error_before_training(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("byheart.lm.load.load", None)
    path = tmp_path / "one.jsonl"
    path.write_text("".join(json.dumps({"text": f"Number {n} is in Oslo.", "city": "Oslo"}) + "\n" for n in range(60)))
    data = [{"files": {"path": str(path), "attributes": ["city"]}}]
    with pytest.raises(DataError, match=r"city.*'Oslo'.*validation"):
        byheart.run(attribute_study(tiny_folder("llama"), path, datasets=data), store=Store.open(tmp_path / "store"))
    # Extraction needs no candidates.
    recited = attribute_study(
        tiny_folder("llama"), path, datasets=data, metrics=["attribute_extraction"], observations=[]
    )
    assert plan(parsed(recited), Store.open(tmp_path / "store"))
