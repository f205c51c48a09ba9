"""Values of YAML that no setting can have, and files of a few lines that stand for billions of values, are refused in one line."""

import pytest

from byheart.core.errors import RequestError, SettingError, StudyError
from byheart.datasets.files import files
from byheart.lm.base_models import locate
from byheart.study.study_file import parse_study, read_study

BILLIONS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("models: a/b\nmethods: 2024-01-01", SettingError, "methods = datetime.date(2024, 1, 1): is a date"),
        ("models: a/b\nmethods: 2024-13-45", StudyError, "not a valid value"),
        ("models: a/b\nmethods: !!int a", StudyError, "not a valid value"),
        ("models: a/b\nmethods: !!set {a}", SettingError, "methods = {'a'}: is a set"),
        ("models: a/b\nmethods: !!binary aGVsbG8=", SettingError, "is bytes"),
        ("models: a/b\nmethods: {1: 2}", SettingError, "methods: the key 1 is not a string"),
        ("models: a/b\nmethods: &a [*a]", SettingError, "methods: nested more than 50 times"),
        (BILLIONS, SettingError, "more than 100,000 values"),
        ("models: [{a: 1}]", SettingError, "models = {'a': 1}: input should be a valid string. Write a string"),
        ("models: 12", SettingError, "models = 12: input should be a valid string"),
        ("models: a/b\ndata: " + "[" * 3000, StudyError, "nested too deeply"),
        ("models: a/b\ndata: {train: 12.5}", SettingError, "Write a whole number."),
        ("models: a/b\ndata: {train: -1}", SettingError, "or more."),
        ("models: a/b\ntraining: {epochs: 1000000000}", SettingError, "Write 100000 or less."),
        ("models: a/b\nmachine: {workers: 1000000}", SettingError, "Write 1024 or less."),
        ("models: a/b\ndata: {canaries: {count: 1000000000000}}", SettingError, "Write 1000000 or less."),
        ("models: a/b\ndatasets: [{records: {count: 1000000000000}}]", SettingError, "Write 1000000 or less."),
        ('models: a/b\npublished: "\\0"', SettingError, "contains a NUL character"),
        (f"models: a/b\npublished: {'p' * 300}.csv", SettingError, "a name in it has 304 bytes"),
        ("models: a/b\nmachine: {executor: x}", SettingError, "Write 'local'"),
    ],
)
def test_values_of_yaml_that_no_setting_has_are_refused(tmp_path, text, kind, message):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(kind) as refused:
        read_study(path)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "override",
    ["training.epochs=2024-13-45", "name=&a [*a]", "datasets.².x=1", f"datasets.{'9' * 5000}=1", "training={1: 2}"],
)
def test_overrides_that_are_no_settings_are_refused(tmp_path, override):
    path = tmp_path / "study.yaml"
    path.write_text("models: a/b\ndatasets: [records]")
    with pytest.raises(RequestError, match=str(path)):
        read_study(path, [override])


@pytest.mark.parametrize("value", [{1, 2}, b"a", {"a": {1: 2}}])
def test_a_study_in_memory_is_checked_like_a_file(value):
    with pytest.raises(SettingError):
        parse_study({"models": "a/b", "methods": value})


@pytest.mark.parametrize("name", ["m" * 256, "folder/" + "é" * 200, "\ud800" * 100])
def test_a_name_that_is_too_long_for_a_file_is_refused_in_one_line(name):
    for read in (locate, lambda path: files(path=f"{path}/data.jsonl")):
        with pytest.raises(
            SettingError, match=r"a name in it has \d+ bytes, and file systems allow 255\. Shorten it\."
        ):
            read(name)
