"""Compressed files whose content is far larger than the file are refused before it fills the memory."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from byheart.core.errors import DataError
from byheart.data import decompression
from byheart.data.formats import read_rows

COMPRESSED = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
MUCH = b"a b c\n" * (1 << 19)
"""Three MiB that compress to kilobytes."""


@pytest.fixture(autouse=True)
def small_limit(monkeypatch):
    monkeypatch.setattr(decompression, "ALWAYS_READ_BYTES", 1 << 20)


@pytest.mark.parametrize("suffix", COMPRESSED)
@pytest.mark.parametrize("streams", [1, 40])
def test_a_compressed_bomb_is_refused(tmp_path, suffix, streams):
    path = tmp_path / f"texts.txt{suffix}"
    block = COMPRESSED[suffix](MUCH[: len(MUCH) // streams])
    path.write_bytes(block * streams)
    with pytest.raises(DataError, match=rf"texts\.txt{suffix}.* times the file\. Write each text once"):
        read_rows(path)


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_usual_content_is_read_whatever_its_size(tmp_path, suffix):
    path = tmp_path / f"texts.txt{suffix}"
    lines = "".join(f"The {n} queens wrote {n * n * 7919 % 10007} letters.\n" for n in range(60_000)).encode()
    assert len(lines) > decompression.ALWAYS_READ_BYTES
    path.write_bytes(COMPRESSED[suffix](lines))
    assert len(read_rows(path)) == 60_000


def test_zeros_after_a_gzip_stream_are_no_content():
    for zeros in (9, 9000):
        assert decompression.DECOMPRESSORS[".gz"](gzip.compress(b"a") * 2 + b"\0" * zeros) == b"aa"


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_text_that_a_parquet_file_repeats_in_every_row_is_refused(tmp_path, is_nested):
    path = tmp_path / "texts.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 2000), pa.array(["word " * 2000])).cast(pa.string())
    if is_nested:
        column = pa.ListArray.from_arrays(pa.array(range(2001), pa.int32()), column)
    pq.write_table(pa.table({"text": column}), path)
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match=r"texts\.parquet.* times the file\. Write each text once"):
        read_rows(path)
