"""The script of the charts is built once, cached, and built again if the cached file is damaged."""

import zlib
from importlib import metadata

import pytest
import vl_convert

from byheart.report import vega_bundle


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """An empty cache folder; returns a list with one item per build of the script."""
    made = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda snippet: made.append(snippet) or f"made; {snippet}")
    vega_bundle.vega_script.cache_clear()
    yield made
    vega_bundle.vega_script.cache_clear()


def test_the_script_is_built_once_and_then_read(cached, tmp_path):
    first = vega_bundle.vega_script()
    vega_bundle.vega_script.cache_clear()
    assert vega_bundle.vega_script() == first == f"made; {vega_bundle.SNIPPET}"
    assert len(cached) == 1
    (kept,) = (tmp_path / "cache" / "byheart").iterdir()
    assert metadata.version("vl-convert-python") in kept.name


@pytest.mark.parametrize(
    "harm", [lambda b: b[: len(b) // 2], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda _: b"", lambda _: b"alert(1)"]
)
def test_a_damaged_cached_script_is_built_again(cached, tmp_path, harm):
    first = vega_bundle.vega_script()
    (kept,) = (tmp_path / "cache" / "byheart").iterdir()
    kept.write_bytes(harm(kept.read_bytes()))
    vega_bundle.vega_script.cache_clear()
    assert vega_bundle.vega_script() == first
    assert len(cached) == 2
    assert zlib.decompress(kept.read_bytes()).decode() == first


def test_without_a_cache_the_script_is_built_each_time(cached, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for nth in (1, 2):
        assert vega_bundle.vega_script()
        vega_bundle.vega_script.cache_clear()
        assert len(cached) == nth
