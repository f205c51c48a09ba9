"""Study files: their meaning, and errors on one line with the file, the key and the choices."""

import pytest

from byheart.core.errors import ByheartError, RequestError, SettingError, StudyError, UnknownNameError
from byheart.study.study_file import parse_study, read_study

SMALL = {"models": "some/model", "datasets": ["records"], "methods": ["lora"]}


def written(tmp_path, text):
    path = tmp_path / "trial.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_the_papers_methods_and_attacks():
    complete = parse_study({})
    assert [c.method.name for c in complete.cells] == ["full", "head", "lora", "prefix", "prompt", "p_tuning"]
    assert [a.name for a in complete.attacks] == ["loss", "reference", "zlib_ratio", "min_k", "min_k_plus_plus"]
    assert {c.dataset.name for c in complete.cells} == {"records"}


def test_lists_are_sweeps_and_cells_are_their_product():
    complete = parse_study(
        {
            "models": ["a/b", "c/d"],
            "datasets": ["records", {"wikipedia": {"form": ["text", "description"]}}],
            "methods": ["full", {"lora": {"rank": [4, 16], "targets": "attention"}}],
            "training": {"epochs": [1, 2]},
            "seeds": [0, 1],
        }
    )
    assert len(complete.cells) == 2 * 3 * 3 * 2 * 2
    labels = {c.label for c in complete.cells}
    assert len(labels) == len(complete.cells) / 3 * 2  # the two forms of wikipedia share a line
    assert "lora rank=4, targets=attention · records · b · epochs=1 · seed 0" in labels


def test_sizes_of_a_data_set_override_the_studys():
    complete = parse_study(
        {
            **SMALL,
            "datasets": ["records", {"wikipedia": {}, "data": {"train": 50, "members": 10}}],
            "data": {"train": 300},
        }
    )
    assert [c.data.train for c in complete.cells] == [300, 50]


def test_training_settings_of_a_method_override_the_studys():
    complete = parse_study(
        {
            **SMALL,
            "methods": ["full", {"lora": {"rank": [4, 16]}, "training": {"goldfish": [None, 3], "epochs": 1}}],
            "training": {"epochs": 2, "batch_size": 4},
        }
    )
    assert [
        (c.method.name, c.method.settings.get("rank"), c.training.goldfish, c.training.epochs) for c in complete.cells
    ] == [
        ("full", None, None, 2),
        ("lora", 4, None, 1),
        ("lora", 4, 3, 1),
        ("lora", 16, None, 1),
        ("lora", 16, 3, 1),
    ]
    assert {c.training.batch_size for c in complete.cells} == {4}


def test_a_method_searches_its_learning_rate_by_its_own_training_settings():
    complete = parse_study(
        {
            **SMALL,
            "methods": [
                "lora",
                {"full": None, "training": {"learning_rate": 1e-5}},
                {"prefix": None, "training": {"learning_rate": {"search": [1e-3, 1e-2]}}},
            ],
            "training": {"learning_rate": "search"},
        }
    )
    searches = {c.method.name: c.search for c in complete.cells}
    assert searches["full"] is None
    assert searches["prefix"].rates == (1e-3, 1e-2)
    assert searches["lora"].is_extended
    assert {c.method.name: c.training.learning_rate for c in complete.cells} == {
        "lora": None,
        "full": 1e-5,
        "prefix": None,
    }


def test_a_default_rate_and_searches_are_different_models():
    complete = parse_study(
        {
            **SMALL,
            "methods": [
                "lora",
                {"lora": {}, "training": {"learning_rate": "search"}},
                {"lora": {}, "training": {"learning_rate": {"search": [1e-3, 1e-2]}}},
            ],
        }
    )
    assert [c.search and c.search.is_extended for c in complete.cells] == [None, True, False]


def test_numbers_are_read_as_yaml_1_2(tmp_path):
    complete = read_study(written(tmp_path, "models: a/b\nmethods: [{lora: {learning_rate: 1e-4}}]\n"))
    assert complete.cells[0].method.explicit_settings["learning_rate"] == 1e-4
    assert complete.name == "trial"


