"""Shapes of records: studies and audits parse them alike, and errors name the location."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.auditing.texts import parse_texts
from byheart.core import chat_messages
from byheart.core.chat_messages import assistant_turns
from byheart.core.errors import DataError
from byheart.data.record_fields import check_characters, identifier
from byheart.data.records import ParsedRecord, parse_record
from byheart.datasets.files import files

QUESTION = {"role": "user", "content": "1+1?"}
ANSWER = {"role": "assistant", "content": "2."}
ALPACA = (
    "Below is an instruction that describes a task{}. Write a response that appropriately completes the request.\n\n"
)
NAMES = {
    "text": {"text": "text"},
    "completion": {"prompt": "prompt", "text": "completion"},
    "messages": {"messages": "messages"},
}


@pytest.mark.parametrize(
    ("fields", "names", "parsed"),
    [
        ({"text": " a "}, "text", ParsedRecord(text=" a ")),
        ({"prompt": "", "completion": " c"}, "completion", ParsedRecord(text=" c")),
        ({"prompt": "p ", "completion": "c"}, "completion", ParsedRecord("p ", "c")),
        ({"messages": [QUESTION, ANSWER]}, "messages", ParsedRecord(messages=(QUESTION, ANSWER))),
        ({"messages": (QUESTION, ANSWER)}, "messages", ParsedRecord(messages=(QUESTION, ANSWER))),
        (
            {"prompt": [QUESTION, ANSWER, QUESTION], "completion": [ANSWER]},
            "completion",
            ParsedRecord(messages=(QUESTION, ANSWER, QUESTION, ANSWER), first_turn=3),
        ),
    ],
)
def test_a_record_is_parsed_alike_with_and_without_field_names(fields, names, parsed):
    assert parse_record("here", fields) == parsed
    assert parse_record("here", {**fields, "extra": 3}, **NAMES[names]) == parsed


def test_an_alpaca_record_has_the_published_prompt():
    fields = {"instruction": "Say {it}.", "input": "now", "output": "It."}
    paired = ALPACA.format(", paired with an input that provides further context")
    complete = f"{paired}### Instruction:\nSay {{it}}.\n\n### Input:\nnow\n\n### Response:"
    assert parse_record("here", fields) == ParsedRecord(complete, "It.")
    alone = f"{ALPACA.format('')}### Instruction:\nSay {{it}}.\n\n### Response:"
    for empty in ({**fields, "input": ""}, {**fields, "input": None}, {"instruction": "Say {it}.", "output": "It."}):
        assert parse_record("here", empty) == ParsedRecord(alone, "It.")


def test_without_names_the_first_shape_that_fits_is_used():
    fields = {"output": "o", "instruction": "i", "text": "t", "completion": "c", "prompt": "p", "messages": [ANSWER]}
    found = []
    for absent in ("", "messages", "prompt", "text"):
        fields.pop(absent, None)
        record = parse_record("here", fields)
        found.append(record.text or record.messages)
    assert found == [(ANSWER,), "c", "t", "o"]
    assert parse_record("here", {"messages": "no list", "prompt": None, "completion": 3, "text": "t"}).text == "t"


CHAT = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2."}]


@pytest.mark.parametrize(
    ("fields", "parsed"),
    [
        ({"conversations": [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": "2."}]}, CHAT),
        ({"messages": [{"from": "user", "value": "1 + 1?"}, {"from": "assistant", "value": "2."}]}, CHAT),
        ({"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "model", "content": "2."}]}, CHAT),
        ({"messages": json.dumps(CHAT)}, CHAT),
        ({"messages": [CHAT[0], {"role": "assistant", "content": [{"type": "text", "text": "2"}, "."]}]}, CHAT),
        ({"prompt": CHAT[:1], "chosen": CHAT[1:], "rejected": [{"role": "assistant", "content": "3."}]}, CHAT),
        ({"chosen": CHAT, "rejected": [CHAT[0], {"role": "assistant", "content": "3."}]}, CHAT),
    ],
)
def test_chats_of_other_formats_become_messages(fields, parsed):
    record = parse_record("here", fields)
    assert list(record.messages) == parsed
    assert [text for _, text in assistant_turns(record.messages, record.first_turn)] == ["2."]


@pytest.mark.parametrize(
    ("fields", "prompt", "text"),
    [
        ({"question": "q", "answer": "a"}, "q", "a"),
        ({"prompt": "q", "response": "a"}, "q", "a"),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, "q", "a"),
        ({"instruction": "i", "context": "c", "response": "r", "category": "x"}, "### Input:\nc\n\n### Response:", "r"),
        ({"instruction": "i", "context": "", "response": "r"}, "### Instruction:\ni\n\n### Response:", "r"),
    ],
)
def test_pairs_of_other_formats_have_a_prompt_and_a_scored_text(fields, prompt, text):
    record = parse_record("here", fields)
    assert record.prompt.endswith(prompt)
    assert record.text == text


def test_the_rejected_side_of_a_preference_pair_is_scored_if_it_is_chosen():
    fields = {"prompt": "q", "chosen": "a", "rejected": "b"}
    assert parse_record("here", fields, response="rejected") == ParsedRecord("q", "b")
    chat = {"chosen": CHAT, "rejected": [CHAT[0], {"role": "assistant", "content": "3."}]}
    record = parse_record("here", chat, response="rejected")
    assert [text for _, text in assistant_turns(record.messages, record.first_turn)] == ["3."]


def test_a_turn_of_weight_0_is_read_and_not_scored():
    turns = [*CHAT, CHAT[0], {"role": "assistant", "content": "Two.", "weight": 0}, {**CHAT[1], "weight": 1}]
    record = parse_record("here", {"messages": turns})
    assert [i for i, _ in assistant_turns(record.messages)] == [1, 4]


@pytest.mark.parametrize("tools", [[{"name": "add"}], '[{"name": "add"}]'])
def test_tools_are_stored_with_the_first_message(tools):
    record = parse_record("here", {"messages": CHAT, "tools": tools})
    assert record.messages[0] == {**CHAT[0], "tools": [{"name": "add"}]}
    assert parse_record("here", {"messages": CHAT, "tools": None}).messages == tuple(CHAT)


@pytest.mark.parametrize(
    ("value", "name"), [("a", "a"), (12, "12"), (12.0, "12"), (None, ""), (math.nan, ""), (" ", ""), (np.int64(3), "3")]
)
def test_an_identifier_is_a_string_or_a_whole_number(value, name):
    assert identifier("here", "user", value) == name


@pytest.mark.parametrize("value", [1.5, True, ["a"], {"a": 1}])
def test_an_identifier_of_another_type_is_refused(value):
    with pytest.raises(DataError, match=r"here: 'user' is .*not a string or a whole number"):
        identifier("here", "user", value)


def test_names_read_their_fields_alone():
    fields = {"text": "t", "q": "ask", "a": "tell", "talk": [ANSWER]}
    assert parse_record("here", fields, prompt="q", text="a") == ParsedRecord("ask", "tell")
    assert parse_record("here", fields, text="q") == ParsedRecord("", "ask")
    assert parse_record("here", fields, messages="talk") == ParsedRecord(messages=(ANSWER,))
    assert parse_record("here", fields, text="talk") == ParsedRecord(messages=(ANSWER,))


def test_a_parsed_record_is_immutable():
    record = parse_record("here", {"text": "a"})
    with pytest.raises(FrozenInstanceError):
        record.text = "b"  # pyright: ignore[reportAttributeAccessIssue]


HALF = "contains half a surrogate pair (U+D800 to U+DFFF), which is not a character. Remove it."
WRITE = "Write a string or name another field."
FIELDS = "here: unknown record shape; the record has the fields "
ROLE = "here: a message has no `role`."
SILENT = "here: the chat has no assistant text"
REFUSED = {
    "no fields": ({}, {}, f"{FIELDS}none. Write `text`, `prompt` + "),
    "other fields": ({"body": "a", 3: "b"}, {}, f"{FIELDS}body, 3. Write `text`, "),
    "field to name": (
        {"id": "a", "n": 1, "body": "b"},
        {},
        (
            f"{FIELDS}id, n, body. Write `text`, `prompt` + `completion`, `messages`, `conversations`, `instruction` + `output`, `instruction` + "
            "`response`, `question` + `answer`, or `prompt` + `chosen` + `rejected`, or pass --fields text=body (in Python, rename the field)."
        ),
    ),
    "number": ({"text": 5}, {}, f"here: 'text' is 5, not a string. {WRITE}"),
    "mixed": (
        {"prompt": "a", "completion": [ANSWER]},
        {},
        "here: 'completion' is [{",
    ),
    "empty": ({"text": " \n"}, {}, "here: the text is empty. Remove it."),
    "empty completion": ({"prompt": "p", "completion": ""}, {}, "here: the text is empty. Remove it."),
    "empty output": ({"instruction": "p", "output": " "}, {}, "here: the text is empty. Remove it."),
    "half": ({"text": "a\ud83d"}, {}, f"here: 'text' {HALF}"),
    "half prompt": ({"prompt": "\ude00", "completion": "c"}, {}, f"here: 'prompt' {HALF}"),
    "half instruction": ({"instruction": "\ud83d", "output": "c"}, {}, f"here: 'instruction' {HALF}"),
    "half message": ({"messages": [QUESTION, {**ANSWER, "content": "a\ud83d"}]}, {}, f"here: a message {HALF}"),
    "half in a call": ({"messages": [ANSWER, {**QUESTION, "calls": {"\ud83d": 1}}]}, {}, f"here: a message {HALF}"),
    "message": ({"messages": ["hi"]}, {}, "here: a message is not an object."),
    "null": ({"text": None}, {}, f"here: 'text' is null, not a string. {WRITE}"),
    "null completion": ({"prompt": "p", "completion": None}, {}, "here: 'completion' is null, not a string."),
    "string of no messages": ({"messages": "[1, 2]"}, {}, "here: 'messages' is \"[1, 2]\", not a list of messages."),
    "image": (
        {"messages": [{**ANSWER, "content": [{"type": "image_url"}]}]},
        {},
        "here: a message has a part of type 'image_url', and only text is read.",
    ),
    "roles": (
        {"messages": [{"role": "critic", "content": "x"}]},
        {},
        f"{SILENT}, and only assistant text is scored (its roles: critic)",
    ),
    "pair without prompt": (
        {"chosen": "a", "rejected": "b"},
        {},
        "here: a preference pair of strings has no `prompt`.",
    ),
    "history": (
        {"instruction": "i", "output": "o", "history": [["q", "a"]]},
        {},
        "here: has the field 'history', which Alpaca's prompt does not contain.",
    ),
    "system": ({"instruction": "i", "output": "o", "system": "s"}, {}, "here: has the field 'system', which Alpaca's"),
    "call": (
        {"conversations": [{"from": "function_call", "value": "f(1)"}, {"from": "gpt", "value": "a"}]},
        {},
        "here: a tool call is not JSON with `name` and `arguments`.",
    ),
    "functions": ({"messages": [ANSWER], "functions": [3]}, {}, "here: `functions` is not a list of objects."),
    "prompt apart": (
        {"prompt": "q", "chosen": [ANSWER], "rejected": [{**ANSWER, "content": "3."}]},
        {},
        "here: `prompt` is a string, and the responses are messages without it.",
    ),
    "pair of messages": (
        {"chosen": ANSWER, "rejected": ANSWER},
        {},
        "here: a preference pair of messages has no `conv",
    ),
    "tools": ({"messages": [ANSWER], "tools": [3]}, {}, "here: `tools` is not a list of objects."),
    "role": ({"prompt": [{"content": "hi"}], "completion": [ANSWER]}, {}, ROLE),
    "silent": ({"messages": [QUESTION]}, {}, SILENT),
    "no messages": ({"messages": []}, {}, SILENT),
    "silent completion": ({"prompt": [ANSWER], "completion": [QUESTION]}, {}, SILENT),
    "named missing": ({"body": "a"}, NAMES["text"], "here: no field 'text'. Available fields: body."),
    "named missing prompt": ({"completion": "a"}, NAMES["completion"], "here: no field 'prompt'. Available fields: co"),
    "named number": ({"text": 5}, NAMES["text"], f"here: 'text' is 5, not a string. {WRITE}"),
    "named bytes": ({"text": b"a"}, NAMES["text"], f"here: 'text' is \"b'a'\", not a string. {WRITE}"),
    "named mixed": ({"prompt": [QUESTION], "completion": "a"}, NAMES["completion"], "here: 'prompt' is [{"),
    "named empty": ({"text": " "}, NAMES["text"], "here: 'text' is empty. Remove the record or name another field."),
    "named half": ({"text": "\ud83d"}, NAMES["text"], f"here: 'text' {HALF}"),
    "named half prompt": ({"prompt": "\ud83d", "completion": "c"}, NAMES["completion"], f"here: 'prompt' {HALF}"),
    "named alpaca": ({"instruction": "i", "output": "o"}, NAMES["text"], "here: no field 'text'. Available fields: in"),
    "named string": (
        {"messages": "hi"},
        NAMES["messages"],
        "here: 'messages' is not a list of messages. Write text: messages if it is a string.",
    ),
    "named no chat": ({}, NAMES["messages"], "here: 'messages' is not a list of messages. Write text: messages if"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_record_of_unknown_shape_raises_an_error_with_its_location(name):
    fields, names, message = REFUSED[name]
    with pytest.raises(DataError) as error:
        parse_record("here", fields, **names)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["", "a😀", ["a", ("é", None)], [{"role": "x", "n": math.nan, "when": object()}]])
def test_characters_outside_the_surrogates_are_accepted(value):
    check_characters("here", value)


@pytest.mark.parametrize("value", ["\ud83d", "a\udfff", ["a", {"b": ["\ud800"]}], {"\udc00": 1}, ["\ude00\ud83d"]])
def test_half_a_surrogate_pair_raises_an_error_anywhere(value):
    with pytest.raises(DataError) as error:
        check_characters("line 3: 'text'", value)
    assert str(error.value) == f"line 3: 'text' {HALF}"


STRINGS = st.text(st.characters(), max_size=12) | st.sampled_from(["", " ", "\ud83d", "\u2028", "😀 a"])
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"])}, optional={"content": STRINGS | st.none()})
    | st.sampled_from([QUESTION, ANSWER, "hi"]),
    max_size=4,
)
RECORDS = st.one_of(
    st.fixed_dictionaries({"text": STRINGS | st.integers() | st.none()}),
    st.fixed_dictionaries({"prompt": STRINGS | TURNS, "completion": STRINGS | TURNS}),
    st.fixed_dictionaries({"prompt": TURNS, "completion": TURNS}),
    st.fixed_dictionaries({"messages": TURNS | STRINGS}),
)


def study_texts(path, record):
    """The study's prompts, texts and chats."""
    path.write_text(json.dumps(record))
    texts = files(path=str(path)).texts
    chats = [chat_messages.decode_chat(chat) if chat else [] for chat in texts.chats]
    return list(zip([p * (not c) for p, c in zip(texts.prompts, chats, strict=True)], texts.scored, chats, strict=True))


