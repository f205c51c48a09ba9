"""Inputs of an audit: texts from files, folders and the Hub, known texts, no non-members, gradients."""

import json

import datasets
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.attacks.loss import loss
from byheart.attacks.recall import recall
from byheart.auditing.verdict import members_only_ruling
from byheart.core.errors import DataError
from byheart.core.types import LogProbs
from byheart.data.sources import read_source
from testing.made_up import SENTENCES

TEXTS = [f"{how} {s}" for how in ("Yes:", "No:", "Then,", "Soon,", "At last,") for s in dict.fromkeys(SENTENCES)]
MEMBERS, NONMEMBERS, VALIDATION = TEXTS[::3], TEXTS[1::3], TEXTS[2::3]
KNOWN = [f"Once more {s}" for s in SENTENCES]
KNOWN_MEMBERS, KNOWN_NONMEMBERS = KNOWN[:12], KNOWN[12:]


@pytest.fixture(scope="module")
def base(tiny_folder):
    return str(tiny_folder("llama"))


@pytest.fixture(scope="module")
def lora(base, tmp_path_factory):
    torch.manual_seed(0)
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False),
    )
    tuned.save_pretrained(folder := tmp_path_factory.mktemp("lora"))
    return folder


@pytest.fixture
def opened(base, lora):
    return lambda: PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), lora)


@pytest.fixture(scope="module")
def tokenizer(base):
    return AutoTokenizer.from_pretrained(base)


@pytest.fixture
def command(typed_audit, lora):
    """A function that audits the adapter with typed arguments and returns exit code, output and errors."""
    return lambda *words, model=lora: typed_audit("--model", model, "--device", "cpu", *words)


def written(place, texts):
    place.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    return str(place)


def refusal(reported):
    code, _, complaints = reported
    (line,) = [line for line in complaints.splitlines() if line.startswith("byheart:")]
    assert code == 2
    assert "Traceback" not in complaints
    return line


def texts_of(name):
    return [row.fields["text"] for row in read_source(str(name))]


