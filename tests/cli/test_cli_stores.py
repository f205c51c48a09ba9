"""Stores that are damaged, full or not stores: one line with the fix, and every other result stays."""

import errno
import json
import re
import shutil

import pytest

from byheart.core.errors import StoreError
from byheart.store.rows import study_rows
from byheart.store.store import Store


def test_a_folder_that_is_not_a_store_raises_an_error(refused, study, tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    for place in (file, file / "below"):
        assert re.search(r"Not a directory.*--store", refused("run", study(), "--store", place))
    assert file.read_text() == "in the way"
    for command in ("rows", "report"):
        assert refused(command, "--store", file) == (
            f"byheart: store {file}: this is a file. Unpack a packed study: mkdir FOLDER && tar -xf {file} -C FOLDER"
        )
        line = refused(command, "--store", tmp_path / "nowhere")
        assert f"store {tmp_path / 'nowhere'}" in line
        assert "byheart run STUDY.yaml --store" in line
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("content", [b'{"format": "x"}', b"[1", b"{}", b"\xff\xfe", b"3"])
def test_a_store_with_an_unknown_label_raises_an_error(refused, store, content):
    (store / "store.json").write_bytes(content)
    assert re.search(r"store\.json.*--store", refused("rows", "--store", store))


def test_a_store_of_a_newer_version_raises_an_error(refused, store, study):
    (store / "store.json").write_text('{"format": 99}')
    for words in (["rows"], ["report"], ["run", study()]):
        assert re.search(r"format 99\b.*\b1\b", refused(*words, "--store", store))


def test_rows_and_report_of_a_missing_study_raise_an_error(refused, store, tmp_path):
    Store.open(tmp_path / "empty")
    for command in ("rows", "report"):
        assert "byheart run" in refused(command, "--store", tmp_path / "empty")
        assert re.search("'tiyn'.*'tiny'", refused(command, "--store", store, "--study", "tiyn"))


def test_a_report_that_cannot_be_written_raises_an_error(typed, refused, store, tmp_path, monkeypatch):
    monkeypatch.setattr("byheart.report.page.report", lambda *_, **__: "a page")  # pictures are tested elsewhere
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path, tmp_path / "file" / "r.html", "/proc/nowhere/r.html"):
        assert str(place) in refused("report", "--store", store, "-o", place)
    code, _, err = typed("report", "--store", store, "-o", tmp_path / "r.html", "--export", tmp_path / "file")
    assert code == 2
    assert re.fullmatch(rf"byheart: .*{tmp_path / 'file'}.*File exists.*\n", err)


def test_a_changed_default_is_reported_and_other_results_remain(failed, study, store):
    place = next((store / "scores").glob("*/recipe.json"))
    kept = json.loads(place.read_text())
    kept["recipe"]["attack"]["settings"]["power"] = 2
    del kept["crc32"]
    place.write_text(json.dumps(kept))
    shutil.rmtree(store / "rows")
    line = failed("run", study(), "--store", store)
    assert re.search(r"attack\.settings\.power.*\b2\b.*\bNone\b", line)
    assert str(place.parent) in line


DAMAGED = {
    "rows.json": ("rows/*/rows.json", ["rows"]),
    "studies": ("studies/*.json", ["rows"]),
    "scores": ("scores/*/arrays.npz", ["report"]),
    "made": ("rows/*/recipe.json", ["report"]),
    "split": ("splits/*/split.json", ["plan"]),
    "split recipe": ("splits/*/recipe.json", ["plan"]),
}


@pytest.mark.parametrize("size", ["half", "nothing"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_result_is_named_with_the_fix(refused, study, store, tmp_path, name, size):
    pattern, command = DAMAGED[name]
    places = list(store.glob(pattern))
    for place in places:
        place.write_bytes(place.read_bytes()[: len(place.read_bytes()) // 2] if size == "half" else b"")
    words = {"plan": [study()], "report": ["-o", tmp_path / "r.html"]}.get(command[0], [])
    line = refused(*command, *words, "--store", store)
    named = {str(p if name == "studies" else p.parent) for p in places}
    assert any(f"{n} is damaged" in line for n in named), line


@pytest.mark.parametrize(
    "pattern", ["evidence/*/arrays.npz", "tokens/*/cut.json", "training/*/facts.json", "rows/*/rows.json"]
)
def test_a_damaged_result_fails_the_cell_and_the_fix_works(typed, failed, study, store, pattern):
    before = study_rows(Store.open(store))
    if not pattern.startswith("rows"):
        shutil.rmtree(store / "rows")
        shutil.rmtree(store / "scores")
    for place in store.glob(pattern):
        place.write_bytes(place.read_bytes()[:-5])
    reported = [failed("run", study(), "--store", store)]
    while "is damaged" in reported[-1] and len(reported) < 9:
        shutil.rmtree(re.search(r"(\S+) is damaged", reported[-1])[1])
        code, _, err = typed("run", study(), "--store", store)
        reported.append(err)
    assert code == 0, reported
    clock = "seconds"  # recomputed results have other times
    after = study_rows(Store.open(store))
    assert [r for r in after if r.metric != clock] == [r for r in before if r.metric != clock]


def test_a_damaged_state_is_named(study, tmp_path, tiny_folder):
    import byheart as package
    from byheart.study import plan
    from byheart.study.checkpoints import latest_state
    from byheart.study.study_file import read_study

    store = Store.open(tmp_path / "st")
    planned = plan.plan(read_study(study(training={"epochs": 3})), store)[0]
    store.get_or_make(
        "states", f"{planned.key}-1", {}, lambda f: (f / "state.safetensors").write_bytes(b"\x10" + b"\0" * 7 + b"x")
    )
    with pytest.raises(StoreError, match=rf"states/{planned.key}-1 is damaged"):
        latest_state(planned, store, until=3)
    assert package.run(read_study(study()), store=store).rows


@pytest.mark.parametrize(
    "fault",
    [
        lambda: OSError(errno.ENOSPC, "No space left on device"),
        lambda: OSError(errno.EDQUOT, "Disk quota exceeded"),
        lambda: pytest.importorskip("safetensors").SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_gives_one_line_and_the_run_can_resume(typed, failed, study, tmp_path, monkeypatch, fault):
    def full(*_arguments, **_named):
        raise fault()

    with monkeypatch.context() as broken:
        broken.setattr("byheart.study.train_and_observe.write_weights", full)
        line = failed("run", study(), "--store", tmp_path / "st")
    assert "disk is full" in line
    assert list((tmp_path / "st" / "evidence").iterdir())
    assert typed("run", study(), "--store", tmp_path / "st")[0] == 0


def test_a_full_disk_before_or_after_the_cells_gives_one_line(refused, store, monkeypatch, tmp_path, study):
    def full(*_arguments, **_named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("byheart.store.store.write_json", full)
    assert "No space left on device" in refused("run", study(), "--store", tmp_path / "st")
    code = "disk is full"
    with pytest.raises(StoreError, match=code):
        Store.open(store).note("studies", "x", {})
    monkeypatch.setattr("byheart.analysis.formats.rows_csv", full)
    assert code in refused("rows", "--store", store, "--format", "csv")


def test_a_read_only_store_gives_one_line(monkeypatch, store):
    def closed(*_arguments, **_named):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("byheart.store.store.write_json", closed)
    with pytest.raises(StoreError, match=r"Read-only file system.*--store"):
        Store.open(store).get_or_make("scores", "k", {}, lambda _: None)
