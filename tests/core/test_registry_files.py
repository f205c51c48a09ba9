"""The names of a shelf follow its folders while the process runs."""

import time

import byheart.tables
from byheart.core.registry import entry_names


def test_a_file_that_is_added_or_removed_later_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(byheart.tables, "__path__", [*byheart.tables.__path__, str(tmp_path)])
    before = entry_names("tables")
    for text in ("added_one", "added_two", "_hidden"):
        time.sleep(0.02)  # the resolution of a folder's time
        (tmp_path / f"{text}.py").touch()
    assert set(entry_names("tables")) - set(before) == {"added_one", "added_two"}
    time.sleep(0.02)
    (tmp_path / "added_one.py").unlink()
    assert set(entry_names("tables")) - set(before) == {"added_two"}