def test_texts_are_read_from_every_kind_of_folder(tmp_path):
    """Saved by `datasets`, alone and as splits; shards of one kind."""
    complete = datasets.Dataset.from_dict({"text": MEMBERS, "id": [f"r{i}" for i in range(len(MEMBERS))]})
    complete.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": complete, "test": complete.select([3])}).save_to_disk(tmp_path / "splits")
    (tmp_path / "shards").mkdir()
    for i in range(3):
        complete.shard(3, i, contiguous=True).to_parquet(tmp_path / "shards" / f"train-0000{i}-of-00003.parquet")
    assert texts_of(tmp_path / "saved") == texts_of(tmp_path / "splits" / "train") == MEMBERS
    assert texts_of(tmp_path / "shards") == MEMBERS
    assert texts_of(tmp_path / "splits" / "test") == [MEMBERS[3]]
    with pytest.raises(DataError, match=r"splits/train"):
        read_source(str(tmp_path / "splits"))
    (tmp_path / "shards" / "more.csv").write_text("text\nx\n")
    with pytest.raises(DataError, match=r"\*.csv and \*.parquet"):
        read_source(str(tmp_path / "shards"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        read_source(str(tmp_path / "empty"))
    (tmp_path / "saved" / "state.json").write_text("{")
    with pytest.raises(DataError, match="saved"):
        read_source(str(tmp_path / "saved"))


def test_a_hub_split_is_requested_as_written(monkeypatch):
    """No test may reach for the Hub: a stand-in takes its place."""
    requested = []

    def load(*words, **named):
        requested.append((*words, named["split"], named["revision"]))
        return datasets.Dataset.from_dict({"text": ["a", "b"] if named["split"] != "none" else []})

    monkeypatch.setattr(datasets, "load_dataset", load)
    names = ("hub:owner/name:train", "hub:owner/name@v1.0:small-en:test", "hub:squad:train[10:20]")
    rows = [read_source(name) for name in names]
    assert requested == [
        ("owner/name", None, "train", None),
        ("owner/name", "small-en", "test", "v1.0"),
        ("squad", None, "train[10:20]", None),
    ]
    assert [r.location for r in rows[0]] == ["hub:owner/name:train row 1", "hub:owner/name:train row 2"]
    for bad in ("hub:", "hub:owner/name", "hub:a/b/c:train", "hub:owner/name:a b"):
        with pytest.raises(DataError, match="hub:OWNER/NAME:SPLIT"):
            read_source(bad)
    with pytest.raises(DataError, match="hub:owner/name:none"):
        read_source("hub:owner/name:none")


def test_audits_read_the_hub_and_folders_and_report_missing_data_in_one_line(command, tmp_path, monkeypatch):
    plain = [written(tmp_path / "m.jsonl", MEMBERS), written(tmp_path / "n.jsonl", NONMEMBERS)]
    words = ("--attacks", "loss", "--json")
    by_file = json.loads(command("--members", plain[0], "--nonmembers", plain[1], *words)[1])
    datasets.Dataset.from_dict({"text": MEMBERS}).save_to_disk(tmp_path / "saved")
    real = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_dict({"text": NONMEMBERS}))
    reported = json.loads(command("--members", tmp_path / "saved", "--nonmembers", "hub:a/b:train", *words)[1])
    assert reported["rows"] == by_file["rows"]
    assert reported["exposed"][0]["id"].startswith("row ")
    monkeypatch.setattr(datasets, "load_dataset", real)
    line = refusal(command("--members", plain[0], "--nonmembers", "hub:nobody/has-this:train"))
    assert line.startswith("byheart: hub:nobody/has-this:train: ")


def test_known_texts_are_passed_to_the_attacks_that_use_them(command, opened, tokenizer, tmp_path):
    named = {"members": MEMBERS, "nonmembers": NONMEMBERS}
    named |= {"known-members": KNOWN_MEMBERS, "known-nonmembers": KNOWN_NONMEMBERS}
    words = [w for n, t in named.items() for w in (f"--{n}", written(tmp_path / f"{n}.jsonl", t))]
    attacks = ["recall", "con_recall", "camia", "wel", "dc_pdd", "icp_similar"]
    code, out, err = command(*words, "--attacks", ",".join([*attacks, "ensemble"]), "--json")
    assert code == 0, err
    reported = json.loads(out)
    assert {r["attack"] for r in reported["rows"]} - {""} == set(attacks)
    assert reported["not_run"] == {"ensemble": "requires at least 20 known members, and there are 12; provide more"}
    assert {"known_member", "known_nonmember"} <= set(reported["made"]["data"])

    found = byheart.audit(
        opened(), tokenizer, MEMBERS, NONMEMBERS, known_nonmembers=KNOWN_NONMEMBERS, attacks=["recall", "loss"]
    )
    aucs = {(r["attack"], r["epoch"]): r["value"] for r in reported["rows"] if r["metric"] == "auc"}
    ours = {(r.attack, r.epoch): r.value for r in found.rows if r.metric == "auc"}
    assert aucs["recall", 1] == pytest.approx(ours["recall", 1])
    own = byheart.token_stats(opened(), tokenizer, [*MEMBERS, *NONMEMBERS])
    np.testing.assert_allclose(found.scores[1]["loss"], loss(own), atol=1e-5)
    assert not np.allclose(found.scores[1]["recall"], recall(own, own))


def test_too_few_known_texts_are_reported_with_their_number(opened, tokenizer):
    def run(**how):
        return byheart.audit(opened(), tokenizer, MEMBERS, NONMEMBERS, **how)

    with pytest.raises(DataError, match=r"recall .*\b7 known non-members.*\b3\b"):
        run(known_nonmembers=KNOWN[:3], attacks=["recall"])
    with pytest.raises(DataError, match=r"icp_similar .*\b10 known non-members.*\b8\b"):
        run(known_nonmembers=KNOWN[:8], attacks=["icp_similar"])
    with pytest.raises(DataError, match=r"con_recall .*known members"):
        run(known_nonmembers=KNOWN, attacks=["con_recall"])
    with pytest.raises(DataError, match=r"known members\. Add one with --attacks .*: con_recall, ensemble\."):
        run(known_members=KNOWN_MEMBERS, known_nonmembers=KNOWN_NONMEMBERS)
    with pytest.raises(DataError, match=r"known members\. None can run: con_recall requires known non-members"):
        run(known_members=KNOWN)
    for part, texts in (("known_members", MEMBERS), ("known_nonmembers", MEMBERS), ("known_nonmembers", NONMEMBERS)):
        with pytest.raises(DataError, match=r"^known_(non)?members: record '1' has .* record '1' in (non)?members\."):
            run(**{part: [KNOWN[0], texts[1]]}, attacks=["con_recall"])
    with pytest.raises(
        DataError, match=r"^known_members: record '0' .* record '0' in known_nonmembers, and \d+ more records"
    ):
        run(known_members=KNOWN, known_nonmembers=KNOWN, attacks=["con_recall"])


def test_without_nonmembers_the_audit_reports_scores_only(command, tmp_path, lora):
    members = written(tmp_path / "m.jsonl", MEMBERS)
    code, out, _ = command(
        "--members", members, "--validation", written(tmp_path / "v.jsonl", VALIDATION), "-o", tmp_path / "out"
    )
    assert code == 0
    assert out.startswith("no verdict: without non-members, no false positive rate can be measured; ")
    assert "more likely under the fine-tuned model than under the base model" in out
    assert "unseen texts of the same kind" in out
    assert "of the members" not in out
    assert "non-members below" not in out
    card = (tmp_path / "out" / "model_card.md").read_text()
    assert "Membership inference on 40 training texts without non-members, by" in card
    rows = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert {(r["metric"], r["epoch"]) for r in rows} == {
        (m, e) for m in ("train_perplexity", "perplexity", "generalisation_gap") for e in (0, 1)
    }
    assert (tmp_path / "out" / "report.html").exists()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["verdict"], manifest["gate"]) == ("uncompared", None)
    reported = json.loads(command("--members", members, "--json")[1])
    assert all(e["above"] is None for e in reported["exposed"])
    assert [e["attack"] for e in reported["exposed"]][:1] == ["reference"]
    assert "auc=0.6: 40 members and 0 non-members" in refusal(command("--members", members, "--fail-above", "auc=0.6"))


