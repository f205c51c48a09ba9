"""Audits of scores that another tool computed: planted leaks, confounders, records without texts, refusals, and the command line."""

import csv
import json

import numpy as np
import pytest

import byheart
from byheart.auditing.given_scores import NO_TEXTS_DOUBT, ORIGIN_DOUBT, REVERSED_DOUBT
from byheart.core.errors import DataError, SettingError
from testing.command_line import run_command

WORDS = [
    "the",
    "a",
    "of",
    "river",
    "mountain",
    "doctor",
    "city",
    "walks",
    "blue",
    "green",
    "old",
    "paper",
    "stone",
    "house",
]
COUNT = 120


def scored(members, shift, seed, *, text=True, mark="", **others):
    """Records with a score `mine` that is `shift` higher for members, and equal scores of the base model."""
    chance = np.random.default_rng(seed)
    records = []
    for i in range(COUNT):
        words = " ".join(chance.choice(WORDS, 18)) + mark
        mine = float(chance.normal(shift if members else 0))
        content = {"text": words} if text else {}
        records.append({"id": f"r{i}", **content, "mine": mine, "base/mine": float(chance.normal()), **others})
    return records


def classes(shift, **settings):
    return scored(True, shift, 1, **settings), scored(False, shift, 2, **settings)


def test_a_score_that_separates_the_classes_leaks_and_has_the_auc_of_its_numbers():
    members, nonmembers = classes(1.5)
    found = byheart.audit_scores(members, nonmembers, scores="mine", name="a model of theirs")
    assert found.ruling.word == "leaks"
    assert found.gate.verdict == "sound"
    (auc,) = (r for r in found.rows if (r.metric, r.epoch) == ("auc", 1))
    wins = np.subtract.outer([r["mine"] for r in members], [r["mine"] for r in nonmembers]) > 0
    assert auc.value == pytest.approx(wins.mean())
    assert auc.adversary == "unknown"
    assert found.provenance["model"] == "a model of theirs"
    assert found.warnings == (ORIGIN_DOUBT,)
    assert found.exposed_members(1)[0].id == max(members, key=lambda r: r["mine"])["id"]


def test_a_score_at_chance_does_not_leak():
    assert byheart.audit_scores(*classes(0), scores=["mine"]).ruling.word == "nothing"


def test_a_score_that_the_base_model_gives_too_does_not_leak():
    members, nonmembers = ([{**r, "base/mine": r["mine"]} for r in part] for part in classes(1.5))
    assert byheart.audit_scores(members, nonmembers, scores="mine").ruling.word == "differs"


def test_a_score_that_reads_the_texts_alone_does_not_leak():
    """Members have another word than non-members, and the score is higher for it."""
    members, nonmembers = scored(True, 1.5, 1, mark=" zebra"), scored(False, 1.5, 2)
    assert byheart.audit_scores(members, nonmembers, scores="mine").ruling.word == "broken"


def without_texts(shift, **others):
    members, nonmembers = classes(shift, text=False, **others)
    return members, [{**r, "id": f"other {r['id']}"} for r in nonmembers]


@pytest.mark.parametrize("shift", [1.5, -1.5])
def test_without_texts_no_score_leaks(shift):
    found = byheart.audit_scores(*without_texts(shift), scores="mine")
    assert found.ruling.word == "differs"
    assert "the texts are missing" in found.verdict
    assert ("in reverse order" in found.verdict) == (shift < 0)
    assert NO_TEXTS_DOUBT in found.warnings
    assert found.gate is None


def test_without_the_base_models_scores_a_warning_says_so():
    members, nonmembers = ([{"text": r["text"], "mine": r["mine"]} for r in part] for part in classes(1.5))
    found = byheart.audit_scores(members, nonmembers, scores="mine")
    assert any("(fields 'base/mine'), leakage cannot be distinguished" in w for w in found.warnings)
    assert set(found.scores) == {1}


