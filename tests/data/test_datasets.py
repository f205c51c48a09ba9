"""Every data set meets the contract, and its errors name the setting. No test needs real data."""

from __future__ import annotations

import subprocess
import sys

import pytest

from byheart.core import registry
from byheart.core.errors import SettingError
from testing.preferences import pair_file

NAMES = registry.entry_names("datasets")


@pytest.fixture
def load(folder, installed, tmp_path):
    """Load any data set of the shelf offline."""

    def load(name: str, **settings):
        known = registry.default_settings(registry.load_function("datasets", name))
        if "source" in known:
            settings.setdefault("source", str(folder))
        if name == "files":
            path = tmp_path / "notes.txt"
            path.write_text("one note\nanother note\n")
            settings.setdefault("path", str(path))
        if name == "preferences":
            pairs = [{"prompt": f"Question {n}:", "chosen": f" Yes, {n}.", "rejected": f" No, {n}."} for n in range(3)]
            settings.setdefault("path", str(pair_file(tmp_path / "pairs.jsonl", pairs)))
        if name == "wikitext":
            settings.setdefault("min_characters", 10)
        return registry.choose("datasets", name, settings)()

    return load


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_returns_valid_examples(load, name):
    examples = load(name)
    texts = examples.texts
    assert len(texts) == len(set(texts.ids)) > 0
    assert all(text == text.strip() or prompt for text, prompt in zip(texts.scored, texts.prompts, strict=True))
    assert all(examples.groups)
    assert set(examples.roles) == {"pool"} or set(examples.roles) == {"train", "nonmember", "validation"}
    for text, attributes in zip(texts.scored, examples.attributes, strict=True):
        assert all(value in text for value in attributes.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_ends_where_its_completion_begins_with_a_space(load, name):
    texts = load(name).texts
    for text, prompt in zip(texts.scored, texts.prompts, strict=True):
        assert not prompt or (prompt.endswith(":") and text.startswith(" ") and text == f" {text.strip()}")


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_is_the_same_each_time(load, name):
    assert load(name) == load(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_documents_its_source_and_content(name):
    function = registry.load_function("datasets", name)
    assert "Source" in registry.module_docstring(function)
    assert "license" in registry.module_docstring(function).lower() or "CC BY" in registry.module_docstring(function)
    assert registry.summary(function).startswith("Return ")
    assert registry.summary(function).endswith(".")
    assert registry.needs(function) == ()
    assert set(registry.setting_types(function)) == set(registry.default_settings(function))


def test_importing_the_shelf_imports_no_large_library():
    heavy = ("torch", "datasets", "faker", "pandas", "pyarrow", "datasketch")
    code = (
        "import sys, importlib\n"
        f"for name in {NAMES!r}: importlib.import_module('byheart.datasets.' + name)\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "settings", "part"),
    [
        ("records", {"count": 0}, "count = 0: input should be greater than or equal to 1"),
        ("records", {"kind": "dog"}, "kind = 'dog'"),
        ("records", {"count": "many"}, "count = 'many'"),
        ("wikipedia", {"form": "lead"}, "form = 'lead'"),
        ("xsum", {"limit": 0}, "limit = 0"),
        ("files", {}, "files: {path: ...}"),
    ],
)
def test_a_wrong_setting_raises_an_error_first(name, settings, part):
    with pytest.raises(SettingError) as error:
        registry.choose("datasets", name, settings)
    assert str(error.value).startswith(f"datasets {name}: ")
    assert part in str(error.value)