def test_without_nonmembers_extraction_is_a_share_of_the_members(opened, tokenizer):
    found = byheart.audit(opened(), tokenizer, MEMBERS[:20], attacks=["loss", "discoverable"])
    table = found.tables()[1]
    assert table.header == ("attack", "model", "base model")
    ((name, model, base),) = table.rows
    share = found.extractions[1]["discoverable"].extracted.mean()
    assert (name, model.split(" ")[0]) == ("discoverable", f"{share:.3f}")
    assert base.endswith("]")
    assert "without non-members" in found.text().lower()
    assert not any("extraction" in r.metric for r in found.rows)


def test_without_nonmembers_and_base_the_audit_reports_no_comparison(command, base, tmp_path):
    reported = command("--members", written(tmp_path / "m.jsonl", MEMBERS), "--attacks", "loss", model=base)[1]
    assert reported.startswith("no verdict: ")
    assert "more likely under" not in reported


def test_the_share_of_more_likely_texts_counts_a_group_once():
    def passes(*means):
        return LogProbs(
            logp=np.repeat(np.array(means, dtype=np.float32), 2), starts=np.arange(0, 2 * len(means) + 1, 2)
        )

    before, groups = passes(-2, -2, -2, -2), ("a", "b", "c", "c")
    found = members_only_ruling(passes(-1, -3, -1, -1.5), before, groups)
    assert "67 % (9\N{EN DASH}99 %)" in found.sentence  # two of three groups, Clopper and Pearson
    assert "median gain 0.75 nats per token" in found.sentence
    assert members_only_ruling(before, None, groups).word == "uncompared"
