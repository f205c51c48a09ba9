"""The command line as a person types it: every mistake is one line and an exit code, and nothing is lost by it."""

import csv
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from byheart.cli.main import app, main
from byheart.core import registry
from byheart.core.errors import StoreError
from byheart.store.rows import study_rows
from byheart.store.store import Store

DATA = {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60}
COMMANDS = tuple(c.name or c.callback.__name__ for c in app.registered_commands)
THEIRS = """
import time
import numpy as np
from byheart.core.types import Estimate
def fails(target):
    raise ValueError("no such\\nluck")
def fails_inside(target):
    return np.zeros(3)[7]
def nan(target):
    return np.full(len(target), np.nan)
def short(target):
    return np.zeros(len(target) - 1)
def words(target):
    return ["a"] * len(target)
def nothing(target):
    return None
def slow(target):
    time.sleep(60)
def dies(target):
    import os; os._exit(9)
def asks(for_what_is_not_there):
    return None
def unmeasured(scores, membership):
    return Estimate(float("nan"))
class NoFunction: pass
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """Somebody else's module `theirs`, importable here and in what is started from here."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "theirs.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"), prepend=os.pathsep)
    yield
    sys.modules.pop("theirs", None)


@pytest.fixture
def typed(monkeypatch, capfdbinary):
    """A function from what is typed to exit code, output and errors, in this process."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["byheart", *map(str, words)])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfdbinary.readouterr()
        return ended.value.code, out.decode("utf-8", "surrogateescape"), err.decode()

    return run


@pytest.fixture
def refused(typed):
    """A function from what is typed to its one line of refusal; fails for a traceback, a second line, another code."""

    def run(*words, code=2):
        ended, out, err = typed(*words)
        assert ended == code, err
        assert "Traceback" not in err
        assert not out
        assert err.count("\n") == 1, err
        assert err.startswith("byheart: ")
        return err.strip()

    return run


@pytest.fixture
def failed(typed):
    """A function from what is typed to the one line that tells the failed cell."""

    def run(*words):
        code, _, err = typed(*words)
        assert code == 1, err
        assert "Traceback" not in err
        lines = [line for line in err.splitlines() if line.startswith("failed")]
        assert len(lines) == 1, err
        assert err.rstrip().endswith(lines[0]), "nothing follows"
        return lines[0]

    return run


def content(folder):
    return {
        "name": "tiny",
        "models": str(folder),
        "datasets": [{"records": {"count": 60}}],
        "data": DATA,
        "methods": ["head"],
        "training": {"epochs": 1, "batch_size": 4},
        "attacks": ["loss"],
        "metrics": ["auc", "perplexity"],
    }


@pytest.fixture
def study(tiny_folder, tmp_path):
    """A function from changes to the path of a tiny study's file."""

    def write(**changes):
        place = tmp_path / "tiny.yaml"
        place.write_text(json.dumps({**content(tiny_folder("llama")), **changes}))
        return place

    return write


@pytest.fixture(scope="module")
def finished(tiny_folder, tmp_path_factory):
    """The store of a finished study, to be copied before it is touched."""
    import byheart

    store = tmp_path_factory.mktemp("finished") / "store"
    assert not byheart.run(content(tiny_folder("llama")), store=store).failed
    return store


@pytest.fixture
def store(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "store")


def byheart(*words, **how):
    command = [sys.executable, "-m", "byheart", *map(str, words)]

    def heed() -> None:
        # A shell starts what runs in its background deaf to Ctrl-C, and children inherit that: these must hear it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed, **how)  # noqa: PLW1509 - no threads here


# Help


def test_help_lists_every_command_and_each_explains_itself(typed):
    code, listed, _ = typed("--help")
    assert code == 0
    assert typed()[:2] == (0, listed)
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", listed)
        code, told, _ = typed(command, "--help")
        assert code == 0
        assert "Usage" in told
        assert len(told.splitlines()) > 8
    assert {"run", "plan", "rows", "report", "shelf"} <= set(COMMANDS)


