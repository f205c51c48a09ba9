"""Audits of texts that a model generated, without the model: planted leaks, no leak, refusals, and the command line."""

import json

import numpy as np
import pytest

import byheart
from byheart.core.defaults import CALIBRATED_SYNTHETIC_ATTACKS, SYNTHETIC_ATTACKS
from byheart.core.errors import DataError, SettingError
from byheart.core.registry import load_function
from testing.audited import records, refusal
from testing.command_line import run_command

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprstvz" for b in "aeiou" for c in ("n", "r", "s", "l")]
COUNT = 60


def drawn(count, seed, length=18):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, length)) for _ in range(count)]


MEMBERS, NONMEMBERS, NOISE, REFERENCE = (drawn(n, 20 + i) for i, n in enumerate((COUNT, COUNT, 150, 150)))
COPIES = [" ".join(t.split()[3:]) + " " + w for t, w in zip(MEMBERS, drawn(COUNT, 9, 3), strict=True)]
"""Generated texts with most of a member each."""
LEAKED = [*NOISE, *COPIES]


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """`byheart audit` in this process, with files of the texts above; `files` replaces the texts of a file."""
    monkeypatch.chdir(tmp_path)
    parts = {"members": MEMBERS, "nonmembers": NONMEMBERS, "generated": LEAKED, "reference": REFERENCE}

    def run(*words, options=("members", "nonmembers", "generated"), **files):
        for name, texts in {**parts, **files}.items():
            records(tmp_path / f"{name}.jsonl", [t if isinstance(t, dict) else {"text": t} for t in texts])
        named = [word for name in options for word in (f"--{name}", f"{name}.jsonl")]
        return run_command(monkeypatch, capsys, "audit", *named, *words)

    return run


def test_generated_texts_that_copy_members_leak():
    found = byheart.audit_generated(LEAKED, MEMBERS, NONMEMBERS, attacks=[{"synthetic_similarity": {"k": 1}}], fpr=0.1)
    assert found.ruling.word == "leaks"
    assert found.verdict.startswith("leaks: at 10 % false positive rate, synthetic_similarity(k=1) identifies")
    assert found.gate.verdict == "sound"
    assert found.provenance["model"] == "210 generated texts"


def test_a_reference_takes_the_base_models_place():
    found = byheart.audit_generated(LEAKED, MEMBERS, NONMEMBERS, reference=REFERENCE)
    assert set(found.scores) == {0, 1}
    assert list(found.scores[1]) == [*SYNTHETIC_ATTACKS, *CALIBRATED_SYNTHETIC_ATTACKS]
    assert found.ruling.word == "leaks"
    assert not found.scores[0]["synthetic_ngram_calibrated"].any()
    aucs = {(r.attack, r.epoch): r for r in found.rows if r.metric == "auc"}
    assert aucs["synthetic_ngram", 1].low > 0.8
    assert aucs["synthetic_ngram", 0].low < 0.5 < aucs["synthetic_ngram", 0].high
    assert "150 reference texts take the base model's place" in found.warnings[1]


def test_words_that_are_usual_for_members_only_are_no_leak():
    """Members have other words than non-members, and the generator knows only their kind: the reference shows this."""
    of_kind = [w for w in WORDS if w[1] in "ae"]
    chance = np.random.default_rng(4)
    kind = [" ".join(chance.choice(of_kind, 18)) for _ in range(COUNT + 300)]
    attacks = [{"synthetic_ngram": {"n": 1}}, {"synthetic_ngram_calibrated": {"n": 1}}]
    generated, reference = kind[COUNT : COUNT + 150], kind[COUNT + 150 :]
    found = byheart.audit_generated(generated, kind[:COUNT], NONMEMBERS, reference=reference, attacks=attacks)
    aucs = {(r.attack, r.epoch): r for r in found.rows if r.metric == "auc"}
    assert aucs["synthetic_ngram", 1].low > 0.9
    assert aucs["synthetic_ngram", 0].low > 0.9
    assert aucs["synthetic_ngram_calibrated", 1].low < 0.5 < aucs["synthetic_ngram_calibrated", 1].high
    assert found.ruling.word == "broken"


def test_without_a_leak_the_interval_contains_chance():
    found = byheart.audit_generated(NOISE, MEMBERS, NONMEMBERS, reference=REFERENCE)
    assert found.ruling.word == "nothing"
    assert all(r.low < 0.5 < r.high for r in found.rows if r.metric == "auc" and r.attack and r.epoch == 1)