def test_lower_scores_can_mean_membership():
    members, nonmembers = classes(-1.5)
    found = byheart.audit_scores(members, nonmembers, scores="mine")
    assert found.ruling.word == "reversed"
    assert REVERSED_DOUBT in found.warnings
    found = byheart.audit_scores(members, nonmembers, scores="mine", higher_means_member=False)
    assert found.ruling.word == "leaks"
    assert "negated" in found.warnings[0]
    assert REVERSED_DOUBT not in found.warnings


def test_columns_as_another_tool_returns_them():
    """The predictions of one attack as two lists of numbers, as MIMIR's result files have them."""
    members, nonmembers = ({"loss": [r["mine"] for r in part]} for part in classes(1.5))
    found = byheart.audit_scores(members, nonmembers, scores="loss")
    assert len(found.ids) == 2 * COUNT
    assert next(r for r in found.rows if r.metric == "auc").adversary == "log-probabilities"


def test_groups_widen_the_interval():
    def width(**others):
        found = byheart.audit_scores(*classes(1, **others), scores="mine")
        (row,) = (r for r in found.rows if (r.metric, r.epoch) == ("auc", 1))
        return row.high - row.low

    members, nonmembers = classes(1)
    grouped = [
        [{**r, "group": f"{name}{i // 10}"} for i, r in enumerate(part)]
        for name, part in zip("mn", (members, nonmembers), strict=True)
    ]
    found = byheart.audit_scores(*grouped, scores="mine")
    (row,) = (r for r in found.rows if (r.metric, r.epoch) == ("auc", 1))
    assert row.high - row.low > width()


def test_records_that_share_an_id_keep_their_own_scores():
    members, nonmembers = classes(1.5)
    shared = [[{**r, "id": "one user"} for r in part] for part in (members, nonmembers)]
    with_ids, without = (byheart.audit_scores(*parts, scores="mine") for parts in (classes(1.5), shared))
    np.testing.assert_array_equal(with_ids.scores[1]["mine"], without.scores[1]["mine"])


def test_a_long_id_is_cut_in_an_error():
    members, nonmembers = classes(0)
    with pytest.raises(DataError) as error:
        byheart.audit_scores([{**members[0], "id": "a" * 5000, "group": [1]}, *members[1:]], nonmembers, scores="mine")
    assert len(str(error.value)) < 400


def test_a_chat_is_one_record():
    members, nonmembers = classes(1.5)
    chats = [
        [
            {
                "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": r["text"]}] * 2,
                "mine": r["mine"],
            }
            for r in part
        ]
        for part in (members, nonmembers)
    ]
    assert len(byheart.audit_scores(*chats, scores="mine").ids) == 2 * COUNT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"mine": float("nan")},
            r"member text '0': the score 'mine' is nan\. Write a number between -1e\+100 and 1e\+100",
        ),
        ({"mine": "a private text"}, r"the score 'mine' is a string of 14 characters"),
        ({"mine": np.True_}, r"Write a number"),
        ({"mine": True}, r"the score 'mine' is True"),
        ({"mine": None}, r"the score 'mine' is None"),
        ({"mine": 10**400}, r"Write a number"),
        ({"mine": 1e300}, r"the score 'mine' is 1e\+300"),
    ],
)
def test_a_score_that_is_no_number_is_refused(change, words):
    members, nonmembers = classes(0)
    with pytest.raises(DataError, match=words):
        byheart.audit_scores([{**members[0], **change}, *members[1:]], nonmembers, scores="mine")


def test_records_that_differ_in_their_fields_are_refused():
    members, nonmembers = classes(0)
    without_base = {n: v for n, v in nonmembers[3].items() if n != "base/mine"}
    with pytest.raises(DataError, match=r"nonmember text 'r3': only some records have 'base/mine'"):
        byheart.audit_scores(members, [*nonmembers[:3], without_base, *nonmembers[4:]], scores="mine")
    without_text = {n: v for n, v in nonmembers[3].items() if n != "text"}
    with pytest.raises(DataError, match=r"nonmember text 'r3': only some records have a text"):
        byheart.audit_scores(members, [*nonmembers[:3], without_text, *nonmembers[4:]], scores="mine")
    with pytest.raises(DataError, match=r"member text '0': the field 'other': unknown name"):
        byheart.audit_scores(members, nonmembers, scores=["mine", "other"])
    with pytest.raises(DataError, match=r"nonmember texts: the list is empty"):
        byheart.audit_scores(members, [], scores="mine")
    with pytest.raises(DataError, match=r"the type is str\. Write a record with its scores"):
        byheart.audit_scores(["a text"], nonmembers, scores="mine")
    with pytest.raises(DataError, match="has the same text as record"):
        byheart.audit_scores(members, [*nonmembers[1:], {**nonmembers[0], "text": members[0]["text"]}], scores="mine")


