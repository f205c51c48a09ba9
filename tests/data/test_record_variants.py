"""Records as trainers and libraries write them: system prompts, tool calls, loss flags, preference pairs, arrays, missing values."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from byheart.auditing.texts import parse_texts
from byheart.core.chat_messages import assistant_turns
from byheart.core.errors import DataError
from byheart.data.record_fields import identifier
from byheart.data.records import ParsedRecord, parse_record

QUESTION = {"role": "user", "content": "1+1?"}
ANSWER = {"role": "assistant", "content": "2."}
SYSTEM = {"role": "system", "content": "Be brief."}
OTHER = {"role": "assistant", "content": "3."}


def test_a_system_prompt_beside_a_chat_is_its_first_message():
    """As LLaMA-Factory and Anthropic write it."""
    expected = ParsedRecord(messages=(SYSTEM, QUESTION, ANSWER))
    assert parse_record("here", {"system": "Be brief.", "messages": [QUESTION, ANSWER]}) == expected
    shared = {"conversations": [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2."}]}
    assert parse_record("here", {**shared, "system": "Be brief."}) == expected
    assert parse_record("here", {"system": "Other.", "messages": [SYSTEM, QUESTION, ANSWER]}) == expected
    pair = parse_record("here", {"system": "Be brief.", "prompt": [QUESTION], "completion": [ANSWER]})
    assert pair == ParsedRecord(messages=(SYSTEM, QUESTION, ANSWER), first_turn=2)
    for empty in ("", None):
        assert parse_record("here", {**shared, "system": empty}).messages == (QUESTION, ANSWER)


def test_tool_calls_and_functions_become_those_of_chat_templates():
    call = {"name": "add", "arguments": {"a": 1}}
    chat = [
        {"from": "human", "value": "1+1?"},
        {"from": "function_call", "value": json.dumps(call)},
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "2."},
    ]
    parsed = parse_record("here", {"conversations": chat}).messages
    assert [m["role"] for m in parsed] == ["user", "assistant", "tool", "assistant"]
    assert parsed[1] == {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]}
    assert [text for _, text in assistant_turns(parsed)] == ["2."]
    messages = [
        QUESTION,
        {"role": "tool_call", "content": json.dumps([call])},
        {"role": "tool_response", "content": "2"},
        ANSWER,
    ]
    assert parse_record("here", {"messages": messages}).messages == parsed
    tools = [{"type": "function", "function": {"name": "add"}}]
    for functions in ([{"name": "add"}], '[{"name": "add"}]'):
        record = parse_record("here", {"messages": [QUESTION, ANSWER], "functions": functions})
        assert record == parse_record("here", {"messages": [QUESTION, ANSWER], "tools": tools})


@pytest.mark.parametrize(
    "flag", [{"weight": "0"}, {"weight": 0.0}, {"train": False}, {"training": False}, {"loss": False}]
)
def test_messages_that_training_gives_no_loss_are_context(flag):
    turns = parse_record("here", {"messages": [QUESTION, {**ANSWER, **flag}, QUESTION, OTHER]}).messages
    assert list(assistant_turns(turns)) == [(3, "3.")]
    kept = {"weight": 1, "train": True, "loss": None}
    assert len(list(assistant_turns(parse_record("here", {"messages": [QUESTION, {**ANSWER, **kept}]}).messages))) == 1


@pytest.mark.parametrize("role", ["Assistant", "ASSISTANT", "ai", "AI", "GPT"])
def test_roles_are_known_in_every_case(role):
    parsed = parse_record("here", {"messages": [{**QUESTION, "role": "Human"}, {**ANSWER, "role": role}]})
    assert parsed == ParsedRecord(messages=(QUESTION, ANSWER))


def test_preference_pairs_of_every_trainer_have_both_sides():
    chosen = ParsedRecord(messages=(QUESTION, ANSWER), first_turn=1)
    rejected = ParsedRecord(messages=(QUESTION, OTHER), first_turn=1)
    question = {"from": "human", "value": "1+1?"}
    for fields in (
        {"prompt": "1+1?", "chosen": [QUESTION, ANSWER], "rejected": [QUESTION, OTHER], "messages": [QUESTION, ANSWER]},
        {
            "conversations": [question],
            "chosen": {"from": "gpt", "value": "2."},
            "rejected": {"from": "gpt", "value": "3."},
        },
        {"prompt": [QUESTION], "chosen": ANSWER, "rejected": OTHER},
    ):
        assert parse_record("here", fields) == chosen
        assert parse_record("here", fields, response="rejected") == rejected
    alpaca = {"instruction": "Add.", "input": "1, 1", "chosen": "2.", "rejected": "3."}
    expected = parse_record("here", {"instruction": "Add.", "input": "1, 1", "output": "3."})
    assert parse_record("here", alpaca, response="rejected") == expected


def test_chats_of_frames_and_tables_and_without_a_field_are_the_same(tmp_path):
    rows = [{"messages": [QUESTION, {**ANSWER, "content": [{"type": "text", "text": "2."}]}]}] * 2
    table = pa.Table.from_pylist(
        [{"messages": [{**m, "content": [{"type": "text", "text": "x"}]} for m in rows[0]["messages"]]}]
    )
    pq.write_table(table, tmp_path / "chats.parquet")
    (framed,) = parse_texts("member", pd.read_parquet(tmp_path / "chats.parquet"))
    assert framed.chat == ({**QUESTION, "content": "x"}, {**ANSWER, "content": "x"})
    assert parse_texts("member", table) == (framed,)
    assert [t.chat for t in parse_texts("member", [r["messages"] for r in rows])] == [(QUESTION, ANSWER)] * 2
    assert parse_texts("member", [(np.str_("p"), np.str_("c"))])[0].scored == "c"


def test_identifiers_of_other_libraries_are_strings():
    for missing in (None, math.nan, np.float32("nan"), pd.NA, pd.NaT, Decimal("nan")):
        assert identifier("here", "group", missing) == ""
    assert identifier("here", "group", Decimal("12.0")) == "12"
    for value in (math.inf, np.float64("inf"), Decimal("1.5"), True):
        with pytest.raises(DataError, match=r"not a string or a whole number\. Write a string\."):
            identifier("here", "group", value)


def test_gaps_of_a_frame_are_missing_fields():
    alpaca = {"instruction": "Add.", "output": "2."}
    gaps = dict.fromkeys(("input", "system", "history"), math.nan)
    assert parse_record("here", {**alpaca, **gaps}) == parse_record("here", alpaca)
    chat = {"messages": [QUESTION, ANSWER]}
    gaps = {"tools": math.nan, "functions": pd.NA, "system": math.nan}
    assert parse_record("here", {**chat, **gaps}) == parse_record("here", chat)