@pytest.mark.slow
def test_intervals_contain_chance_as_often_as_they_state():
    """100 releases of a generator that never saw the records; 95 % intervals."""
    from byheart.core.evidence import SyntheticTexts
    from byheart.core.types import Texts

    auc, membership = load_function("metrics", "auc"), np.arange(80) < 40
    groups = tuple(map(str, range(80)))
    attacks = [load_function("attacks", name) for name in SYNTHETIC_ATTACKS]
    contained = []
    for seed in range(100):
        texts = Texts(groups, tuple(drawn(80, [seed, 1])))
        released = SyntheticTexts(generated=tuple(drawn(60, [seed, 2])))
        for attack in attacks:
            _, low, high, *_ = auc(attack(released, texts), membership, groups)
            contained.append(low <= 0.5 <= high)
    assert 0.9 <= np.mean(contained) <= 0.99


def test_prompts_and_chats_are_compared_by_what_the_model_generated():
    pairs = [[("Write a text.", t) for t in texts] for texts in (LEAKED, MEMBERS, NONMEMBERS)]
    chats = [
        [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in texts] for texts in pairs
    ]
    plain, paired, chatted = (
        byheart.audit_generated(*texts, attacks=["synthetic_ngram"])
        for texts in ((LEAKED, MEMBERS, NONMEMBERS), pairs, chats)
    )
    assert np.array_equal(plain.scores[1]["synthetic_ngram"], paired.scores[1]["synthetic_ngram"])
    assert np.array_equal(plain.scores[1]["synthetic_ngram"], chatted.scores[1]["synthetic_ngram"])
    assert plain.ruling.word == paired.ruling.word == chatted.ruling.word == "leaks"


def test_turns_of_a_chat_are_one_group():
    def chats(texts):
        turns = [[{"role": "user", "content": "More."}, {"role": "assistant", "content": t}] for t in texts]
        return [a + b for a, b in zip(turns[::2], turns[1::2], strict=True)]

    found = byheart.audit_generated(LEAKED, chats(MEMBERS), chats(NONMEMBERS))
    assert len(found.ids) == 2 * COUNT
    assert len(set(found.record_labels.groups)) == COUNT
    assert found.ids[:2] == ("member/0#1", "member/0#3")


def test_canaries_are_members_and_nonmembers_by_their_coins():
    planted = byheart.plant([{"text": t} for t in NOISE], count=160, repetitions=(1,), seed=5, references=20)
    included = [c.record["text"] for c in planted.canaries.canaries if c.included]
    found = byheart.audit_generated([*NOISE, *included], canaries=planted.canaries)
    assert found.ruling.word == "leaks"
    assert int(found.record_labels.membership.sum()) == len(included)
    assert "canaries: exposure and a bound on epsilon require a model" in found.warnings
    with pytest.raises(SettingError, match=r"^canaries: members are given too, .* Pass one of the two\.$"):
        byheart.audit_generated(NOISE, MEMBERS, NONMEMBERS, canaries=planted.canaries)


@pytest.mark.parametrize(
    ("released", "says"),
    [
        ({"generated": []}, "generated texts: the list is empty."),
        ({"generated": MEMBERS[::-1]}, "generated texts: the same texts as the member texts. Name the texts that"),
        ({"generated": NONMEMBERS}, "generated texts: the same texts as the nonmember texts."),
        ({"reference": LEAKED}, "generated texts: the same texts as reference texts."),
        ({"reference": MEMBERS}, "reference texts: the same texts as the member texts. Name texts of the same kind"),
        (
            {"reference": [*REFERENCE, MEMBERS[3] + " again", NONMEMBERS[5], NONMEMBERS[6]]},
            "reference texts: near copies of 1 of 60 member texts and 2 of 60 nonmember texts. Remove them from the reference texts.",
        ),
        ({"attacks": ["loss"]}, "attacks: none of the selected attacks can run. loss requires a model; an audit of"),
        ({"attacks": ["synthetic_ngram_calibrated"]}, "requires reference texts; pass them as reference."),
    ],
)
def test_unusable_texts_are_refused(released, says):
    generated = released.pop("generated", LEAKED)
    with pytest.raises(DataError) as raised:
        byheart.audit_generated(generated, MEMBERS, NONMEMBERS, **released)
    assert says in str(raised.value)


