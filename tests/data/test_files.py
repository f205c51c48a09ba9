"""Files and folders of texts: every format gives the same texts, and errors name the location."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.core.errors import DataError
from byheart.data.formats import read_rows
from byheart.data.readers import published_splits, truncate_text
from byheart.datasets.files import files


def write(path, kind: str, table: list[dict]):
    path = path / f"notes.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table), encoding="utf-8")
    else:
        quoted = [",".join('"' + str(v).replace('"', '""') + '"' for v in row.values()) for row in table]
        path.write_text("\n".join([",".join(table[0]), *quoted]) + "\n", encoding="utf-8")
    return str(path)


TABLE = [
    {"text": 'Zoë said "no",\nthen left.', "who": "zoë", "part": "train", "key": "a", "secret": "no"},
    {"text": "A line\u2028within, and 007.", "who": "ann", "part": "test", "key": "b", "secret": "007"},
    {"text": "Third.", "who": "zoë", "part": "validation", "key": "c", "secret": ""},
]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_file_is_read_alike_in_every_format(tmp_path, kind):
    path = write(tmp_path, kind, TABLE)
    examples = files(path=path, group="who", split="part", id="key", attributes=("secret",))
    assert examples.texts.scored == tuple(row["text"] for row in TABLE)
    assert examples.texts.ids == ("a", "b", "c")
    assert examples.groups == ("zoë", "ann", "zoë")
    assert examples.roles == ("train", "nonmember", "validation")
    assert examples.attributes == ({"secret": "no"}, {"secret": "007"}, {})


def test_plain_text_contains_one_text_per_line(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes("\ufeffOne.\r\n\r\n  Two.  \r\nThree".encode())
    examples = files(path=str(path))
    assert examples.texts.scored == ("One.", "Two.", "Three")
    assert examples.texts.ids == examples.groups == ("notes/0", "notes/1", "notes/2")
    assert examples.roles == ("pool",) * 3


def test_prompt_and_completion_are_read_by_name_and_unchanged(tmp_path):
    path = write(tmp_path, "jsonl", [{"prompt": "Q: 1+1?\nA:", "completion": " 2"}, {"prompt": "", "completion": "x"}])
    examples = files(path=path)
    assert examples.texts.prompts == ("Q: 1+1?\nA:", "")
    assert examples.texts.scored == (" 2", "x")


def test_fields_are_read_under_the_names_of_the_settings(tmp_path):
    path = write(tmp_path, "jsonl", [{"text": "not this", "q": "ask", "a": "tell", "n": 7}])
    assert files(path=path, prompt="q", completion="a").texts.scored == ("tell",)
    assert files(path=path, prompt="q", completion="a").texts.prompts == ("ask",)
    assert files(path=path, text="a", group="n", id="n").groups == ("7",)
    assert files(path=path, text="a").texts.prompts == ("",)
    assert files(path=path).texts.scored == ("not this",)


def test_a_folder_defines_the_published_roles(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"text": f"{split} text"}) + "\n")
    (tmp_path / "README.md").write_text("ignored")
    examples = files(path=str(tmp_path))
    assert examples.roles == ("train", "nonmember")
    assert examples.texts.ids == ("train/0", "test/0")
    assert examples.texts.scored == ("train text", "test text")


def test_shards_of_a_split_are_read_in_order(tmp_path):
    for number in (1, 0):
        (tmp_path / f"train-0000{number}-of-00002.txt").write_text(f"shard {number}\n")
    assert files(path=str(tmp_path)).texts.scored == ("shard 0", "shard 1")


BAD = {
    "missing.jsonl": (None, "{path}: ", "No such file or directory", "{kinds}"),
    "folder.jsonl/": (None, "{path}: ", "train, test, validation", "{kinds}", "none"),
    "notes.docx": (b"x", "{path}: ", "{kinds}"),
    "empty.jsonl": (b"", "{path}: the file is empty. Name a file with at least one record."),
    "blank.txt": (b"\n \n", "{path}: contains no records. "),
    "header.csv": (b"text\n", "{path}: contains no records. "),
    "latin.jsonl": (b'{"text": "a"}\n{"text": "caf\xe9"}\n', "{path} line 2: is not UTF-8. Save the file as UTF-8."),
    "marked.txt": (b"\xef\xbb\xbfa\nb\n\xff\n", "{path} line 3: ", "UTF-8"),
    "broken.jsonl": (
        b'{"text": "a"}\n\n{"text": "b"\n',
        "{path} line 3, column 13: is not JSON (Expecting ',' delimiter). ",
        "A JSON array needs the extension .json.",
    ),
    "list.jsonl": (b'["a"]\n', "{path} line 1: ", '{{"text": "..."}}'),
    "lacking.jsonl": (b'{"text": "a"}\n{"body": "b"}\n', "{path} line 2: ", "'text'", "body"),
    "number.jsonl": (b'{"text": "a"}\n{"text": 5}\n', "{path} line 2: ", "'text' is 5"),
    "null.jsonl": (b'{"text": null}\n', "{path} line 1: ", "'text' is null"),
    "void.jsonl": (b'{"text": "a"}\n{"text": " "}\n', "{path} line 2: ", "'text' is empty"),
    "half.jsonl": (b'{"text": "\\ud83d"}\n', "{path} line 1: ", "'text'", "surrogate"),
    "unnamed.jsonl": (b'{"body": "a", "title": "b"}\n', "{path} line 1: ", "body, title", "text: FIELD"),
    "half.csv": (b"prompt,body\na,b\n", "{path} line 2: ", "prompt, body", "text: FIELD"),
    "twice.csv": (b"text,text\na,b\n", "{path} line 1: ", "text, text"),
    "ragged.csv": (b'text,who\n"a\nb",c\nd\n', "{path} line 4: ", "1 cells", "2"),
    "open.csv": (b'text\na\n"b\n', "{path} line 3: ", "unexpected end of data"),
    "void.csv": (b'text,who\na,b\n"",c\n', "{path} line 3: ", "'text' is empty"),
    "not.parquet": (b"x" * 20, "{path}: ", "Parquet magic bytes not found in footer"),
}
"""Content of a file, and the location and other parts of its error message."""


@pytest.mark.parametrize("name", BAD)
def test_an_unreadable_file_raises_an_error_in_one_line_with_its_location(tmp_path, name):
    content, location, *parts = BAD[name]
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as error:
        files(path=str(path))
    message = str(error.value)
    assert message.startswith(location.format(path=path))
    for part in parts:
        assert part.format(kinds=".csv, .json, .jsonl, .parquet, .tsv, .txt (also .gz, .zst)") in message
    assert "\n" not in message


def test_a_parquet_row_is_named_by_its_number(tmp_path):
    path = write(tmp_path, "parquet", [{"text": "a"}, {"text": None}])
    with pytest.raises(DataError) as error:
        files(path=path)
    assert str(error.value).startswith(f"{path} row 2: 'text' is null")


def test_a_folder_with_the_name_of_a_file_raises_an_error(tmp_path):
    (tmp_path / "train.jsonl").mkdir()
    with pytest.raises(DataError) as error:
        read_rows(tmp_path / "train.jsonl")
    assert str(error.value).startswith(f"{tmp_path}/train.jsonl: cannot be read (Is a directory). ")


ROW = [{"text": "a b", "prompt": "p", "completion": "c", "part": "dev", "who": "", "secret": "z", "key": "k"}] * 2


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"text": "text", "prompt": "prompt"}, ("text: text", "prompt")),
        ({"text": "text", "completion": "completion"}, ("text: text", "completion")),
        ({"prompt": "prompt"}, ("prompt and completion: ",)),
        ({"completion": "completion"}, ("prompt and completion: ",)),
        ({"text": "body"}, ("{path} line 1: ", "'body'", "text, prompt, completion, part, who, secret, key")),
        ({"split": "part"}, ("{path} line 1: ", "'part' is 'dev'", "train, test, validation")),
        ({"group": "who"}, ("{path} line 1: ", "'who' is empty")),
        ({"attributes": ("secret",)}, ("{path} line 1: ", "'secret' is 'z'")),
        ({"id": "key"}, ("'k'",)),
    ],
)
def test_settings_that_do_not_fit_the_file_raise_an_error(tmp_path, settings, parts):
    path = write(tmp_path, "jsonl", ROW)
    with pytest.raises(DataError) as error:
        files(path=path, **settings)
    for part in parts:
        assert part.format(path=path) in str(error.value)


def test_a_folder_with_a_split_field_raises_an_error(folder):
    with pytest.raises(DataError) as error:
        files(path=str(folder), split="part")
    assert str(error.value).startswith(f"{folder}: ")
    assert "split: part" in str(error.value)


def test_a_split_in_two_formats_raises_an_error(tmp_path):
    for kind in ("csv", "jsonl"):
        (tmp_path / f"test.{kind}").write_text("text\na\n")
    with pytest.raises(DataError) as error:
        published_splits(str(tmp_path))
    assert str(error.value).startswith(f"{tmp_path}: contains test.csv and test.jsonl")


@given(st.text(max_size=40), st.integers(1, 50))
def test_a_truncated_text_is_its_beginning_cut_between_words(text, characters):
    short = truncate_text(text, characters)
    assert text.startswith(short)
    assert len(short) <= characters
    if len(text) <= characters:
        assert short == text
    elif short and any(c.isspace() for c in text[: characters + 1].lstrip()):
        assert text[len(short)].isspace() or not any(c.isspace() for c in short)


def test_truncation_includes_a_word_that_just_fits():
    assert truncate_text("one two three", 7) == "one two"
    assert truncate_text("one two three", 6) == "one"
    assert truncate_text("onetwothree", 6) == "onetwo"
    assert truncate_text("one", None) == "one"


def test_a_field_named_group_is_the_group(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps({"text": f"Note {i}.", "group": f"user {i % 2}"}) + "\n" for i in range(4)))
    assert files(path=str(path)).groups == ("user 0", "user 1", "user 0", "user 1")
