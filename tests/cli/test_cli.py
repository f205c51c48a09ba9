"""The command line as a person types it: an error is one line and an exit code, and no result is lost."""

import csv
import dataclasses
import io
import json
import re

import pytest

from byheart.cli.audit_options import AttackOptions, EndpointOptions, ModelOptions, OutputOptions
from byheart.cli.main import app
from byheart.cli.text_options import TextOptions
from byheart.core import registry
from byheart.core.adversary import adversary_order, default_adversary_label
from byheart.store.rows import study_rows
from byheart.store.store import Store
from testing.command_line import DATA


def assert_named(named, message):
    """Fail unless the message contains the name, value or choice that it is about: a string, or several."""
    for part in (named,) if isinstance(named, str) else named:
        assert part in message


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (("report", "--pdf"), "See byheart report --help."),
        (("canaries", "plant", "a", "--count"), "See byheart canaries plant --help."),
        (("audit", "--fpr", "x"), "See byheart audit --help."),
        (("--bad",), "See byheart --help."),
    ],
)
def test_a_wrong_option_names_the_help_of_its_command(refused, words, end):
    assert refused(*words).endswith(end)


COMMANDS = tuple(c.name or c.callback.__name__ for c in app.registered_commands)


def test_help_lists_every_command_with_its_description(typed):
    code, listed, _ = typed("--help")
    assert code == 0
    assert typed()[:2] == (0, listed)
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", listed)
        code, reported, _ = typed(command, "--help")
        assert code == 0
        assert "Usage" in reported
        assert len(reported.splitlines()) > 8
    assert {"run", "plan", "rows", "report", "shelf"} <= set(COMMANDS)


def test_fields_of_option_groups_are_options_under_the_title_of_their_group(typed):
    code, text, _ = typed("audit", "--help")
    assert code == 0
    for group in (TextOptions, ModelOptions, EndpointOptions, AttackOptions, OutputOptions):
        panel = text.partition(f"─ {group.__doc__.rstrip('.')} ─")[2].partition("╰")[0]
        for field in dataclasses.fields(group):
            option = {"id_field": "id"}.get(field.name, field.name).replace("_", "-")
            assert f"--{option} " in panel, field.name


@pytest.mark.parametrize("name", [(s, n) for s in registry.SHELVES for n in registry.entry_names(s)], ids="/".join)
def test_every_shelf_entry_is_explained(typed, name):
    code, reported, err = typed("shelf", *name)
    assert (code, err) == (0, "")
    assert reported.startswith(f"{name[0]}/{name[1]}: ")
    function = registry.load_function(*name)
    for setting in registry.default_settings(function):
        assert re.search(rf"^  {setting}: \S.* = .*$", reported, re.MULTILINE), setting
    assert "Source:" in reported


