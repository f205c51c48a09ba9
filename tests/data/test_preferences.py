"""Preference pairs as records: strings, chats, names of fields, groups; and what is refused."""

import json

import pytest

from byheart.core import registry
from byheart.core.errors import DataError
from byheart.core.types import Texts
from byheart.data.preference_records import parse_pair
from byheart.data.records import parse_record
from testing.preferences import pair_file, pairs

USER, ANSWER, OTHER = (
    {"role": "user", "content": "q?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "assistant", "content": "No."},
)


def read(path, made, **settings):
    return registry.choose("datasets", "preferences", {"path": str(pair_file(path, made)), **settings})()


def test_strings_are_pairs_after_one_prompt(tmp_path):
    found = read(tmp_path / "p.jsonl", pairs(3)).texts
    assert found.scored == tuple(p["chosen"] for p in pairs(3))
    assert found.rejected == tuple(p["rejected"] for p in pairs(3))
    assert found.rejected_texts.prompts == found.prompts == tuple(p["prompt"] for p in pairs(3))
    assert found.rejected_texts.scored == found.rejected


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [OTHER]},
        {"chosen": [USER, ANSWER], "rejected": [USER, OTHER]},
        {"conversations": [{"from": "human", "value": "q?"}], "chosen": ANSWER, "rejected": OTHER},
    ],
)
def test_chats_are_pairs_of_one_message_each(tmp_path, record):
    found = read(tmp_path / "p.jsonl", [record]).texts
    assert (found.scored, found.rejected) == (("Yes.",), ("No.",))
    assert json.loads(found.chats[0]) == [USER, ANSWER]
    assert json.loads(found.rejected_texts.chats[0]) == [USER, OTHER]


def test_fields_can_have_other_names_and_groups(tmp_path):
    made = [
        {"q": p["prompt"], "good": p["chosen"], "bad": p["rejected"], "who": i // 2} for i, p in enumerate(pairs(4))
    ]
    names = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    found = read(tmp_path / "p.jsonl", made, **names, group="who")
    assert found.groups == ("0", "0", "1", "1")
    assert found.texts.rejected == tuple(p["rejected"] for p in pairs(4))
    assert read(tmp_path / "p.jsonl", pairs(2), group="prompt").groups == tuple(p["prompt"] for p in pairs(2))


def test_a_folder_has_the_published_split(tmp_path):
    for name in ("train", "test"):
        pair_file(tmp_path / f"{name}.jsonl", pairs(2, seed=len(name)))
    assert (
        registry.choose("datasets", "preferences", {"path": str(tmp_path)})().roles
        == ("train",) * 2 + ("nonmember",) * 2
    )


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"text": "a"}, "line 1: is no preference pair, because it has no field 'chosen'. Write `prompt`, `chosen`"),
        ({"prompt": "q", "chosen": "a"}, "it has no field 'rejected'"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "chosen and rejected are equal. Remove the pair."),
        ({"prompt": "q", "chosen": "a", "rejected": " "}, "the text is empty"),
        ({"chosen": "a", "rejected": "b"}, "a preference pair of strings has no `prompt`"),
        ({"prompt": [USER], "chosen": [ANSWER, USER, ANSWER], "rejected": [OTHER]}, "a response has several messages"),
    ],
)
def test_other_records_are_refused_with_their_line(tmp_path, record, says):
    with pytest.raises(DataError) as error:
        read(tmp_path / "p.jsonl", [record])
    assert says in str(error.value)
    assert "p.jsonl line 1" in str(error.value)


def test_a_pair_keeps_the_sides_of_the_parser():
    record = parse_pair("here", pairs(1)[0])
    sides = [parse_record("here", pairs(1)[0], response=side) for side in ("chosen", "rejected")]
    assert (record.prompt, record.text, record.rejected) == (sides[0].prompt, sides[0].text, sides[1].text)


def test_pairs_stay_together_and_change_the_content_hash():
    one, two = (Texts(("a", "b"), ("x", "y"), rejected=r) for r in (("1", "2"), ("1", "3")))
    assert one.take([1]).joined(two.take([0])).rejected == ("2", "1")
    assert len({one.digest, two.digest, Texts(("a", "b"), ("x", "y")).digest}) == 3
    assert not len(Texts(("a", "b"), ("x", "y"), rejected=("1", "")).rejected_texts)