@pytest.mark.parametrize("name", [(s, n) for s in registry.SHELVES for n in registry.entry_names(s)], ids="/".join)
def test_every_shelf_entry_is_explained(typed, name):
    code, told, err = typed("shelf", *name)
    assert (code, err) == (0, "")
    assert told.startswith(f"{name[0]}/{name[1]}: ")
    function = registry.load_function(*name)
    for setting in registry.default_settings(function):
        assert re.search(rf"^  {setting}: \S.* = .*$", told, re.MULTILINE), setting
    assert "Source:" in told


def test_shelves_are_listed(typed):
    code, told, _ = typed("shelf")
    assert code == 0
    assert [line.split()[0] for line in told.splitlines()] == list(registry.SHELVES)
    for name in registry.SHELVES:
        listed = typed("shelf", name)[1]
        assert [line.split()[0] for line in listed.splitlines()] == list(registry.entry_names(name))


# What is typed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean 'run'?; see byheart --help"),
        (["run"], "Missing argument 'STUDY.yaml'; see byheart run --help"),
        (["run", "x.yaml", "--stroe", "y"], "No such option: --stroe"),
        (["run", "x.yaml", "--workers", "0"], "'--workers'"),
        (["run", "x.yaml", "--workers", "many"], "'--workers'"),
        (["rows", "--format", "xml"], "'table', 'csv', 'json', 'parquet', 'markdown', 'latex'"),
        (["shelf", "nonsense"], "shelf 'nonsense' is not known; choices: attacks, datasets"),
        (["shelf", "atacks"], "did you mean 'attacks'?"),
        (["shelf", "attacks", "los"], "attacks entry 'los' is not known; did you mean 'loss'? choices: "),
        (["shelf", "attacks", "nowhere.at_all:f"], "module:function; No module named"),
        (["shelf", "attacks", ":"], "module:function"),
        (["shelf", "attacks", ".x:y"], "module:function"),
    ],
)
def test_a_mistyped_command_is_one_line(refused, words, told):
    assert told in refused(*words)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"attacks": ["los"]}, "did you mean 'loss'? choices: "),
        ({"methods": [{"lora": {"rnk": 3}}]}, "setting of methods lora 'rnk' is not known; did you mean 'rank'?"),
        ({"training": {"epochs": "many"}}, "training.epochs = 'many': input should be a valid integer"),
        ({"models": 3}, "models = 3: input should be a valid string"),
        ({"data": [1]}, "data: write settings, such as data: {train: 1000}, not [1]"),
        ({"scoring": [1]}, "scoring: write settings"),
        ({"machine": 3}, "machine: write settings"),
        ({"machine": {"device": "banana"}}, "machine.device = 'banana': write auto, cpu, cuda or cuda:1"),
        ({"tables": ["nope"]}, "tables entry 'nope' is not known; choices: "),
        ({"datasets": [{"records": {"count": 20}}]}, "but there are 20 in 20 groups"),
        ({"data": {**DATA, "members": 13}}, "data.members = 13: only 12 texts are trained on"),
    ],
)
def test_a_wrong_study_is_refused_before_any_work(refused, study, tmp_path, changes, told):
    for command in ("plan", "run"):
        assert told in refused(command, study(**changes), "--store", tmp_path / "st")
    assert not (tmp_path / "st" / "training").exists()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("training: {learning_rate: .inf}", "only finite numbers"),
        ("training: {weight_decay: .nan}", "training.weight_decay = nan"),
        ("methods: [{lora: {alpha: .inf}}]", "only finite numbers"),
        ("data: &a {train: *a}", "data.train"),
        ("name: 2024-01-01", "name = "),
        ("data: !!python/object:os.system {}", "could not determine a constructor"),
        ("name: [unclosed", "line 1"),
        ("", "is not a mapping"),
        ("name: a\n---\nname: b", "but found another document"),
    ],
)
def test_a_study_file_that_makes_no_sense(refused, tmp_path, written, told):
    place = tmp_path / "odd.yaml"
    place.write_text(written)
    line = refused("plan", place, "--store", tmp_path / "st")
    assert told in line
    assert str(place) in line