def test_shelves_are_listed(typed):
    code, reported, _ = typed("shelf")
    assert code == 0
    assert [line.split()[0] for line in reported.splitlines()] == list(registry.SHELVES)
    for name in registry.SHELVES:
        listed = typed("shelf", name)[1]
        lines = [line for line in listed.splitlines() if line and not line.startswith("The adversary has ")]
        expected = list(registry.entry_names(name))
        if name == "attacks":  # the weakest adversary first
            expected.sort(key=lambda attack: adversary_order(default_adversary_label(attack)))
        assert [line.split()[0] for line in lines] == expected


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["rnu"], ("'rnu'", "'run'", "byheart --help")),
        (["run"], ("'STUDY.yaml'", "byheart run --help")),
        (["run", "x.yaml", "--stroe", "y"], "--stroe"),
        (["run", "x.yaml", "--workers", "0"], "'--workers'"),
        (["run", "x.yaml", "--workers", "many"], "'--workers'"),
        (["rows", "--format", "xml"], "'table', 'csv', 'json', 'parquet', 'markdown', 'latex'"),
        (["shelf", "nonsense"], ("'nonsense'", "attacks, datasets")),
        (["shelf", "atacks"], "'attacks'"),
        (["shelf", "attacks", "los"], ("attacks", "'los'", "'loss'")),
        (["shelf", "attacks", "nowhere.at_all:f"], ("module:function", "nowhere")),
        (["shelf", "attacks", ":"], "module:function"),
        (["shelf", "attacks", ".x:y"], "module:function"),
        (["verify", "caf\udce9"], r"'caf\udce9': is not UTF-8"),
    ],
)
def test_a_mistyped_command_gives_one_line(refused, words, named):
    assert_named(named, refused(*words))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"attacks": ["los"]}, "'loss'"),
        ({"methods": [{"lora": {"rnk": 3}}]}, ("methods lora", "'rnk'", "'rank'")),
        ({"training": {"epochs": "many"}}, ("training.epochs = 'many'", "integer")),
        ({"models": 3}, ("models = 3", "string")),
        ({"data": [1]}, ("data: ", "[1]")),
        ({"scoring": [1]}, "scoring: "),
        ({"machine": 3}, "machine: "),
        ({"machine": {"device": "banana"}}, ("machine.device = 'banana'", "auto, cpu, cuda or cuda:1")),
        ({"tables": ["nope"]}, ("tables", "'nope'")),
        (
            {"datasets": [{"records": {"count": 20}}]},
            ("20 in 20 groups", "The sizes are data.train, ", "; records.count sets the number of records."),
        ),
        (
            {"data": {**DATA, "members": 13}},
            ("data.members = 13", "Set data.members to at most 12, or raise data.train."),
        ),
    ],
)
def test_a_wrong_study_is_refused_before_any_work(refused, study, tmp_path, changes, named):
    for command in ("plan", "run"):
        assert_named(named, refused(command, study(**changes), "--store", tmp_path / "st"))
    assert not (tmp_path / "st" / "training").exists()


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("training: {learning_rate: .inf}", "inf"),
        ("training: {weight_decay: .nan}", "training.weight_decay = nan"),
        ("methods: [{lora: {alpha: .inf}}]", "inf"),
        ("data: &a {train: *a}", "data.train"),
        ("name: 2024-01-01", "name = "),
        ("data: !!python/object:os.system {}", "constructor"),
        ("name: [unclosed", "line 1"),
        ("", "mapping"),
        ("name: a\n---\nname: b", "document"),
    ],
)
def test_an_invalid_study_file_raises_an_error(refused, tmp_path, written, named):
    place = tmp_path / "odd.yaml"
    place.write_text(written)
    line = refused("plan", place, "--store", tmp_path / "st")
    assert_named((named, str(place)), line)


def test_a_study_path_that_is_not_a_file_raises_an_error(refused, tmp_path):
    assert_named(("No such file or directory", "no.yaml"), refused("run", tmp_path / "no.yaml"))
    assert_named(("Is a directory", str(tmp_path)), refused("run", tmp_path))


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("nonsense", "--set nonsense"),
        ("training.epochs=[1", ("--set training.epochs=[1", "'[1'")),
        ("training.epochs.x=1", "training.epochs is 1 and has no settings"),
        ("trainng.epochs=1", "'training'"),
        ("training.epoch=1", "'epochs'"),
        ("machine.device=banana", ("'banana'", "auto, cpu, cuda or cuda:1")),
    ],
)
def test_an_invalid_override_raises_an_error(refused, study, tmp_path, override, named):
    assert_named(named, refused("plan", study(), "--store", tmp_path / "st", "--set", override))


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_missing_gpu_is_refused_before_training(refused, typed, study, store, tmp_path, monkeypatch, device):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for words in (("run", study(), "--device", device), ("plan", study(), "--set", f"machine.device={device}")):
        line = refused(*words, "--store", tmp_path / "st")
        assert_named((f"machine.device = {device!r}", "0 GPUs"), line)
        assert not (tmp_path / "st" / "studies").exists()
        assert typed(*words, "--store", store)[0] == 0, "nothing is left that would need it"


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_plan_does_not_ask_torch_for_a_device(typed, study, tmp_path, monkeypatch, device):
    monkeypatch.setattr("byheart.study.estimate.torch_device", lambda _: pytest.fail("torch was asked"))
    assert typed("plan", study(), "--store", tmp_path / "st", "--set", f"machine.device={device}")[0] == 0