def test_records_without_texts_that_are_in_both_classes_are_refused():
    members, nonmembers = classes(0, text=False)
    with pytest.raises(DataError, match=r"nonmember text 'r0': a member has the same id"):
        byheart.audit_scores(members, nonmembers, scores="mine")
    scores = {"mine": [r["mine"] for r in members]}
    with pytest.raises(DataError, match="the same scores as those of the members"):
        byheart.audit_scores(scores, scores, scores="mine")


def test_audits_of_records_without_texts_and_ids_are_of_other_records():
    """So that a comparison of two audits does not pair them by their positions."""
    first, second = (
        byheart.audit_scores(*({"mine": [r["mine"] for r in part]} for part in classes(shift)), scores="mine")
        for shift in (0, 1)
    )
    assert first.provenance["data"]["member"] != second.provenance["data"]["member"]


def test_a_bound_cannot_be_shown_without_texts():
    with pytest.raises(DataError, match=r"--pass-below: requires the texts of the records"):
        byheart.audit_scores(*without_texts(0), scores="mine", pass_below={"auc": 0.8})


def test_an_error_escapes_control_characters_of_a_bound():
    with pytest.raises(SettingError, match=r"--pass-below auc=\\x1b\[31m: must be"):
        byheart.audit_scores(*classes(0), scores="mine", pass_below=["auc=\x1b[31m"])


def test_each_attack_without_the_base_models_scores_is_named():
    members, nonmembers = ([{**r, "other": r["mine"]} for r in part] for part in classes(1.5))
    found = byheart.audit_scores(members, nonmembers, scores=["mine", "other"])
    assert any("(fields 'base/other')" in w for w in found.warnings)


@pytest.mark.parametrize("names", [[], ["mine", "mine"], ["base/mine"], ["os:system"]])
def test_names_that_are_no_fields_of_scores_are_refused(names):
    with pytest.raises(SettingError):
        byheart.audit_scores(*classes(0), scores=names)


# the command line


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """`byheart audit` in this process, on a CSV file with a column of labels."""
    monkeypatch.chdir(tmp_path)
    members, nonmembers = classes(1.5, source="another tool")
    with (tmp_path / "scores.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, ["member", *members[0]])
        rows.writeheader()
        for label, part in ((1, members), (0, nonmembers)):
            rows.writerows({"member": label, **r, "id": f"{label}{r['id']}"} for r in part)

    def run(*words, members="scores.csv:member=1", nonmembers="scores.csv:member=0"):
        return run_command(monkeypatch, capsys, "audit", "--members", members, "--nonmembers", nonmembers, *words)

    return run


def test_a_file_of_another_tool_is_audited_and_its_folder_audited_again(command, tmp_path):
    code, out, _ = command("--scores", "mine", "--model-name", "theirs", "-o", "audit", "--fail-above", "auc=0.6")
    assert code == 3
    assert "leaks: " in out
    assert "Audit of theirs" in (tmp_path / "audit" / "report.html").read_text()
    rows = json.loads((tmp_path / "audit" / "rows.json").read_text())
    own = "audit/scores.parquet:member="
    code, out, _ = command("--scores", "mine", "--json", members=f"{own}true", nonmembers=f"{own}false")
    assert code == 0
    again = json.loads(out)
    assert [r["value"] for r in again["rows"]] == [r["value"] for r in rows]
    assert again["verdict"] == "differs", "scores.parquet has no texts"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scores", "mine", "--model", "m"], "--scores: cannot be combined with --model"),
        (["--scores", "mine", "--generated", "g.jsonl"], "--scores: cannot be combined with --generated"),
        (["--scores", "mine", "--attacks", "loss"], "--scores: cannot be combined with --attacks"),
        (["--scores", "mine", "--attributes", "id"], "--scores: cannot be combined with --attributes"),
        (["--scores", "mine", "--preregister", "p"], "--scores: cannot be combined with --preregister"),
        (
            ["--scores", "mine,source"],
            "scores.csv:member=1: member text 'line 2': the score 'source' is a string of 12 characters",
        ),
        (["--scores", "member"], "--scores member: this field selects the records"),
        (["--scores", "mine", "--precision", "bfloat16"], "--scores: cannot be combined with --precision"),
        (["--scores", ","], "scores: no field is named"),
        (["--lower-is-member"], "--lower-is-member: this option requires --scores"),
    ],
)
def test_requests_that_no_scores_can_meet_are_refused(command, words, message, tmp_path):
    code, _, error = command(*words, "-o", "audit")
    assert code == 2
    assert message in error
    assert not (tmp_path / "audit").exists()


