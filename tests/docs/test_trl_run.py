"""Results in packed folders verify, and the page of the TRL run has the numbers of its folders."""

import csv
import json
import tarfile

import pytest

from byheart.analysis import formats
from byheart.auditing.audit_differences import compare_folders, differences_table
from byheart.auditing.saved import read_audit
from byheart.auditing.summary import audit_summary
from byheart.auditing.verify import verify_folder
from byheart.store.seal import read_sealed
from testing.doc_pages import DOCS, table

RUN = DOCS / "results" / "trl"
PAGE = DOCS / "results" / "trl.md"
MANIFESTS = {
    "audit": "manifest",
    "audit_merged": "manifest",
    "audit_base": "base_manifest",
    "audit_lora": "private_manifest",
    "audit_dp_lora": "private_manifest",
}
PLANS = {name: manifest.replace("manifest", "plan") for name, manifest in MANIFESTS.items()}
WITH_ALL_TABLES = ("audit", "audit_lora", "audit_dp_lora")
COMPARED = (("audit", "audit_merged"), ("audit_lora", "audit_dp_lora"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The unpacked audits."""
    made = tmp_path_factory.mktemp("trl")
    with tarfile.open(RUN / "audits.tar.xz") as archive:
        archive.extractall(made, filter="data")
    assert sorted(p.name for p in made.iterdir()) == sorted(MANIFESTS)
    return made


def lines(table):
    """The lines of a table with numbers, as Markdown."""
    return [" ".join(line.split()) for line in formats.as_markdown(table).splitlines() if line.startswith("|")][2:]


def page_lines():
    return {" ".join(line.split()) for line in PAGE.read_text().splitlines()}


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_folders_are_as_they_were_written(folder, name):
    result = verify_folder(folder / name, {"canaries": str(RUN / f"{MANIFESTS[name]}.json")})
    assert result.differences == ()


def test_the_tables_of_the_page_are_those_of_the_folders(folder):
    shown = page_lines()
    for name in WITH_ALL_TABLES:
        for part in audit_summary(folder / name).tables:
            if part.title != "Preregistration":
                assert set(lines(part)) <= shown, (name, part.title)
    (bound,) = [t for t in audit_summary(folder / "audit_base").tables if t.title == "Bounds to pass"]
    assert set(lines(bound)) <= shown
    for first, second in COMPARED:
        difference = compare_folders(folder / first, folder / second)
        assert set(lines(differences_table(difference))) <= shown
        assert difference.sentence in PAGE.read_text()


def test_the_plan_came_first_and_was_followed(folder):
    page = PAGE.read_text()
    for manifest in ("manifest", "private_manifest"):
        canaries = json.loads((RUN / f"{manifest}.json").read_text())
        assert f"SHA-256 {canaries['sha256'][:16]}" in page
        included = sum(c["included"] for c in canaries["canaries"])
        assert f"{included} of {len(canaries['canaries'])} canaries" in page
    for name in MANIFESTS:
        is_shown = name in ("audit_base", "audit_dp_lora")
        audit, plan = read_audit(folder / name), read_sealed(RUN / f"{PLANS[name]}.json")
        assert plan["plan"]["pass_below"] == ["auc=0.7"]
        assert audit.manifest["preregistration"]["seal"] == plan["seal"]
        assert audit.manifest["preregistration"]["at"] < audit.provenance["at"]
        assert not audit.manifest["preregistration"]["deviations"]
        assert [b["is_shown"] for b in audit.manifest["bounds"]] == [is_shown]
        assert f"seal {plan['seal'][:16]}" in page or name == "audit_base"
    assert [read_audit(folder / name).manifest["verdict"] for name in ("audit", "audit_lora")] == ["leaks", "leaks"]


def test_perplexity_and_epsilon_of_the_page_are_those_of_the_rows():
    rows = list(csv.DictReader((RUN / "private_rows.csv").open()))
    stated = {r[0]: r[1:] for r in table(PAGE, "results: private")}
    assert len(stated) == 2
    for method, cells in stated.items():
        own = [r for r in rows if r["method"] == method.strip("`")]
        numbers = {(r["metric"], r["epoch"]): float(r["value"]) for r in own}
        spent = numbers.get(("accountant_epsilon", "2"))
        wanted = [f"{numbers['perplexity', epoch]:.2f}" for epoch in ("0", "2")]
        assert list(cells) == [*wanted, "no bound" if spent is None else f"{spent:.2f}"]


def test_the_packed_study_is_as_it_was_packed(tmp_path):
    with tarfile.open(DOCS / "results" / "attacks" / "study.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    result = verify_folder(tmp_path, {})
    assert result.differences == ()
    assert len(result.seal) == 64
