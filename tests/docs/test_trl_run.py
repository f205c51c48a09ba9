"""Results in packed folders verify, and the page of the TRL run has the numbers of its folders."""

import json
import tarfile

import pytest

from byheart.analysis import formats
from byheart.auditing.audit_differences import compare_folders, differences_table
from byheart.auditing.saved import read_audit
from byheart.auditing.summary import audit_summary
from byheart.auditing.verify import verify_folder
from byheart.store.seal import read_sealed
from testing.doc_pages import DOCS

RUN = DOCS / "results" / "trl"
PAGE = DOCS / "results" / "trl.md"
MANIFESTS = {"audit": "manifest", "audit_merged": "manifest", "audit_base": "base_manifest"}
PLANS = {"audit": "plan", "audit_merged": "plan", "audit_base": "base_plan"}


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
    for table in audit_summary(folder / "audit").tables:
        if table.title != "Preregistration":
            assert set(lines(table)) <= shown, table.title
    (bound,) = [t for t in audit_summary(folder / "audit_base").tables if t.title == "Bounds to pass"]
    assert set(lines(bound)) <= shown
    difference = compare_folders(folder / "audit", folder / "audit_merged")
    assert set(lines(differences_table(difference))) <= shown
    assert difference.sentence in PAGE.read_text()


def test_the_plan_came_first_and_was_followed(folder):
    page = PAGE.read_text()
    canaries = json.loads((RUN / "manifest.json").read_text())
    assert f"SHA-256 {canaries['sha256'][:16]}" in page
    included = sum(c["included"] for c in canaries["canaries"])
    assert f"{included} of {len(canaries['canaries'])} canaries" in page
    for name, is_shown in {"audit": False, "audit_base": True, "audit_merged": False}.items():
        audit, plan = read_audit(folder / name), read_sealed(RUN / f"{PLANS[name]}.json")
        assert plan["plan"]["pass_below"] == ["auc=0.7"]
        assert audit.manifest["preregistration"]["seal"] == plan["seal"]
        assert audit.manifest["preregistration"]["at"] < audit.provenance["at"]
        assert not audit.manifest["preregistration"]["deviations"]
        assert [b["is_shown"] for b in audit.manifest["bounds"]] == [is_shown]
    assert read_audit(folder / "audit").manifest["verdict"] == "leaks"


def test_the_packed_study_is_as_it_was_packed(tmp_path):
    with tarfile.open(DOCS / "results" / "attacks" / "study.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    result = verify_folder(tmp_path, {})
    assert result.differences == ()
    assert len(result.seal) == 64
