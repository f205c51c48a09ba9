"""Odd values of records and damaged files are refused in one line; none is read in part."""

import gzip
import json

import pytest
import zstandard

from byheart.auditing.texts import parse_texts
from byheart.core.errors import DataError
from byheart.data.formats import read_rows
from byheart.data.record_fields import identifier, shown_value
from byheart.data.records import parse_record

LINES = "".join(
    json.dumps({"text": f"The {n} queens wrote {n * n * 7919 % 10007} letters."}) + "\n" for n in range(9000)
).encode()


@pytest.mark.parametrize(("suffix", "compress"), [("zst", zstandard.ZstdCompressor().compress), ("gz", gzip.compress)])
def test_a_truncated_file_is_refused_and_several_frames_are_read(tmp_path, suffix, compress):
    path = tmp_path / f"texts.jsonl.{suffix}"
    path.write_bytes(compress(LINES))
    assert len(read_rows(path)) == 9000
    path.write_bytes(compress(LINES) + compress(LINES))
    assert len(read_rows(path)) == 18000
    for share in (0.3, 0.9):
        path.write_bytes(compress(LINES)[: int(len(compress(LINES)) * share)])
        with pytest.raises(DataError, match="cannot be decompressed"):
            read_rows(path)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1.5, True, [1], {"a": 1}])
def test_ids_that_are_no_whole_numbers_are_refused(value):
    with pytest.raises(DataError, match="not a string or a whole number"):
        identifier("line 1", "id", value)


def test_whole_numbers_of_any_size_are_ids():
    assert identifier("line 1", "id", 10**400) == "1" + "0" * 400
    assert identifier("line 1", "id", 12.0) == "12"


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "record",
    [
        {"messages": DEEP},
        {"prompt": DEEP, "completion": 3},
        {"messages": [{"role": "assistant", "content": "a"}], "tools": DEEP},
        {"messages": [{"role": "assistant", "content": "a", ("x", "y"): 1}]},
        {"messages": [{"role": "assistant", "content": "a", 3: 1}]},
        {"messages": [{"role": "assistant", "content": "a", "extra": {("x", "y"): 1}}]},
        {1: "a", "b": 2},
        {"text": {("x", "y"): 1}},
    ],
)
def test_records_that_json_cannot_hold_are_refused(record):
    with pytest.raises(DataError, match="line 1"):
        parse_record("line 1", record)
    with pytest.raises(DataError):
        parse_texts("member", [record])


def test_a_string_of_brackets_is_a_text():
    assert parse_record("line 1", {"text": DEEP}).text == DEEP


def test_values_are_shown_in_short_whatever_they_are():
    circular = []
    circular.append(circular)
    assert all(len(shown_value(v)) <= 41 for v in (circular, {(1, 2): 3}, json.loads("[" * 500 + "]" * 500), "a" * 100))
