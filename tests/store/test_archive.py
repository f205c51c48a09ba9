"""A packed study is the same study on another machine, and contains no texts."""

import re
import sys

import pytest

import byheart
from byheart.auditing.verify import verify_folder
from byheart.cli.main import main
from byheart.core.errors import SettingError, StoreError, UnknownNameError
from byheart.datasets.records import records
from byheart.store.archive import pack
from byheart.store.rows import read_gates, score_reader, study_rows, validation_loss_reader
from byheart.store.store import Store
from byheart.study.study_report import report_page
from testing.doc_pages import unpacked
from testing.made_up import tiny_study


def content(folder, name, methods):
    once = {"epochs": 1, "batch_size": 4}
    return tiny_study(folder, name=name, methods=methods, training=once, attacks=["loss", "min_k"])


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    """A store with two studies."""
    store = Store.open(tmp_path_factory.mktemp("packing") / "store")
    for name, methods in (("one", ["prompt", "full"]), ("other", ["head"])):
        assert not byheart.run(content(tiny_folder("gpt2"), name, methods), store=store).failed
    return store


def page(store, study, folder):
    """The page of a study without the parts that each run of the command adds."""
    return report_page(store, study, folder / "page.html").read_text()


def test_an_unpacked_study_is_the_same_study(made, tmp_path):
    there = unpacked(pack(made, "one", tmp_path / "one.tar.xz"), tmp_path / "there")
    rows = study_rows(made, "one")
    assert study_rows(there) == rows
    here, elsewhere = score_reader(made), score_reader(there)
    for key in {r.scores for r in rows if r.scores}:
        assert elsewhere(key).ids == here(key).ids
        assert elsewhere(key).scores.tolist() == here(key).scores.tolist()
    assert read_gates(there) == read_gates(made, "one")
    kept, found = validation_loss_reader(made, "one"), validation_loss_reader(there)
    for row in (r for r in rows if r.metric == "perplexity"):
        assert found(row).nats.tolist() == kept(row).nats.tolist()


def test_the_page_of_an_unpacked_study_is_the_same(made, tmp_path):
    there = unpacked(pack(made, "one", tmp_path / "one.tar.xz"), tmp_path / "there")
    hardware = re.compile(r"(?s)<dt>hardware.*?</dd>")
    assert hardware.sub("", page(there, "one", tmp_path)) == hardware.sub("", page(made, "one", tmp_path))


def test_an_archive_contains_no_texts_tokens_or_weights(made, tmp_path):
    there = unpacked(pack(made, None, tmp_path / "all.tar.xz"), tmp_path / "there")
    assert {p.name for p in there.root.iterdir()} <= {
        "store.json", "studies", "rows", "scores", "gates", "evidence", "manifest.json", ".making",
    }  # fmt: skip
    assert {
        there.recipe("evidence", p.name)["recipe"]["observation"]["name"] for p in there.root.glob("evidence/*")
    } == {"validation"}
    everything = b"".join(p.read_bytes() for p in there.root.rglob("*") if p.is_file())
    texts = records(count=60).texts
    for stated in (*texts.scored, *(v for stored in records(count=60).attributes for v in stored.values())):
        if len(stated) > 5:
            assert stated.encode() not in everything, stated
            assert stated.encode("utf-32-le") not in everything, stated
    assert texts.ids[0].encode("utf-32-le") in everything, "ids travel, and this test would see them"


def test_one_study_of_several_and_equal_files(made, tmp_path):
    first, again = (pack(made, "other", tmp_path / name) for name in ("a.tar.xz", "b.tar.xz"))
    assert first.read_bytes() == again.read_bytes()
    there = unpacked(first, tmp_path / "there")
    assert {r.method for r in study_rows(there)} == {"head"}
    assert list(there.notes("studies")) == ["other"]
    complete = unpacked(pack(made, None, tmp_path / "c.tar.xz"), tmp_path / "whole")
    assert {r.method for r in study_rows(complete)} == {"head", "prompt", "full"}


def test_a_run_on_an_unpacked_study_trains_again(made, tiny_folder, tmp_path):
    there = unpacked(pack(made, "other", tmp_path / "other.tar.xz"), tmp_path / "there")
    wanted = {**content(tiny_folder("gpt2"), "other", ["head"]), "attacks": ["loss", "min_k", "zlib_ratio"]}
    assert not byheart.run(wanted, store=there).failed
    stored, before = (
        {r.attack: r.value for r in study_rows(s, "other") if r.metric == "auc" and r.epoch == 1} for s in (there, made)
    )
    assert stored.keys() == {"loss", "min_k", "zlib_ratio"}
    assert {n: stored[n] for n in before} == before


def test_studies_that_cannot_be_packed_are_refused_without_files(made, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'other'"):
        pack(made, "othr", tmp_path / "x.tar.xz")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"x\.tar\.xz: cannot be written .* -o"):
        pack(made, "one", tmp_path / "file" / "x.tar.xz")
    (tmp_path / "folder.tar.xz").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        pack(made, "one", tmp_path / "folder.tar.xz")
    (tmp_path / "folder.tar.xz").rmdir()
    with pytest.raises(SettingError, match=r"-o .*one\.zip.* \.tar\.xz"):
        pack(made, "one", tmp_path / "one.zip")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_command_prints_path_and_size(made, tmp_path, monkeypatch, capsys):
    words = ["byheart", "pack", "--store", str(made.root), "--study", "one", "-o", str(tmp_path / "one.tar.xz")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert str(tmp_path / "one.tar.xz") in capsys.readouterr().out


def test_an_unpacked_study_is_verified_and_one_changed_byte_is_found(made, tmp_path):
    there = unpacked(pack(made, "other", tmp_path / "a.tar.xz"), tmp_path / "there").root
    assert verify_folder(there, {}).differences == ()
    rows = next(there.glob("rows/*/rows.json"))
    rows.write_text(rows.read_text().replace("auc", "AUC", 1))
    (difference,) = verify_folder(there, {}).differences
    assert difference.startswith(f"{rows.relative_to(there)}: changed")