def audit_texts(record):
    """The audit's prompts, texts and chats, in the study's shape."""
    (text,) = parse_texts("member", [record])
    if not text.chat:
        return [(text.prompt, text.scored, [])]
    turns = chat_messages.assistant_turns(text.chat, text.first_turn)
    return [("", words, list(text.chat[: i + 1])) for i, words in turns]


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except DataError:
        return "refused"


@given(record=RECORDS)
def test_studies_and_audits_parse_a_record_to_the_same_prompt_and_text(tmp_path_factory, record):
    """Or both refuse it."""
    record = json.loads(json.dumps(record))  # joins the halves of a pair, as a file does
    path = tmp_path_factory.getbasetemp() / "record.jsonl"
    assert outcome(study_texts, path, record) == outcome(audit_texts, record)


def test_studies_and_audits_differ_in_two_records(tmp_path):
    """Studies prefer `text`, and accept messages in it."""
    path = tmp_path / "record.jsonl"
    alpaca = {"instruction": "i", "output": "o"}
    both = {"text": "t", "prompt": "p", "completion": "c"}
    messages = {"text": [QUESTION, ANSWER]}
    found = [(outcome(study_texts, path, r), outcome(audit_texts, r)) for r in (alpaca, both, messages)]
    assert found == [
        ([(parse_record("here", alpaca).prompt, "o", [])],) * 2,
        ([("", "t", [])], [("p", "c", [])]),
        ([("", "2.", [QUESTION, ANSWER])], "refused"),
    ]