def test_few_records_have_no_verdict_and_no_nonmembers_no_rate():
    few = byheart.audit_generated(LEAKED, MEMBERS[:10], NONMEMBERS[:10])
    assert few.ruling.word == "refused"
    alone = byheart.audit_generated(LEAKED, MEMBERS)
    assert alone.ruling.word == "uncompared"
    assert "median score" in alone.text()


def test_the_command_audits_generated_texts(command, tmp_path):
    code, out, _ = command("--fpr", "0.1", "-o", "audit", "--annex", "edpb")
    assert code == 0
    assert out.startswith("leaks: at 10 % false positive rate, synthetic_")
    assert "the audit read 210 generated texts and no model; more texts, or the model, may reveal more" in out
    page = (tmp_path / "audit" / "report.html").read_text()
    assert "Audit of generated.jsonl (210 generated texts)" in page
    manifest = json.loads((tmp_path / "audit" / "manifest.json").read_text())
    assert set(manifest["made"]["inputs"]) == {"member", "nonmember", "generated"}
    assert set(manifest["made"]["weights"]) == {"generated"}
    code, out, _ = run_json(command, "--reference", "reference.jsonl", "--attacks", "all")
    assert {r["attack"] for r in out["rows"]} == {*SYNTHETIC_ATTACKS, *CALIBRATED_SYNTHETIC_ATTACKS}
    assert out["not_run"]["loss"] == "requires a model; an audit of generated texts has none"


def run_json(command, *words):
    code, out, err = command("--json", *words)
    return code, json.loads(out), err


def test_bounds_and_preregistration_work_as_for_a_model(command):
    assert command("--fail-above", "auc=0.6")[0] == 3
    assert command("--pass-below", "auc=0.8")[0] == 4
    assert command("--preregister", "plan.json")[0] == 0
    code, out, _ = run_json(command, "--preregistered", "plan.json")
    assert code == 0
    assert out["preregistration"]["deviations"] == []


@pytest.mark.parametrize(
    ("words", "options", "files", "line"),
    [
        (
            ("--model", "x", "--quantize", "4"),
            ("members", "generated"),
            {},
            "byheart: --generated: cannot be combined with --model, --quantize, because no model is read. Remove them, or --generated.",
        ),
        (
            (),
            ("members", "reference"),
            {},
            "byheart: --reference: this option requires --generated. Add --generated TEXTS.",
        ),
        (
            (),
            ("members",),
            {},
            (
                "byheart: --model: no model is named. Add --model, or --endpoint and --model-name, or --generated with texts that it "
                "generated, or --scores with fields of the records."
            ),
        ),
        (
            (),
            ("members", "nonmembers", "generated"),
            {"generated": MEMBERS},
            "byheart: --generated generated.jsonl: the same texts as --members members.jsonl. Name the texts that the model generated.",
        ),
        (
            (),
            ("members", "nonmembers", "generated", "reference"),
            {"reference": [*REFERENCE, MEMBERS[0]]},
            (
                "byheart: --reference reference.jsonl: near copies of 1 of 60 member texts and 0 of 60 nonmember texts. Remove them from "
                "the reference texts."
            ),
        ),
        (
            ("--canaries", "manifest.json"),
            ("members", "generated"),
            {},
            (
                "byheart: --canaries: cannot be combined with --members and --generated, because generated texts have no exposure. Remove "
                "--members to audit the canaries, or --canaries to audit the members."
            ),
        ),
    ],
)
def test_wrong_options_and_files_are_refused_in_one_line(command, words, options, files, line):
    assert refusal(command(*words, options=options, **files)) == line


def test_an_empty_file_is_named(command):
    assert refusal(command(generated=[])).startswith("byheart: generated.jsonl: ")


def test_fields_of_the_records_are_used_for_generated_texts_that_have_them(command):
    members, nonmembers = ([{"body": t, "key": f"{i}"} for i, t in enumerate(texts)] for texts in (MEMBERS, NONMEMBERS))
    generated = [{"body": t, "id": "the id of its prompt"} for t in LEAKED]
    names = ("--fields", "text=body", "--id", "key")
    both = {"members": members, "nonmembers": nonmembers}
    scores = []
    for released in (generated, LEAKED):
        code, out, _ = command("--json", *names, generated=released, **both)
        assert code == 0
        scores.append([r["value"] for r in json.loads(out)["rows"]])
    assert scores[0] == scores[1]