def test_overrides(tmp_path):
    path = written(tmp_path, "models: a/b\nmethods: [lora]\ndatasets:\n  - records: {count: 5}\n")
    complete = read_study(
        path, ["training.epochs=7", "datasets.0.records.count=9", "machine.workers=2", "methods=[full, head]"]
    )
    assert {c.training.epochs for c in complete.cells} == {7}
    assert complete.cells[0].dataset.explicit_settings["count"] == 9
    assert complete.machine.workers == 2
    assert [c.method.name for c in complete.cells] == ["full", "head"]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("attacks: [los]", UnknownNameError, "'los': unknown name. Did you mean 'loss'? Choices: "),
        (
            "methods: [{lora: {rnk: 4}}]",
            UnknownNameError,
            "setting of methods lora 'rnk': unknown name. Did you mean 'rank'?",
        ),
        (
            "methods: [{lora: {rank: many}}]",
            SettingError,
            "methods lora: rank = 'many': input should be a valid integer",
        ),
        ("methods: [{lora: {rank: 0}}]", SettingError, "rank = 0: input should be greater than or equal to 1"),
        ("methods: [{lora: {targets: head}}]", SettingError, "'attention', 'projection' or 'all'"),
        ("attacks: [{min_k: {k: 1.5}}]", SettingError, "less than or equal to 1"),
        ("trainning: {epochs: 3}", UnknownNameError, "key 'trainning': unknown name. Did you mean 'training'?"),
        ("training: {epoch: 3}", UnknownNameError, "Did you mean 'epochs'?"),
        (
            "machine: {slurm: {partitoin: gpu}}",
            UnknownNameError,
            "machine.slurm 'partitoin': unknown name. Did you mean 'partition'?",
        ),
        (
            "machine: {slurm: {partition: 12}}",
            SettingError,
            "machine.slurm.partition = 12: input should be a valid string",
        ),
        ("training: {epochs: true}", SettingError, "training.epochs = True"),
        ("training: 3", StudyError, "training: 3 "),
        (
            "methods: [{lora: {}, training: 3}]",
            StudyError,
            "methods: training = 3 is not a mapping of settings. Write for example training: {epochs: 3}.",
        ),
        ("methods: [{lora: {}, training: {epoch: 3}}]", UnknownNameError, "Did you mean 'epochs'?"),
        ("methods: [{lora: {}, training: {epochs: 0}}]", SettingError, "methods lora: training.epochs = 0"),
        (
            "methods: [{lora: {}, training: {epochs: 1}}]\ntraining: {observe: [1, 2]}",
            SettingError,
            "methods lora: training.observe = 2: is after the last epoch, 1",
        ),
        (
            "methods: [{lora: {}, trainig: {epochs: 3}}]",
            StudyError,
            "methods: the keys 'lora', 'trainig' stand beside each other. Write name: {setting: value}, and at most training: ",
        ),
        ("methods: [{lora: {}, data: {train: 3}}]", StudyError, "the keys 'lora', 'data' stand beside each other"),
        ("datasets: [{records: {}, training: {}}]", StudyError, "and at most data: {train: 1000} beside it"),
        ("methods: [{training: {epochs: 3}}]", StudyError, "methods: an entry has no name"),
        (
            "methods: [{lora: {training: {epochs: 3}}}]",
            StudyError,
            "methods lora: training is not a setting of lora. Write it beside the name: {lora: {...}, training: {epochs: 3}}.",
        ),
        ("methods: [full, {lora: {}, training: {goldfish: []}}]", SettingError, "goldfish = []: the list is empty"),
        ("methods: [full, {lora: {rank: []}}]", SettingError, "rank = []: the list is empty"),
        (
            "methods: [lora, {lora: {}, training: {observe: [0.5]}}]",
            SettingError,
            "methods lora: two entries train the same model, and differ only in training.observe",
        ),
        (
            "methods: [{lora: {learning_rate: 0.1}}, {lora: {}, training: {learning_rate: 0.1}}]",
            SettingError,
            "two entries train the same model",
        ),
        (
            "methods: [{lora: {learning_rate: 0.1}}]\ntraining: {learning_rate: 0.2}",
            SettingError,
            "methods lora: learning_rate = 0.1, and training.learning_rate = 0.2. Only one can be used",
        ),
        ("datasets: [{records: {}, data: 0}]", StudyError, "datasets: data = 0 is not a mapping"),
        ("datasets: [[records]]", StudyError, '["records"] is not an entry'),
        ("data: {train: 10, members: 20}", SettingError, "data.members = 20: more than data.train = 10"),
        ("seeds: [a]", SettingError, "seeds"),
        ("methods: []", StudyError, "nothing to train"),
        ("name: ../up", SettingError, "name = '../up'"),
        ("methods: [[full]]", StudyError, '["full"]'),
        ("- a list", StudyError, "not a mapping"),
        ("name: [unclosed", StudyError, "line 1"),
        ("name: a\nname: b", StudyError, "duplicate key"),
        ("attacks: ['nowhere.at_all:attack']", UnknownNameError, "module:function"),
    ],
)
def test_an_error_is_one_line_with_the_file_and_the_fix(tmp_path, text, kind, message):
    path = written(
        tmp_path,
        text + ("" if text.startswith("-") or "models" in text else "\nmodels: a/b")
        if "unclosed" not in text
        else text,
    )
    with pytest.raises(kind) as refused:
        read_study(path)
    line = str(refused.value)
    assert isinstance(refused.value, RequestError)
    assert message in line
    assert line.startswith(f"study {path}: ")
    assert "\n" not in line


def test_files_that_cannot_be_read_raise_an_error(tmp_path):
    with pytest.raises(StudyError, match="No such file"):
        read_study(tmp_path / "missing.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: caf\xe9")
    with pytest.raises(StudyError, match="not UTF-8 at byte 9"):
        read_study(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "methods.0.training.goldfish=4",
            "methods.0 is 'full' and has no settings. Give it settings, for example --set 'methods.0={full: {}}'.",
        ),
        ("methods.7.training.goldfish=4", "the list has no entry 7. Choose 0 to 1."),
        ("methods.x.rank=4", "the list has no entry x. Choose 0 to 1."),
    ],
)
def test_an_override_of_an_entry_without_settings_says_how_to_write_it(tmp_path, override, message):
    path = written(tmp_path, "models: a/b\nmethods:\n- full\n- lora: {}\n  training:\n")
    with pytest.raises(StudyError) as refused:
        read_study(path, [override])
    assert message in str(refused.value)
    assert read_study(path, ["methods.1.training.goldfish=4"]).cells[1].training.goldfish == 4


@pytest.mark.parametrize("override", ["training", "=3", "methods.x=1", "name.deep=1"])
def test_invalid_overrides_raise_an_error(tmp_path, override):
    with pytest.raises(ByheartError, match="--set"):
        read_study(written(tmp_path, "name: trial\nmethods: [full]\nmodels: a/b"), [override])


def test_every_shipped_study_file_is_valid():
    from pathlib import Path

    files = sorted((Path(__file__).parents[2] / "studies").rglob("*.yaml"))
    assert len(files) >= 7
    for path in files:
        assert read_study(path).cells