def test_scores_without_nonmembers_are_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, error = run_command(monkeypatch, capsys, "audit", "--members", "scores.csv", "--scores", "mine")
    assert code == 2
    assert "--scores: there are no non-members" in error


def test_the_annex_of_scores_advises_no_option_that_scores_refuse(command, tmp_path):
    command("--scores", "mine", "-o", "audit", "--annex", "edpb,nist")
    annex = (tmp_path / "audit" / "annex.md").read_text()
    assert "not run (audit the model)" in annex
    assert "the records have no such score; add it, or audit the model" in annex.replace("\\_", "_")
    assert "--attacks" not in annex


def test_texts_of_records_without_texts_cannot_be_shown(command, tmp_path):
    command("--scores", "mine", "-o", "first")
    own = "first/scores.parquet:member="
    sides = {"members": f"{own}true", "nonmembers": f"{own}false"}
    code, _, error = command("--scores", "mine", "--show-text", "-o", "second", **sides)
    assert code == 2
    assert "--show-text: the records have no texts. Add their texts, or remove --show-text." in error
    assert not (tmp_path / "second").exists()


def test_the_page_of_records_without_texts_says_why_the_split_was_not_checked(tmp_path):
    byheart.audit_scores(*without_texts(1.5), scores="mine").save(tmp_path / "audit")
    page = (tmp_path / "audit" / "report.html").read_text()
    assert "the split was not checked, because the records have no texts" in page
    assert "run the study again" not in page


def test_a_limit_on_the_records_is_the_reason_why_a_rate_is_not_computed(command):
    _, out, _ = command("--scores", "mine", "--max-texts", "50")
    assert (
        "requires 100 non-members, and there are 50; raise --max-texts (in Python max_texts), or raise the rate" in out
    )


def test_compared_scores_of_opposite_directions_are_named(command, monkeypatch, capsys):
    command("--scores", "mine", "-o", "first")
    command("--scores", "mine", "--lower-is-member", "-o", "second")
    code, out, _ = run_command(monkeypatch, capsys, "compare", "first", "second")
    assert code == 0
    assert "the scores of mine are negated in one of the audits" in out
    assert "--lower-is-member" in out
    assert "different base models" not in out


def test_the_manifest_has_the_number_of_records_that_were_read(command, tmp_path):
    command("--scores", "mine", "-o", "audit")
    manifest = json.loads((tmp_path / "audit" / "manifest.json").read_text())
    assert manifest["made"]["settings"]["max_texts"] == COUNT


def test_all_records_are_read_unless_a_limit_is_named(command):
    _, out, _ = command("--scores", "mine")
    assert "120 members against 120 non-members" in out
    _, out, _ = command("--scores", "mine", "--max-texts", "50", "--fpr", "0.1")
    assert "50 members against 50 non-members" in out
