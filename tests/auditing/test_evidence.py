"""Folders that show what was changed, plans that are written first, and two audits of the same texts."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from byheart.auditing.audit_differences import compare_folders
from byheart.auditing.saved import read_audit
from byheart.auditing.verify import verify_folder
from byheart.core.errors import StoreError
from byheart.stats.roc_auc import auc_difference
from byheart.store.seal import MANIFEST, read_sealed, sealed_json, sha256
from testing.audited import MEMBERS, NONMEMBERS, records, refusal

ATTACKS = ("--attacks", "loss,min_k")


@pytest.fixture(scope="session")
def audits(tmp_path_factory):
    """A folder for audits that tests copy."""
    return tmp_path_factory.mktemp("audits")


@pytest.fixture
def folder(saved, base, command, audits, tmp_path):
    """The folder of an audit of the full fine-tune; each test has a copy of its own."""
    made = audits / "full"
    if not made.exists():
        assert command("--model", saved / "full", "--base", base, *ATTACKS, "-o", made)[0] == 0
    return shutil.copytree(made, tmp_path / "audit")


def test_an_untouched_folder_is_verified_with_its_inputs(folder, files, saved, base, typed):
    seal = read_sealed(folder / MANIFEST)["seal"]
    words = ("--input", f"member={files / 'members.jsonl'}", "--input", f"model={saved / 'full'}", "--seal", seal)
    code, out, _ = typed("verify", folder, *words, "--input", f"base={base}")
    assert code == 0, out
    assert out.startswith("verified: ")
    assert "8 numbers, computed again" in out or "4 numbers, computed again" in out
    assert seal in out
    (folder / f"{MANIFEST}.sigstore.json").write_text("{}")  # a detached signature changes nothing
    assert verify_folder(folder, {}).differences == ()


def test_one_changed_byte_of_any_file_is_found(folder, tmp_path):
    for name in sorted(p.name for p in folder.iterdir()):
        copy = shutil.copytree(folder, tmp_path / "copy")
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        (difference,) = verify_folder(copy, {}).differences
        assert name in difference
        with pytest.raises(StoreError, match=name):
            compare_folders(folder, copy)
        shutil.rmtree(copy)


def test_missing_and_added_files_other_seals_and_other_inputs_are_found(folder, files, saved, typed, tmp_path):
    (folder / "exposed.csv").unlink()
    (folder / "notes.txt").write_text("mine")
    found = verify_folder(folder, {}, seal="0" * 64).differences
    assert [d.split(":")[0] for d in found] == ["exposed.csv", "notes.txt", MANIFEST]
    code, out, _ = typed("verify", folder, "--input", f"member={files / 'nonmembers.jsonl'}", "--json")
    assert code == 1
    told = json.loads(out)["differences"][2]
    assert told == f"member: {files / 'nonmembers.jsonl'} has another content than members.jsonl, which the audit read"
    other = shutil.copytree(saved / "full", tmp_path / "other")
    weights = next(other.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert any("model.safetensors is changed" in d for d in verify_folder(folder, {"model": str(other)}).differences)
    assert "Choices: base, member, model, nonmember" in refusal(typed("verify", folder, "--input", "members=x"))
    assert "--input member=train.jsonl" in refusal(typed("verify", folder, "--input", "member"))
    assert "no manifest.json" in refusal(typed("verify", tmp_path))


def test_numbers_that_the_scores_do_not_give_are_found_behind_a_new_manifest(folder):
    """Who rewrites the rows can rewrite the manifest; the scores still show it, and so does a noted seal."""
    from byheart.store.seal import file_sha256

    seal = read_sealed(folder / MANIFEST)["seal"]
    rows = json.loads((folder / "rows.json").read_text())
    next(r for r in rows if r["metric"] == "auc" and r["epoch"] == 1)["value"] = 0.5
    (folder / "rows.json").write_text(json.dumps(rows))
    manifest = read_sealed(folder / MANIFEST)
    manifest["files"]["rows.json"] = file_sha256(folder / "rows.json")
    (folder / MANIFEST).write_text(sealed_json(manifest))
    (difference,) = verify_folder(folder, {}).differences
    assert difference.startswith("rows.json: auc of loss on the fine-tuned model is 0.5000, its scores give")
    assert any("noted seal" in d for d in verify_folder(folder, {}, seal=seal).differences)


def rewritten(folder, name, content):
    """Write a file of a folder and a new manifest that names it."""
    (folder / name).write_bytes(content)
    manifest = read_sealed(folder / MANIFEST)
    manifest["files"][name] = sha256(content)
    (folder / MANIFEST).write_text(sealed_json(manifest))


def test_numbers_without_scores_and_files_in_work_folders_are_found(folder):
    scores = pa.BufferOutputStream()
    columns = pq.read_table(folder / "scores.parquet").drop_columns(["min_k"])
    pq.write_table(columns, scores)
    rewritten(folder, "scores.parquet", scores.getvalue().to_pybytes())
    assert "scores.parquet: has no scores of min_k, and rows.json has its auc" in verify_folder(folder, {}).differences
    (folder / ".making").mkdir()
    (folder / ".making" / "report.html").write_text("another page")
    assert ".making/report.html: not in the manifest" in verify_folder(folder, {}).differences


@pytest.mark.parametrize("text", ['{"a": NaN, "seal": ""}', '{"a": "\\ud800", "seal": ""}', '{"a":' + "[" * 100_000])
def test_json_that_no_seal_has_is_refused_in_one_line(text, tmp_path, command, typed, base):
    (tmp_path / MANIFEST).write_text(text)
    code, out, _ = typed("verify", tmp_path)
    assert code == 1
    assert "is not JSON that byheart wrote" in out
    assert "is not JSON" in refusal(command("--model", base, "--preregistered", tmp_path / MANIFEST))


def test_what_verify_cannot_read_as_asked_is_refused(folder, files, typed, tmp_path):
    seal = read_sealed(folder / MANIFEST)["seal"]
    assert typed("verify", folder, "--seal", f" {seal.upper()}")[0] == 0
    assert "is not a seal of 64 hex digits" in refusal(typed("verify", folder, "--seal", seal[:16]))
    member = ("--input", f"member={files / 'members.jsonl'}")
    assert "member is named twice" in refusal(typed("verify", folder, *member, *member))
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / MANIFEST).write_text(sealed_json({"kind": "byheart preregistration"}))
    assert "names no files" in refusal(typed("verify", tmp_path / "plan"))


def test_groups_are_part_of_a_plan_and_the_order_of_bounds_is_not(base, command, files, tmp_path):
    for name, texts in (("members", MEMBERS), ("nonmembers", NONMEMBERS)):
        lines = [{"id": f"{name[0]}-{i}", "text": t, "user": f"{name}-{i // 4}"} for i, t in enumerate(texts)]
        records(files / f"{name}-users.jsonl", lines)
    sides = {"members": "members-users.jsonl", "nonmembers": "nonmembers-users.jsonl"}
    plan, bounds = tmp_path / "plan.json", ("--pass-below", "auc=0.9", "--pass-below", "auc=0.95")
    assert (
        command("--attacks", "loss", "--group", "user", "--preregister", tmp_path / "plan-users.json", **sides)[0] == 0
    )
    words = ("--model", base, "--attacks", "loss", "--json", "--preregistered")
    _, out, _ = command(*words, tmp_path / "plan-users.json", **sides)
    assert json.loads(out)["preregistration"]["deviations"] == [
        "the groups of the member texts are not those of the plan",
        "the groups of the nonmember texts are not those of the plan",
    ]
    assert command("--attacks", "loss", *bounds, "--preregister", plan, **sides)[0] == 0
    code, out, err = command(*words, plan, *bounds[2:], *bounds[:2], **sides)
    assert code == 0, err
    assert json.loads(out)["preregistration"]["deviations"] == []


@pytest.mark.slow
def test_a_plan_of_all_attacks_names_only_attacks_that_an_audit_can_run(base, saved, command, tmp_path):
    plan, words = tmp_path / "plan.json", ("--attacks", "all", "--max-texts", "24", "--max-tokens", "8")
    assert command(*words, "--preregister", plan)[0] == 0
    assert "lira" not in read_sealed(plan)["plan"]["attacks"]
    _, out, err = command("--model", saved / "full", "--base", base, *words, "--preregistered", plan, "--json")
    assert json.loads(out)["preregistration"]["deviations"] == [], err


def test_a_plan_that_is_followed_and_one_that_is_not(base, command, files, tmp_path):
    plan = tmp_path / "plan.json"
    code, out, _ = command(*ATTACKS, "--pass-below", "auc=0.9", "--preregister", plan)
    assert code == 0
    assert read_sealed(plan)["seal"] in out
    words = ("--model", base, "--preregistered", plan, "--json")
    followed = command(*words, *ATTACKS, "--pass-below", "auc=0.9", "-o", tmp_path / "out")
    assert followed[0] == 0, followed[2]
    assert json.loads(followed[1])["preregistration"]["deviations"] == []
    assert "followed" in (tmp_path / "out" / "report.html").read_text()

    records(files / "fewer.jsonl", [{"id": f"n-{i}", "text": t} for i, t in enumerate(NONMEMBERS[:31])])
    code, out, err = command(
        *words, "--attacks", "loss", "--pass-below", "auc=0.95", "--max-tokens", "64", nonmembers="fewer.jsonl"
    )
    assert code == 4
    assert "the preregistration was not followed" in err
    assert json.loads(out)["preregistration"]["deviations"] == [
        "attack min_k was left out",
        "max_tokens is 64, and the plan has 512",
        "pass_below is auc=0.95, and the plan has auc=0.9",
        "the nonmember texts are not those of the plan",
    ]


def test_a_planned_bound_that_is_not_tested_is_not_passed(base, command, tmp_path):
    plan = tmp_path / "plan.json"
    bounds = ("--pass-below", "auc=0.9", "--fail-above", "auc=0.95")
    assert command(*ATTACKS, *bounds, "--preregister", plan)[0] == 0
    words = ("--model", base, *ATTACKS, "--preregistered", plan)
    code, out, err = command(*words)
    assert code == 4
    for option in ("--pass-below auc=0.9", "--fail-above auc=0.95"):
        assert f"byheart: bound not shown: {option} is planned and was not tested. Add {option}." in err
    assert "planned bounds that were not tested, so they are undecided: --pass-below auc=0.9" in " ".join(out.split())
    code, out, err = command(*words, "--pass-below", "auc=0.9", "--json", "-o", tmp_path / "audit")
    assert code == 4
    assert json.loads(out)["preregistration"]["untested"] == ["--fail-above auc=0.95"]
    assert command(*words, *bounds)[0] == 0


def test_bounds_to_fail_pass_only_if_they_were_tested_as_planned(base, command, tmp_path):
    plan = tmp_path / "plan.json"
    assert command(*ATTACKS, "--fail-above", "auc=0.95", "--preregister", plan)[0] == 0
    words = ("--model", base, "--fail-above", "auc=0.95", "--preregistered", plan)
    assert command(*words, *ATTACKS)[0] == 0
    code, _, err = command(*words, "--attacks", "loss")
    assert code == 4
    assert "byheart: bounds not tested as planned: attack min_k was left out" in err
    assert "is a folder. Name the file" in refusal(command("--model", base, "--preregistered", tmp_path))


def test_line_ends_of_another_system_do_not_change_a_plan(base, command, tmp_path):
    plan = tmp_path / "plan.json"
    assert command(*ATTACKS, "--preregister", plan)[0] == 0
    seal = read_sealed(plan)["seal"]
    plan.write_bytes(plan.read_bytes().replace(b"\n", b"\r\n"))
    assert read_sealed(plan)["seal"] == seal
    assert command("--model", base, *ATTACKS, "--preregistered", plan)[0] == 0
    plan.write_bytes(plan.read_bytes().replace(b"loss", b"l0ss"))
    assert "was changed" in refusal(command("--model", base, *ATTACKS, "--preregistered", plan))


def test_a_plan_that_was_changed_or_exists_is_refused(base, command, folder, tmp_path):
    plan = tmp_path / "plan.json"
    assert command(*ATTACKS, "--preregister", plan)[0] == 0
    few = ("--attacks", "loss", "--pass-below", "auc=0.52", "--preregister", tmp_path / "few.json")
    assert "are too few; a model that leaks nothing would pass" in refusal(command(*few))
    assert not (tmp_path / "few.json").exists()
    assert "already exists" in refusal(command(*ATTACKS, "--preregister", plan))
    assert "cannot be written" in refusal(command(*ATTACKS, "--preregister", tmp_path / ("p" * 300)))
    assert "cannot be written" in refusal(command("--model", base, "-o", tmp_path / ("p" * 300)))
    assert "cannot be combined" in refusal(command("--preregister", tmp_path / "b", "--preregistered", plan))
    plan.write_text(plan.read_text().replace('"loss"', '"Loss"'))
    words = ("--model", base, "--preregistered")
    assert "was changed after it was written" in refusal(command(*words, plan))
    assert "is not a preregistration" in refusal(command(*words, folder / MANIFEST))
    assert "does not exist. Name the file of byheart audit --preregister." in refusal(
        command(*words, tmp_path / "none")
    )


def test_two_models_are_compared_in_pairs_on_the_same_texts(folder, saved, base, command, typed, tmp_path):
    assert command("--model", saved / "lora", "--attacks", "loss,min_k,zlib_ratio", "-o", tmp_path / "lora")[0] == 0
    found = compare_folders(folder, tmp_path / "lora")
    audits = read_audit(folder), read_audit(tmp_path / "lora")
    expected = auc_difference(*(a.scores[1]["loss"] for a in reversed(audits)), *audits[0].record_labels)
    loss = next(a for a in found.attacks if a.attack == "loss")
    assert loss.difference == expected
    assert loss.p_value >= expected.p_value
    assert loss.is_shown
    assert found.left_out == {"zlib_ratio": f"ran only in {tmp_path / 'lora'}"}
    code, out, _ = typed("compare", folder, tmp_path / "lora")
    assert code == 0
    assert out.startswith("difference shown: ")
    assert "loss falls from AUC " in out
    assert json.loads(typed("compare", folder, tmp_path / "lora", "--json")[1])["left_out"] == dict(found.left_out)


def test_the_same_model_again_is_not_shown_to_differ(folder, saved, base, command, tmp_path):
    words = ("--model", saved / "full", "--base", base, *ATTACKS, "--max-tokens", "100")
    assert command(*words, "-o", tmp_path / "again")[0] == 0
    found = compare_folders(folder, tmp_path / "again")
    assert not any(a.is_shown for a in found.attacks)
    assert all(a.rank_correlation == pytest.approx(1) for a in found.attacks)
    assert found.sentence == "no difference: every attack has identical scores in both audits"
    rescaled = found._replace(attacks=tuple(a._replace(is_identical=False) for a in found.attacks))
    assert rescaled.sentence == "no difference shown: every attack ranks the texts in the same order in both audits"
    assert found.warnings == ("max_tokens is 512 in the first audit and 100 in the second",)


def test_an_audit_compared_with_itself_has_identical_scores(folder, typed):
    found = compare_folders(folder, folder)
    assert found.sentence == "no difference: every attack has identical scores in both audits"
    assert all(a.is_identical for a in found.attacks)
    assert typed("compare", folder, folder)[1].count("identical scores ") == 1 + len(found.attacks)


def test_audits_of_other_texts_are_refused(folder, saved, base, files, command, typed, tmp_path):
    records(files / "some.jsonl", [{"id": f"m-{i}", "text": t} for i, t in enumerate(MEMBERS[:31])])
    words = ("--model", saved / "full", "--base", base, *ATTACKS)
    command(*words, "-o", tmp_path / "other", members="some.jsonl")
    assert "the member texts differ (hashes" in refusal(typed("compare", folder, tmp_path / "other"))
    command(*words, "--max-texts", "30", "-o", tmp_path / "sample")
    assert "the audited samples of the same files differ" in refusal(typed("compare", folder, tmp_path / "sample"))
    command("--model", saved / "full", "--attacks", "zlib_ratio", "-o", tmp_path / "zlib")
    assert "no attack ran in both" in refusal(typed("compare", folder, tmp_path / "zlib"))
    command(*words, "--max-texts", "15", "-o", tmp_path / "few")
    assert "too few to compare" in refusal(typed("compare", tmp_path / "few", tmp_path / "few"))
    assert "is not the folder of an audit" in refusal(typed("compare", folder, tmp_path))


def test_scores_are_read_back_as_they_were_written(folder):
    audit = read_audit(folder)
    assert set(audit.scores[0]) == set(audit.scores[1]) == {"loss", "min_k"}
    assert audit.ids[0] == "member/m-0"
    assert int(audit.record_labels.membership.sum()) == len(MEMBERS)
    assert np.isfinite(audit.scores[1]["loss"]).all()