def test_rows_parse_back_in_every_format(typed, finished):
    rows = study_rows(Store.open(finished), "tiny")
    reported = {f: typed("rows", "--store", finished, "--format", f) for f in ("json", "csv", "parquet")}
    assert {code for code, _, _ in reported.values()} == {0}
    from_json = json.loads(reported["json"][1])
    from_csv = list(csv.DictReader(io.StringIO(reported["csv"][1])))
    import pyarrow.parquet

    content = reported["parquet"][1].encode("utf-8", "surrogateescape")
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


def test_a_finished_study_is_planned_as_cached_and_rerun_without_work(typed, study, store, monkeypatch):
    monkeypatch.setattr("byheart.study.run_cell.observe", lambda *_: pytest.fail("a model was loaded"))
    code, _, _ = typed("plan", study(), "--store", store)
    assert code == 0
    assert json.loads(typed("plan", study(), "--store", store, "--json")[1])["minutes"] == 0
    code, printed, err = typed("run", study(), "--store", store)
    assert code == 0
    assert "1 cell; all results are cached" in err
    assert "ROC AUC by attack and fine-tuning method" in printed
    assert f"byheart rows --store {store} --study tiny" in printed


def test_run_prints_one_json_object_per_line(typed, study, tmp_path, theirs):
    place = study(seeds=[0, 1], attacks=["loss"])
    code, reported, err = typed("run", place, "--store", tmp_path / "st", "--json")
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in reported.splitlines()]
    assert [e["event"] for e in events if e["event"] in {"begun", "done", "closed"}] == [
        "begun",
        "done",
        "done",
        "closed",
    ]
    assert sum(len(e.get("rows", ())) for e in events) == len(study_rows(Store.open(tmp_path / "st")))
    code, reported, err = typed("run", study(attacks=["theirs:nan"]), "--store", tmp_path / "st", "--json")
    assert (code, err) == (1, "")
    assert [json.loads(line)["event"] for line in reported.splitlines()][-2:] == ["failed", "closed"]


def test_rows_are_filtered_by_their_fields(typed, refused, finished):
    rows = study_rows(Store.open(finished), "tiny")

    def reported(*words):
        code, out, _ = typed(
            "rows", "--store", finished, "--format", "json", *(w for one in words for w in ("--where", one))
        )
        assert code == 0
        return [(r["metric"], r["epoch"], r["value"]) for r in json.loads(out)]

    metrics = {"auc", "perplexity"}
    wanted = [(r.metric, r.epoch, r.value) for r in rows if r.metric in metrics and r.epoch == 1]
    assert 2 <= len(wanted) < len(rows)
    assert reported("metric=auc", "epoch=1", "metric=perplexity") == wanted
    assert reported("attack=", "metric=perplexity", "epoch=1") == [w for w in wanted if w[0] == "perplexity"]
    for words, named in {
        "metric": ("--where metric", "FIELD=VALUE"),
        "atack=loss": ("'atack'", "'attack'"),
        "epoch=99": ("'99'", "0, 1"),
        "metric=AUC": ("'AUC'", "'auc'"),
        "value=1": "'value'",
    }.items():
        for before in ((), ("--where", "metric=auc")):
            assert_named(named, refused("rows", "--store", finished, *before, "--where", words))
    conflicting = ("--where", "metric=perplexity", "--where", "attack=loss")
    assert_named(" ".join(conflicting), refused("rows", "--store", finished, *conflicting))