def test_a_study_that_is_no_file(refused, tmp_path):
    assert "No such file or directory; name a study file such as" in refused("run", tmp_path / "no.yaml")
    assert "Is a directory; name a study file such as" in refused("run", tmp_path)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("nonsense", "--set nonsense: write --set key=value"),
        ("training.epochs=[1", "--set training.epochs=[1: '[1' is no value"),
        ("training.epochs.x=1", "'epochs' holds no settings"),
        ("trainng.epochs=1", "did you mean 'training'?"),
        ("training.epoch=1", "did you mean 'epochs'?"),
        ("machine.device=banana", "write auto, cpu, cuda or cuda:1"),
    ],
)
def test_an_override_that_makes_no_sense(refused, study, tmp_path, override, told):
    assert told in refused("plan", study(), "--store", tmp_path / "st", "--set", override)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused_before_training(
    refused, typed, study, store, tmp_path, monkeypatch, device
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for words in (("run", study(), "--device", device), ("plan", study(), "--set", f"machine.device={device}")):
        line = refused(*words, "--store", tmp_path / "st")
        assert line == f"byheart: machine.device = {device!r}: torch finds 0 GPUs on this machine; write auto or cpu"
        assert not (tmp_path / "st" / "studies").exists()
        assert typed(*words, "--store", store)[0] == 0, "nothing is left that would need it"


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_plan_for_any_machine_asks_torch_for_no_device(typed, study, tmp_path, monkeypatch, device):
    monkeypatch.setattr("byheart.study.estimate.device", lambda _: pytest.fail("torch was asked"))
    assert typed("plan", study(), "--store", tmp_path / "st", "--set", f"machine.device={device}")[0] == 0


# Texts


def lines(count=60, last=b""):
    sentences = [{"text": f"The {n} sailor wrote {n * n} letters to {n + 7} queens."} for n in range(count)]
    return "".join(json.dumps(s) + "\n" for s in sentences).encode() + last


def parts(name_of):
    sentence = "The {0} sailor wrote {0} letters to the queen of {0}."
    rows = [{"text": sentence.format(n % 12), "split": name_of(n)} for n in range(60)]
    return "".join(json.dumps(r) + "\n" for r in rows).encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "texts.jsonl cannot be read (No such file or directory"),
        (lines(last=b'{"text": "caf\xe9"}\n'), "texts.jsonl line 61 is not UTF-8"),
        (lines(last=b'{"text": \n'), "texts.jsonl line 61 is not JSON"),
        (lines(last=b'{"txt": "a"}\n'), "texts.jsonl line 61 has no field 'text'; its fields: txt"),
        (lines(last=b'{"text": " "}\n'), "texts.jsonl line 61: 'text' is empty"),
        (b"", "texts.jsonl holds no texts"),
        (lines(9), "asked for 12 training, 12 non-member and 6 validation texts, but there are 9"),
        (b'{"text": "again and again"}\n' * 60, "there are 1 in 1 groups (59 copies taken out)"),
    ],
)
def test_texts_that_will_not_do_are_refused_with_their_line(refused, study, tmp_path, content, told):
    place = tmp_path / "texts.jsonl"
    if content is not None:
        place.write_bytes(content)
    datasets = [{"files": {"path": str(place)}}]
    assert told in refused("plan", study(datasets=datasets), "--store", tmp_path / "st")


