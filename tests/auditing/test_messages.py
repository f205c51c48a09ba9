"""Messages of audits that name the file and the option as typed, and the names of a page's lines."""

import pytest

from byheart.auditing.provenance_lines import provenance_lines
from byheart.auditing.source_texts import read_source_texts
from byheart.auditing.texts import check_overlaps, parse_texts
from byheart.core.errors import DataError, SettingError
from byheart.lm.devices import torch_device


def parts(**texts):
    return {part: parse_texts(part, of_part) for part, of_part in texts.items()}


@pytest.mark.parametrize(
    ("nonmembers", "sources", "line"),
    [
        (
            ["c", "b"],
            None,
            "nonmembers: record '1' has the same text as record '1' in members. Remove it from one of the two.",
        ),
        (
            ["b", "c", "a"],
            {"member": "m.jsonl", "nonmember": "n.jsonl"},
            (
                "n.jsonl: record '0' has the same text as record '1' in m.jsonl, and 1 more record has its text there. Remove each of them "
                "from one of the two."
            ),
        ),
        (
            ["a", "b", "c", "d"],
            {"nonmember": "n.jsonl"},
            (
                "n.jsonl: record '0' has the same text as record '0' in members, and 2 more records have their text there. Remove each of "
                "them from one of the two."
            ),
        ),
    ],
)
def test_a_text_of_two_parts_is_named_with_both_files_and_the_number_of_others(nonmembers, sources, line):
    with pytest.raises(DataError) as error:
        check_overlaps(parts(member=["a", "b", "d"], nonmember=nonmembers), sources)
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("names", "option"),
    [
        ({"id": "key"}, "--id key"),
        ({"group": "key"}, "--group key"),
        ({"text": "key"}, "--fields text=key"),
        ({"completion": "key"}, "--fields completion=key"),
    ],
)
def test_an_option_that_names_no_field_is_named(tmp_path, monkeypatch, names, option):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.jsonl").write_text('{"body": "a text"}\n')
    with pytest.raises(DataError) as error:
        read_source_texts("member", "m.jsonl", names)
    assert str(error.value) == f"{option}: m.jsonl line 1 has no field 'key'. Choose one of its fields: body."


def test_a_device_is_named_by_its_option_or_its_setting(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(
        SettingError, match=r"^--device cuda: torch detects 0 GPUs on this machine\. Write auto or cpu\.$"
    ):
        torch_device("cuda", where="--device cuda")
    with pytest.raises(SettingError, match=r"^machine\.device = 'cuda': torch detects 0 GPUs"):
        torch_device("cuda")


def test_lines_of_a_page_have_names_that_stand_alone():
    made = {"model": "m", "texts": {"members": 2, "cut": 1}, "at": "2026-01-01", "seconds": 0.5, "dirty": False}
    assert provenance_lines(made) == {
        "model": "m",
        "texts": '{"members": 2, "truncated texts": 1}',
        "date": "2026-01-01",
        "run time (seconds)": "0.5",
        "uncommitted changes": "false",
    }
    assert list(provenance_lines(made, ("at", "gone", "model"))) == ["date", "model"]
