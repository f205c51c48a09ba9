"""The folder of trained weights is the same, byte by byte, in every process."""

import json

from byheart.study.checkpoints import _sort_module_names


def test_names_of_modules_are_sorted(tmp_path, lora_store):
    """The library writes a set, whose order follows the hash seed of the process."""
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({"r": 8, "target_modules": ["v", "k", "q"], "exclude_modules": None}))
    _sort_module_names(file)
    assert json.loads(file.read_text()) == {"r": 8, "target_modules": ["k", "q", "v"], "exclude_modules": None}
    configs = [
        json.loads(path.read_text()) for path in lora_store.folder.glob("training/*/adapter/adapter_config.json")
    ]
    assert configs
    assert all(len(c["target_modules"]) > 1 and c["target_modules"] == sorted(c["target_modules"]) for c in configs)


def test_a_pattern_of_modules_stays(tmp_path):
    file = tmp_path / "adapter_config.json"
    file.write_text('{"target_modules": "all-linear"}')
    _sort_module_names(file)
    assert json.loads(file.read_text()) == {"target_modules": "all-linear"}