@pytest.mark.parametrize(
    ("name_of", "told"),
    [
        (lambda _: "train", "nonmembers: the data set publishes no texts for it"),
        (lambda n: ("train", "test", "validation")[n // 20], "copies taken out"),
        (lambda _: "tests", "choices: train, test, validation"),
    ],
)
def test_published_parts_that_are_empty_or_overlap_are_refused(refused, study, tmp_path, name_of, told):
    (tmp_path / "parts.jsonl").write_bytes(parts(name_of))
    datasets = [{"files": {"path": str(tmp_path / "parts.jsonl"), "split": "split"}}]
    place = study(datasets=datasets, data={**DATA, "split": "published"})
    assert told in refused("plan", place, "--store", tmp_path / "st")


def test_texts_longer_than_the_context_fail_before_anything_is_computed(failed, study, tiny_folder, tmp_path):
    """GPT-2 has 128 positions: reading on would end in an index error."""
    (tmp_path / "long.jsonl").write_bytes(
        b"".join(json.dumps({"text": f"Number {n} of many. " * 60}).encode() + b"\n" for n in range(60))
    )
    datasets = [{"files": {"path": str(tmp_path / "long.jsonl")}}]
    place = study(datasets=datasets, data={**DATA, "max_tokens": 500}, models=str(tiny_folder("gpt2")))
    assert "set data.max_tokens to 128 or fewer" in failed("run", place, "--store", tmp_path / "st")
    assert not (tmp_path / "st" / "evidence").exists()


# Models


@pytest.mark.parametrize("command", ["plan", "run"])
def test_one_wrong_model_among_several_is_refused_before_any_is_trained(refused, study, tiny_folder, tmp_path, command):
    broken = shutil.copytree(tiny_folder("llama"), tmp_path / "broken")
    good = str(tiny_folder("llama"))
    st = tmp_path / "st"
    assert "does not exist" in refused(command, study(models=[good, str(tmp_path / "no")]), "--store", st)
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    assert "pickled" in refused(command, study(models=[good, str(broken)]), "--store", st)
    (broken / "pytorch_model.bin").rename(broken / "model.safetensors")
    (broken / "config.json").write_text('{"model_type": "bert"}')
    assert "not a causal language model" in refused(command, study(models=[good, str(broken)]), "--store", st)
    assert "the Hub did not give it" in refused(command, study(models=[good, "nobody/nothing"]), "--store", st)
    assert not (st / "studies").exists()


# Stores and places to write to


def test_a_store_that_is_no_store(refused, study, tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    for place in (file, file / "below"):
        assert "cannot be written (Not a directory); choose another with --store" in refused(
            "run", study(), "--store", place
        )
    assert file.read_text() == "in the way"
    for command in ("rows", "report"):
        assert f"{file} is a file; unpack a packed study first: mkdir FOLDER && tar -xf" in refused(
            command, "--store", file
        )
        line = refused(command, "--store", tmp_path / "nowhere")
        assert f"store {tmp_path / 'nowhere'} does not exist; make one with: byheart run STUDY.yaml --store" in line
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("content", [b'{"format": "x"}', b"[1", b"{}", b"\xff\xfe", b"3"])
def test_a_store_whose_label_is_not_ours(refused, store, content):
    (store / "store.json").write_bytes(content)
    assert "store.json is not one of byheart's; choose another folder with --store" in refused("rows", "--store", store)


def test_a_store_of_a_newer_version(refused, store, study):
    (store / "store.json").write_text('{"format": 99}')
    for words in (["rows"], ["report"], ["run", study()]):
        assert "has format 99, this byheart reads up to 1; update byheart" in refused(*words, "--store", store)


def test_rows_and_report_of_what_is_not_there(refused, store, tmp_path):
    Store.open(tmp_path / "empty")
    for command in ("rows", "report"):
        assert "holds no study yet; make one with: byheart run" in refused(command, "--store", tmp_path / "empty")
        assert "study 'tiyn' is not known; did you mean 'tiny'?" in refused(
            command, "--store", store, "--study", "tiyn"
        )


def test_a_report_that_cannot_be_written(typed, refused, store, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path, tmp_path / "file" / "r.html", "/proc/nowhere/r.html"):
        assert "cannot be written" in refused("report", "--store", store, "-o", place)
    code, _, err = typed("report", "--store", store, "-o", tmp_path / "r.html", "--export", tmp_path / "file")
    assert code == 2
    assert err == f"byheart: folder {tmp_path / 'file'} cannot be written (File exists); choose another place\n"


def test_a_changed_default_is_told_and_the_rest_is_kept(failed, study, store):
    place = next((store / "scores").glob("*/recipe.json"))
    kept = json.loads(place.read_text())
    kept["recipe"]["attack"]["settings"]["power"] = 2
    place.write_text(json.dumps(kept))
    shutil.rmtree(store / "rows")
    line = failed("run", study(), "--store", store)
    assert "was made with another default: attack.settings.power is 2 there and None here" in line
    assert f"or remove {place.parent}" in line


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
def test_a_damaged_result_is_named_with_the_mend(refused, study, store, tmp_path, name, size):
    pattern, command = DAMAGED[name]
    places = list(store.glob(pattern))
    for place in places:
        place.write_bytes(place.read_bytes()[: len(place.read_bytes()) // 2] if size == "half" else b"")
    words = {"plan": [study()], "report": ["-o", tmp_path / "r.html"]}.get(command[0], [])
    line = refused(*command, *words, "--store", store)
    named = {str(p if name == "studies" else p.parent) for p in places}
    assert any(f"store: {n} is damaged (" in line for n in named), line
    assert line.endswith("; remove it and run again, all else is kept")


@pytest.mark.parametrize(
    "pattern", ["evidence/*/arrays.npz", "tokens/*/cut.json", "training/*/facts.json", "rows/*/rows.json"]
)
def test_a_damaged_result_fails_the_cell_and_the_mend_works(typed, failed, study, store, pattern):
    before = study_rows(Store.open(store))
    if not pattern.startswith("rows"):
        shutil.rmtree(store / "rows")
        shutil.rmtree(store / "scores")
    for place in store.glob(pattern):
        place.write_bytes(place.read_bytes()[:-5])
    told = [failed("run", study(), "--store", store)]
    while "is damaged (" in told[-1] and len(told) < 9:
        shutil.rmtree(re.search(r"store: (\S+) is damaged", told[-1])[1])
        code, _, err = typed("run", study(), "--store", store)
        told.append(err)
    assert code == 0, told
    clock = "seconds"  # what is made anew takes its own time
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
    with pytest.raises(StoreError, match=rf"states/{planned.key}-1 is damaged .*; remove it and run again"):
        latest_state(planned, store, before=3)
    assert package.run(read_study(study()), store=store).rows


@pytest.mark.parametrize(
    "fault",
    [
        lambda: OSError(errno.ENOSPC, "No space left on device"),
        lambda: OSError(errno.EDQUOT, "Disk quota exceeded"),
        lambda: pytest.importorskip("safetensors").SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_line_and_the_run_goes_on_from_there(typed, failed, study, tmp_path, monkeypatch, fault):
    def full(*_arguments, **_named):
        raise fault()

    with monkeypatch.context() as broken:
        broken.setattr("byheart.study.train_and_observe.write_weights", full)
        line = failed("run", study(), "--store", tmp_path / "st")
    assert "the disk is full; free some space and run again, whole results are kept" in line
    assert list((tmp_path / "st" / "evidence").iterdir())
    assert typed("run", study(), "--store", tmp_path / "st")[0] == 0


def test_a_disk_that_is_full_before_or_after_the_cells(refused, store, monkeypatch, tmp_path, study):
    def full(*_arguments, **_named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("byheart.store.store._write_json", full)
    assert "cannot be written (No space left on device)" in refused("run", study(), "--store", tmp_path / "st")
    code = "the disk is full; free some space and run again"
    with pytest.raises(StoreError, match=code):
        Store.open(store).note("studies", "x", {})
    monkeypatch.setattr("byheart.analysis.formats.rows_csv", full)
    assert code in refused("rows", "--store", store, "--format", "csv")


def test_a_store_that_may_not_be_written_is_told(monkeypatch, store):
    def closed(*_arguments, **_named):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("byheart.store.store._write_json", closed)
    with pytest.raises(StoreError, match=r"cannot be written \(Read-only file system\); choose another with --store"):
        Store.open(store).get_or_make("scores", "k", {}, lambda _: None)


# Somebody else's code


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        ("fails", "attacks theirs:fails failed in theirs.py line 6: ValueError: no such luck"),
        ("fails_inside", "attacks theirs:fails_inside failed in theirs.py line 8: IndexError: index 7"),
        ("nan", "attacks theirs:nan must give finite scores; 22 of 22 are NaN or infinite"),
        ("short", "attacks theirs:short must give 22 scores, one a text; it gave shape (21,)"),
        ("words", "attacks theirs:words must give 22 scores, one a text; it gave no numbers"),
        ("nothing", "attacks theirs:nothing must give 22 scores"),
    ],
)
def test_a_foreign_attack_that_fails_is_one_line(theirs, failed, study, store, attack, told):
    line = failed("run", study(attacks=["loss", f"theirs:{attack}"]), "--store", store)
    assert told in line
    assert list((store / "rows").iterdir()), "what was there stays"


def test_a_foreign_metric_without_a_number_is_one_line(theirs, failed, study, store):
    line = failed("run", study(metrics=["theirs:unmeasured"]), "--store", store)
    assert "metrics theirs:unmeasured must give finite numbers; it gave nan" in line


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("theirs:absent", "has no attribute 'absent'"),
        ("theirs:NoFunction", "is a type; write the name of a function"),
        ("theirs:asks", "asks for 'for_what_is_not_there'; there are texts, "),
    ],
)
def test_foreign_code_that_cannot_be_used_is_refused_up_front(theirs, refused, study, tmp_path, name, told):
    assert told in refused("run", study(attacks=[name]), "--store", tmp_path / "st")


# What comes out


def test_rows_parse_back_in_every_format(typed, finished):
    rows = study_rows(Store.open(finished), "tiny")
    told = {f: typed("rows", "--store", finished, "--format", f) for f in ("json", "csv", "parquet")}
    assert {code for code, _, _ in told.values()} == {0}
    from_json = json.loads(told["json"][1])
    from_csv = list(csv.DictReader(io.StringIO(told["csv"][1])))
    import pyarrow.parquet

    content = told["parquet"][1].encode("utf-8", "surrogateescape")
    from_parquet = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    assert len(rows) == len(from_json) == len(from_csv) == len(from_parquet) > 10
    for row, one, two, three in zip(rows, from_json, from_csv, from_parquet, strict=True):
        for name in ("value", "low", "high", "members", "epoch"):
            expected = getattr(row, name)
            assert one[name] == three[name] == expected
            assert (float(two[name]) if two[name] else None) == expected
        assert one["metric"] == two["metric"] == three["metric"] == row.metric
    for name in ("table", "markdown", "latex"):
        code, text, _ = typed("rows", "--store", finished, "--study", "tiny", "--format", name)
        assert code == 0
        assert all(f"{r.value:.6g}" in text for r in rows)
        assert rows[-1].cell in text
        assert not any(r.scores in text for r in rows if r.scores)


def test_a_finished_study_is_planned_as_in_the_store_and_run_again_at_once(typed, study, store, monkeypatch):
    monkeypatch.setattr("byheart.study.run_cell.observe", lambda *_: pytest.fail("a model was loaded"))
    code, told, _ = typed("plan", study(), "--store", store)
    assert code == 0
    assert "in the store" in told
    assert json.loads(typed("plan", study(), "--store", store, "--json")[1])["minutes"] == 0
    code, told, err = typed("run", study(), "--store", store)
    assert code == 0
    assert "1 cell; all is in the store" in err
    assert "ROC AUC by attack and fine-tuning method" in told
    assert f"byheart rows --store {store} --study tiny" in told


def test_run_as_json_is_one_object_a_line(typed, study, tmp_path, theirs):
    place = study(seeds=[0, 1], attacks=["loss"])
    code, told, err = typed("run", place, "--store", tmp_path / "st", "--json")
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in told.splitlines()]
    assert [e["event"] for e in events if e["event"] in {"begun", "done", "closed"}] == [
        "begun",
        "done",
        "done",
        "closed",
    ]
    assert sum(len(e.get("rows", ())) for e in events) == len(study_rows(Store.open(tmp_path / "st")))
    code, told, err = typed("run", study(attacks=["theirs:nan"]), "--store", tmp_path / "st", "--json")
    assert (code, err) == (1, "")
    assert [json.loads(line)["event"] for line in told.splitlines()][-2:] == ["failed", "closed"]


# Processes


FREE = """
import importlib, pkgutil, sys
import byheart.attacks, byheart.metrics, byheart.figures, byheart.tables
for shelf in (byheart.attacks, byheart.metrics, byheart.figures, byheart.tables):
    for found in pkgutil.iter_modules(shelf.__path__):
        importlib.import_module(f"{shelf.__name__}.{found.name}")
for name in (
    "core.ragged", "core.registry", "core.types", "stats.roc_auc", "study.study_file", "store.rows", "store.store", "report.page",
    "analysis.formats", "cli.describe", "lm.base_models",
):
    importlib.import_module(f"byheart.{name}")
heavy = [m for m in ("torch", "transformers", "peft", "datasets") if m in sys.modules]
assert not heavy, heavy
from byheart.cli.main import main
for words in (["--help"], ["rows", "--store", sys.argv[1]], ["shelf", "attacks", "min_k"]):
    sys.argv[1:], kept = words, sys.argv[1:]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, ended.code
    sys.argv[1:] = kept
    heavy = [m for m in ("torch", "transformers", "peft", "datasets") if m in sys.modules]
    assert not heavy, (words, heavy)
"""


def test_rows_can_be_picked_by_what_they_say(typed, refused, finished):
    rows = study_rows(Store.open(finished), "tiny")

    def told(*words):
        code, out, _ = typed(
            "rows", "--store", finished, "--format", "json", *(w for one in words for w in ("--where", one))
        )
        assert code == 0
        return [(r["metric"], r["epoch"], r["value"]) for r in json.loads(out)]

    metrics = {"auc", "perplexity"}
    wanted = [(r.metric, r.epoch, r.value) for r in rows if r.metric in metrics and r.epoch == 1]
    assert 2 <= len(wanted) < len(rows)
    assert told("metric=auc", "epoch=1", "metric=perplexity") == wanted
    assert told("attack=", "metric=perplexity", "epoch=1") == [w for w in wanted if w[0] == "perplexity"]
    for words, why in {
        "metric": "--where metric: write --where FIELD=VALUE, for instance --where attack=loss",
        "atack=loss": "field of --where 'atack' is not known; did you mean 'attack'?",
        "epoch=99": "epoch of --where '99' is not known; choices: 0, 1",
        "metric=AUC": "metric of --where 'AUC' is not known; did you mean 'auc'?",
        "value=1": "field of --where 'value' is not known",
    }.items():
        for before in ((), ("--where", "metric=auc")):
            assert why in refused("rows", "--store", finished, *before, "--where", words)
    assert "no row has all of --where metric=perplexity --where attack=loss; leave one out" in refused(
        "rows", "--store", finished, "--where", "metric=perplexity", "--where", "attack=loss"
    )


def test_what_has_only_numbers_to_do_and_help_and_rows_load_no_torch(store):
    made = subprocess.run([sys.executable, "-c", FREE, store], capture_output=True, text=True, check=False, timeout=120)
    assert made.returncode == 0, made.stderr


def test_a_reader_who_has_seen_enough_gets_no_traceback(store):
    note = json.loads((store / "studies" / "tiny.json").read_text())
    rows = store / "rows" / note["rows"][0] / "rows.json"
    rows.write_text(json.dumps(json.loads(rows.read_text()) * 600))  # more than a pipe holds
    # Unbuffered, Python loses the end of a broken write without a word.
    buffered = {n: v for n, v in os.environ.items() if n != "PYTHONUNBUFFERED"}
    reading = byheart("rows", "--store", store, "--format", "json", env=buffered)
    assert reading.stdout.readline() == "[\n"
    reading.stdout.close()
    assert reading.wait(timeout=60) == 1
    assert reading.stderr.read() == ""


def interrupted(running):
    os.killpg(running.pid, signal.SIGINT)  # as a terminal sends it: to every process
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert err.splitlines()[-1] == "byheart: stopped; whole results are kept, run the same command to go on"
    assert "Traceback" not in err


def test_ctrl_c_leaves_one_line_and_what_was_made(theirs, study, tmp_path):
    st = tmp_path / "st"
    running = byheart("run", study(attacks=["theirs:slow"]), "--store", st, start_new_session=True)
    for line in running.stderr:
        if "epoch 1 observed: validation" in line:
            break
    time.sleep(0.3)
    interrupted(running)
    assert len(list(st.glob("evidence/*/recipe.json"))) == 4


def test_ctrl_c_ends_every_worker_whatever_it_is_at(theirs, study, tmp_path):
    place = study(attacks=["theirs:slow"], seeds=[0, 1, 2])
    running = byheart("run", place, "--store", tmp_path / "st", "--workers", "2", start_new_session=True)
    assert running.stderr.readline() == "3 cells\n"
    time.sleep(1)  # the workers are still importing
    listed = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    for child in listed.read_text().split() if listed.exists() else ():
        os.kill(int(child), signal.SIGINT)  # reaches them before the first process can end them
    time.sleep(0.5)
    interrupted(running)


def test_a_worker_that_dies_is_a_failed_cell(theirs, study, tmp_path):
    place = study(attacks=["theirs:dies"], seeds=[0, 1])
    running = byheart("run", place, "--store", tmp_path / "st", "--workers", "2")
    _, err = running.communicate(timeout=120)
    assert running.returncode == 1, err
    assert "Traceback" not in err
    assert "a worker process died" in err
