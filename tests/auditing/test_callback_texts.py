"""Texts for the callback: chats, copies and record shapes, and requests that are refused before training."""

import pytest
from transformers import AutoTokenizer

import byheart
from byheart.auditing.render_texts import render_texts
from byheart.auditing.texts import texts_by_part
from byheart.auditing.training.callback import MemorizationCallback, MemorizationWarning
from byheart.core.errors import DataError, ModelError, SettingError, UnknownNameError
from testing.training import FOLDERS, MEMBERS, NONMEMBERS, gpt2, halves, plain, tokenizer, watched

pytestmark = pytest.mark.usefixtures("training_folders")

CHAT = [
    {"role": "user", "content": "Who wrote letters?"},
    {"role": "assistant", "content": "im"},
    {"role": "user", "content": "To whom?"},
    {"role": "assistant", "content": " The queen of Lisbon. "},
]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_only_assistant_turns_of_a_chat_are_scored():
    stored = {"messages": CHAT}, {"prompt": CHAT[:3], "completion": CHAT[3:]}
    texts, groups = render_texts(
        "member", texts_by_part(stored, MEMBERS, None)["member"], 9, tokenizer(chat_template=TEMPLATE)
    )
    assert texts.scored == ("im", "The queen of Lisbon.", "The queen of Lisbon.")
    assert texts.prompts[0] == "<|im_start|>user\nWho wrote letters?<|im_end|>\n<|im_start|>assistant\n"
    assert texts.prompts[1] == texts.prompts[2]
    assert texts.prompts[1].startswith(texts.prompts[0] + "im<|im_end|>")
    assert groups[0] == groups[1] != groups[2]
    with_bos = AutoTokenizer.from_pretrained(FOLDERS["gemma"])
    with_bos.chat_template = "<s>" + TEMPLATE
    assert render_texts("m", texts_by_part(stored, MEMBERS, None)["member"], 9, with_bos)[0].prompts == texts.prompts
    most = render_texts("m", texts_by_part(stored * 9, MEMBERS, None)["member"], 4, tokenizer(chat_template=TEMPLATE))
    assert len(most[0]) <= 4
    for template, stated in (
        (None, "chat template"),
        ("{{ raise_exception('no') }}", "no"),
        ("x", "chat template"),
    ):
        with pytest.raises(DataError, match=stated):
            render_texts("m", texts_by_part(stored, MEMBERS, None)["member"], 9, tokenizer(chat_template=template))


def test_copies_are_one_group_and_all_record_shapes_give_the_same_texts():
    pair = halves(MEMBERS[0])
    record = {"prompt": pair[0], "completion": pair[1], "id": 3}
    given = texts_by_part([pair, list(pair), record, {"text": "x y"}], byheart.Texts(("a",), ("b",), ("c",)), None)
    texts, groups = render_texts("member", given["member"], 9, None)
    assert texts.scored == (pair[1], pair[1], pair[1], "x y")
    assert groups[0] == groups[1] == groups[2] != groups[3]
    assert render_texts("n", given["nonmember"], 9, None)[0] == byheart.Texts(("n/a",), ("b",), ("c",))


REFUSED = {
    "no Texts": (DataError, "member texts", (byheart.Texts((), ()), NONMEMBERS), {}),
    "no texts": (DataError, "member texts", ([], NONMEMBERS), {}),
    "one string": (DataError, "single string", ("text", NONMEMBERS), {}),
    "empty": (DataError, "nonmember text '1'.* empty", (MEMBERS, ["a", " "]), {}),
    "both sides": (DataError, "nonmembers: record '1' .* record '0' in members", (MEMBERS, ["a", MEMBERS[0]]), {}),
    "trained on": (
        DataError,
        "validation: record '0' .* record '0' in members",
        (MEMBERS, NONMEMBERS),
        {"validation": MEMBERS[:1]},
    ),
    "fields": (DataError, "body, id", ([{"body": "a", "id": 1}], NONMEMBERS), {}),
    "number": (DataError, r"\bint\b", ([3], NONMEMBERS), {}),
    "silent": (DataError, "member text '0'.* assistant", ([{"messages": CHAT[:1]}], NONMEMBERS), {}),
    "message": (DataError, "member text '0'.* `role`", ([{"messages": ["hi"]}], NONMEMBERS), {}),
    "attack": (UnknownNameError, "'loss'", (MEMBERS, NONMEMBERS), {"attacks": ["los"]}),
    "setting": (SettingError, "attacks min_k: k", (MEMBERS, NONMEMBERS), {"attacks": [{"min_k": {"k": 2}}]}),
    "twice": (SettingError, "attacks: loss", (MEMBERS, NONMEMBERS), {"attacks": ["loss", "loss"]}),
    "all": (SettingError, "a study", (MEMBERS, NONMEMBERS), {"attacks": "all"}),
    "none": (SettingError, "attacks: ", (MEMBERS, NONMEMBERS), {"attacks": []}),
    "every": (SettingError, "every = 0.*epoch", (MEMBERS, NONMEMBERS), {"every": 0}),
    "max_texts": (SettingError, "max_texts = 0", (MEMBERS, NONMEMBERS), {"max_texts": 0}),
    "fpr": (SettingError, "tpr_at_fpr: fpr", (MEMBERS, NONMEMBERS), {"fpr": 2.0}),
    "bound": (SettingError, "stop_above = 1.0", (MEMBERS, NONMEMBERS), {"stop_above": 1.0}),
    "rises": (
        SettingError,
        "stop_when_leakage_rises.*validation",
        (MEMBERS, NONMEMBERS),
        {"stop_when_leakage_rises": True},
    ),
    "ending": (SettingError, r"rows.pickle.*\.jsonl", (MEMBERS, NONMEMBERS), {"output": "rows.pickle"}),
    "folder": (SettingError, "/nowhere/at", (MEMBERS, NONMEMBERS), {"plot": "/nowhere/at/all.svg"}),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_bad_request_is_refused_in_one_line_before_any_training(case):
    kind, stated, texts, how = REFUSED[case]
    with pytest.raises(kind, match=stated) as caught:
        MemorizationCallback(*texts, **how)
    assert "\n" not in str(caught.value)


def test_errors_that_depend_on_the_trainer_are_raised_before_the_first_step(tmp_path):
    made = plain(tmp_path, gpt2(), [watched()])
    made.processing_class = made.callback_handler.processing_class = None
    with pytest.raises(DataError, match="tokenizer=tokenizer"):
        made.train()
    assert made.state.global_step == 0
    with pytest.warns(MemorizationWarning, match="of 40 texts.* 5 tokens"):
        plain(tmp_path, gpt2(), [watched(max_tokens=5)], max_steps=1).train()
    foreign = tokenizer()
    foreign.add_tokens([MEMBERS[0][:9]])
    with pytest.raises(ModelError, match=r"\b3\d\d\b.*\b300\b"):
        plain(tmp_path, gpt2(), [watched(tokenizer=foreign)]).train()


def test_few_texts_give_numbers_and_no_verdict(tmp_path):
    watch = MemorizationCallback(MEMBERS[:19], NONMEMBERS, attacks=["loss"], stop_above=0.5)
    made = plain(tmp_path, gpt2(), [watch], num_train_epochs=6)
    with pytest.warns(MemorizationWarning, match="fewer than 20 .*texts per class") as reported:
        made.train()
    assert len(reported) == 2  # the other: 1 % cannot be resolved
    assert watch.evaluations[-1].value("auc", "loss") > 0.95
    assert made.state.global_step == 30
