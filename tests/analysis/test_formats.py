"""Every format shows the same strings, and labels are escaped in all of them."""

import csv
import io
import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from byheart.analysis import formats
from byheart.core.types import Row, Table

TABLE = Table(
    "ROC AUC by attack",
    ("attack", "untuned", "LoRA"),
    (("Loss", "0.500 [0.470, 0.530]", "0.852 [0.840, 0.864]"), ("Min-K%", "\N{EN DASH}", "0.9")),
    "In brackets: 95 % interval.",
)
ROW = Row(
    base="a/gpt2", dataset="webnlg", dataset_settings="", method="lora", method_settings="rank=4", training_settings="",
    seed=1, epoch=2, attack="loss", attack_settings="", metric="auc", metric_settings="", value=0.1 + 0.2, low=0.25,
    high=None, members=200, nonmembers=200, cell="c", scores="s",
)  # fmt: skip
HOSTILE = (
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "\\input{/etc/passwd}",
    "a|b\nc",
    "[x](http://e.vil)",
    "@SUM(1)",
)


def hostile():
    return Table("\\write18{rm} <b>", ("a_b", "100%"), tuple((h, h) for h in HOSTILE), "# $x$ & ~")


def test_text_is_aligned_with_title_and_note():
    lines = formats.as_text(TABLE).splitlines()
    assert lines[0] == TABLE.title
    assert lines[-1] == TABLE.note
    ends = {line.rstrip().rfind(last) + len(last) for line, last in ((lines[4], "0.864]"), (lines[5], "0.9"))}
    assert len(ends) == 1, "numbers are flush right"


def test_text_has_no_line_breaks_or_escape_sequences_of_cells():
    table = Table("t", ("a",), (("x\ny\x1b[31mred\r",),))
    assert "\x1b" not in formats.as_text(table)
    assert len(formats.as_text(table).splitlines()) == 5


def test_markdown_is_a_pipe_table_with_escaped_markup():
    lines = formats.as_markdown(hostile()).splitlines()
    assert lines[0] == r"**\\write18{rm} &lt;b&gt;**"
    body = [line for line in lines if line.startswith("|")]
    assert len(body) == 2 + len(HOSTILE)
    for line in body:
        assert line.replace(r"\|", "").count("|") == 3, "a bar in a label must not part a cell"
    text = "\n".join(lines)
    assert "<script" not in text
    assert r"\[x\](http" in text


def test_latex_uses_booktabs_and_escapes_commands_in_labels():
    text = formats.as_latex(TABLE)
    assert [rule for rule in (r"\toprule", r"\midrule", r"\bottomrule") if rule in text] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]
    assert r"\begin{tabular}{lrr}" in text
    assert r"Min-K\% & -- & 0.9 \\" in text
    bad = formats.as_latex(hostile())
    assert r"\input" not in bad
    assert r"\write18" not in bad
    assert r"\textbackslash{}input\{/etc/passwd\}" in bad
    assert r"\\ [" not in bad.replace("\n", " "), "a bracket after a row's end would be read as its argument"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_latex_specials_are_always_escaped(text):
    mathematical = [c for c, tex in formats._LATEX_ESCAPES.items() if tex.startswith("$")]
    out = formats._escape_latex(text)  # what `as_latex` returns for every cell
    for special in "#$%&_":
        assert out.count(special) - out.count("\\" + special) == (
            2 * sum(text.count(c) for c in mathematical) if special == "$" else 0
        )
    assert out.count("{") - out.count(r"\{") == out.count("}") - out.count(r"\}")


def test_csv_cells_are_no_formulas_and_numbers_stay_numbers():
    table = Table(
        "t", ("=h", "b"), (("=1+1", "-0.25"), (" +1+1", "+2"), ("-x", "y"), ("\uff1d1", "0.5"), ("\t=1", "a,b"))
    )
    read = list(csv.reader(io.StringIO(formats.as_csv(table))))
    assert read[0] == ["'=h", "b"]
    assert read[1] == ["'=1+1", "-0.25"]
    assert read[2] == ["' +1+1", "+2"]
    assert [line[0][0] for line in read[3:]] == ["'", "'", "'"]
    assert read[5][1] == "a,b"


def test_json_contains_the_complete_table():
    stored = json.loads(formats.as_json(TABLE))
    assert stored == {
        "title": TABLE.title,
        "header": list(TABLE.header),
        "rows": [list(r) for r in TABLE.rows],
        "note": TABLE.note,
    }


def test_rows_table_is_for_readers_and_leaves_out_empty_columns():
    table = formats.rows_table([ROW])
    line = dict(zip(table.header, table.rows[0], strict=True))
    assert line["value"] == "0.3"
    assert "scores" not in line
    assert "high" not in line
    assert "training_settings" not in line
    assert formats.rows_table([]).rows == ()


def test_rows_csv_has_every_column():
    read = list(csv.DictReader(io.StringIO(formats.rows_csv([ROW, replace(ROW, method_settings="=cmd")]))))
    assert list(read[0]) == [f.name for f in fields(Row)]
    assert (read[0]["value"], read[0]["high"], read[0]["epoch"]) == ("0.30000000000000004", "", "2")
    assert read[1]["method_settings"] == "'=cmd"


def test_rows_json_returns_as_rows():
    assert [Row(**r) for r in json.loads(formats.rows_json([ROW, ROW]))] == [ROW, ROW]
    assert json.loads(formats.rows_json([replace(ROW, value=float("inf"))]))[0]["value"] is None


def test_rows_parquet_returns_as_rows_and_is_typed_when_empty():
    rows = [ROW, replace(ROW, epoch=None, low=None)]
    assert [Row(**r) for r in parquet.read_table(io.BytesIO(formats.rows_parquet(rows))).to_pylist()] == rows
    empty = parquet.read_table(io.BytesIO(formats.rows_parquet([]))).schema
    assert [str(empty.field(n).type) for n in ("base", "epoch", "value", "high", "members", "initialized")] == [
        "string", "double", "double", "double", "int64", "bool",
    ]  # fmt: skip


@pytest.mark.parametrize("name", formats.TABLE_FORMATS)
def test_every_format_shows_every_cell(name):
    out = formats.TABLE_FORMATS[name](TABLE)
    for value in ("0.852", "0.840, 0.864"):
        assert value in out


@pytest.mark.parametrize("name", formats.ROW_FORMATS)
def test_every_format_of_rows_accepts_empty_and_filled_lists(name):
    assert isinstance(formats.ROW_FORMATS[name]([]), bytes)
    assert formats.ROW_FORMATS[name]([ROW])
