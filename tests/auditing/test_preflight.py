"""The preflight reads what the trainer really trains on: present, whole, with loss, in as many copies as planted, ended."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorForLanguageModeling, DataCollatorWithFlattening, Trainer
from trl import SFTConfig, SFTTrainer

import byheart
from byheart.auditing.canaries.texts import watched_texts_by_part
from byheart.auditing.training.callback import MemorizationCallback
from byheart.auditing.training.monitor import create_monitor
from byheart.auditing.training.preflight import training_rows
from byheart.auditing.training.preflight.find_tokens import Segments, TokenSequence, find
from byheart.core.errors import DataError, SettingError
from testing.training import MEMBERS, NONMEMBERS, TEXTS, arguments, gpt2, halves, plain, tokenizer

pytestmark = pytest.mark.usefixtures("training_folders")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
)


def watch(members=MEMBERS, nonmembers=NONMEMBERS, **how):
    return MemorizationCallback(members, nonmembers, attacks=["loss"], **how)


def started(trainer):
    """Train one step, and return the report and the preflight's warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.train()
    callback = next(c for c in trainer.callback_handler.callbacks if isinstance(c, MemorizationCallback))
    return callback.preflight, [str(w.message) for w in caught if "preflight" in str(w.message)]


def sft(folder, rows, callback, *, make=tokenizer, **how):
    args = arguments(folder, SFTConfig, max_steps=1, **{"max_length": 64, **how})
    data = rows if not isinstance(rows, list) else Dataset.from_list(rows)
    return SFTTrainer(model=gpt2(), args=args, train_dataset=data, processing_class=make(), callbacks=[callback])


def texts(items=MEMBERS):
    return [{"text": t} for t in items]


def pairs(items=MEMBERS):
    return [dict(zip(("prompt", "completion"), halves(t), strict=True)) for t in items]


def chats(items=MEMBERS):
    return [
        {"messages": [{"role": "user", "content": f"Go {i}"}, {"role": "assistant", "content": t}]}
        for i, t in enumerate(items)
    ]


FINE = {
    "text": (texts, {}),
    "completion only": (pairs, {"completion_only_loss": True}),
    "packed": (texts, {"packing": True, "max_length": 128}),
    "padding-free": (texts, {"padding_free": True, "max_length": None}),
}


@pytest.mark.parametrize("kind", FINE)
def test_texts_that_are_trained_on_whole_raise_no_warning(kind, tmp_path):
    shaped, how = FINE[kind]
    report, told = started(sft(tmp_path, shaped(), watch(shaped(), shaped(NONMEMBERS)), **how))
    assert report.problems == ()
    assert told == []
    assert report.counts("members") == {"trained on": len(MEMBERS)}
    assert report.counts("non-members") == {"not in the training data": len(NONMEMBERS)}
    assert f"end token: receives loss after {len(MEMBERS)} of {len(MEMBERS)}" in report.text()
    assert report.is_complete


def chatting():
    return tokenizer(chat_template=CHAT_TEMPLATE)


def test_assistant_only_loss(tmp_path):
    trainer = sft(
        tmp_path, chats(), watch(chats(), chats(NONMEMBERS)), make=chatting, assistant_only_loss=True, max_length=128
    )
    report, told = started(trainer)
    assert report.counts("members") == {"trained on": len(MEMBERS)}
    assert told == []


def test_a_plain_trainer_with_its_collator(tmp_path):
    report, told = started(plain(tmp_path, gpt2(), [watch()], max_steps=1))
    assert report.counts("members") == {"trained on": len(MEMBERS)}
    assert told == []
    assert "end token: receives loss after 0" in report.text()  # this tokenizer adds none


def test_a_flattening_collator(tmp_path):
    made = tokenizer()
    rows = [{**(one := dict(made(t))), "labels": one["input_ids"]} for t in MEMBERS]
    rows = [{n: r[n] for n in ("input_ids", "labels")} for r in rows]
    trainer = Trainer(
        model=gpt2(),
        args=arguments(tmp_path, max_steps=1),
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorWithFlattening(),
        processing_class=made,
        callbacks=[watch()],
    )
    assert started(trainer)[0].counts("members") == {"trained on": len(MEMBERS)}


def masked(folder, callback, masks):
    """A plain trainer whose labels are masked by hand."""
    made = tokenizer()
    rows = [dict(made(t)) for t in MEMBERS]
    rows = [{**row, "labels": masks(row["input_ids"])} for row in rows]

    def collate(batch):
        longest = max(len(r["input_ids"]) for r in batch)
        fill = {"input_ids": made.eos_token_id, "attention_mask": 0, "labels": -100}
        return {n: torch.tensor([[f] * (longest - len(r[n])) + r[n] for r in batch]) for n, f in fill.items()}

    return Trainer(
        model=gpt2(),
        args=arguments(folder, max_steps=1),
        train_dataset=Dataset.from_list(rows),
        data_collator=collate,
        processing_class=made,
        callbacks=[callback],
    )


def test_masked_labels_are_noticed(tmp_path):
    report, told = started(masked(tmp_path, watch(), lambda ids: [-100] * (len(ids) - 1) + ids[-1:]))
    assert report.counts("members") == {"without loss (labels masked)": len(MEMBERS)}
    assert f"{len(MEMBERS)} of {len(MEMBERS)} members are without loss" in told[0]
    report, _ = started(masked(tmp_path, watch(), lambda ids: [-100] * (len(ids) // 2) + ids[len(ids) // 2 :]))
    assert report.counts("members") == {"without loss on a part": len(MEMBERS)}
    report, told = started(masked(tmp_path, watch(), list))  # padded at the left
    assert told == []


def test_a_masked_end_token_is_counted(tmp_path):
    made = tokenizer()
    rows = [dict(made(t + made.eos_token)) for t in MEMBERS]
    trainer = Trainer(
        model=gpt2(),
        args=arguments(tmp_path, max_steps=1),
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorForLanguageModeling(made, mlm=False),  # masks every pad token, which is EOS
        processing_class=made,
        callbacks=[watch()],
    )
    assert f"end token: receives loss after 0 of {len(MEMBERS)}" in started(trainer)[0].text()


def test_truncated_absent_and_wrong_texts_are_counted(tmp_path):
    report, told = started(sft(tmp_path, texts(), watch(), max_length=14))
    assert report.counts("members") == {"truncated": len(MEMBERS)}
    assert "truncated" in told[0]
    rows = texts([*MEMBERS[3:], *NONMEMBERS[:2]])
    report, told = started(sft(tmp_path, rows, watch()))
    assert report.counts("members") == {"trained on": len(MEMBERS) - 3, "not in the training data": 3}
    assert report.counts("non-members")["trained on"] == 2
    assert "3 of" in told[0]
    assert "2 of" in told[0]


def test_members_in_the_prompt_only_have_no_loss(tmp_path):
    rows = [{"prompt": t, "completion": " Yes, that is the whole answer."} for t in MEMBERS]
    report, _ = started(sft(tmp_path, rows, watch(), completion_only_loss=True, max_length=128))
    assert report.counts("members") == {"without loss (labels masked)": len(MEMBERS)}


def planted(count=40, **how):
    data = Dataset.from_list(texts(TEXTS))
    return byheart.plant(data, **{"count": count, "repetitions": (1, 3), "references": 10, "seed": 4, **how})


def canary_watch(made, **how):
    return MemorizationCallback(canaries=made.canaries, attacks=["loss"], fpr=0.1, **how)


def test_canaries_are_counted_in_copies_and_held_out_ones_are_absent(tmp_path):
    made = planted()
    included = sum(c.included for c in made.canaries.canaries)
    callback = canary_watch(made)
    report, told = started(sft(tmp_path, made.dataset, callback))
    assert report.counts("canaries") == {"trained on": included}
    assert report.counts("held-out canaries") == {"not in the training data": 40 - included}
    assert told == []
    assert {"exposure", "held_out_exposure"} <= {r.metric for r in callback.rows}
    unique = sorted(set(made.dataset["text"]))
    report, told = started(sft(tmp_path, texts(unique), canary_watch(made)))
    fewer = sum(c.included and c.repetitions == 3 for c in made.canaries.canaries)
    assert report.counts("canaries")["in fewer copies than planted"] == fewer
    assert "in fewer copies than planted" in told[0]


def test_the_exposure_of_each_number_of_copies_is_logged_under_its_own_name(tmp_path):
    trainer = sft(tmp_path, planted().dataset, canary_watch(planted()))
    started(trainer)
    names = {name for entry in trainer.state.log_history for name in entry}
    assert {
        "eval_memorization/exposure/1x",
        "eval_memorization/exposure/3x",
        "eval_memorization/held_out_exposure",
    } <= names


def test_watched_canaries_are_comparable_because_coins_assigned_them(tmp_path):
    sizes = {"max_texts": 100, "max_tokens": 64, "token_budget": 4096}
    how = {"args": arguments(tmp_path), "attacks": {}, "metrics": (), "is_stepwise": False, **sizes}
    canaries = watched_texts_by_part(None, None, None, planted(count=80).canaries)
    assert create_monitor(gpt2(), tokenizer(), canaries, **how).gate.is_randomized
    given = watched_texts_by_part(MEMBERS, NONMEMBERS, None, None)
    assert not create_monitor(gpt2(), tokenizer(), given, **how).gate.is_randomized


def test_packing_that_cuts_canaries_is_refused_on_request(tmp_path):
    made = planted()
    cutting = {"packing": True, "packing_strategy": "wrapped", "max_length": 40}
    report, told = started(sft(tmp_path, made.dataset, canary_watch(made), **cutting))
    whole = report.counts("canaries").get("trained on", 0)
    assert whole < len(report.parts["canaries"]) / 2
    assert "cut in two by packing" in report.counts("canaries")
    assert told
    trainer = sft(tmp_path, made.dataset, canary_watch(made, preflight="refuse"), **cutting)
    with pytest.raises(DataError, match=r"preflight: .* of .* canaries are"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_data_of_another_manifest_are_refused(tmp_path):
    with pytest.raises(DataError, match="canaries are not in the training data"):
        sft(tmp_path, planted().dataset, canary_watch(planted(seed=9), preflight="refuse")).train()


def test_a_stream_is_sampled_and_absence_is_then_no_problem(tmp_path, monkeypatch):
    data = Dataset.from_list(texts())
    report, told = started(sft(tmp_path, data.to_iterable_dataset(), watch()))
    assert report.counts("members") == {"trained on": len(MEMBERS)}
    assert report.is_complete
    monkeypatch.setattr(training_rows, "MAX_STREAMED_ROWS", 6)
    report, told = started(sft(tmp_path, data.to_iterable_dataset(), watch()))
    assert (report.rows, report.is_complete) == (6, False)
    assert report.counts("members")["trained on"] == 6
    assert told == []
    assert "a sample" in report.text()


def test_a_long_data_set_is_sampled_at_random(tmp_path, monkeypatch):
    monkeypatch.setattr(training_rows, "MAX_ROWS", 8)
    report, _ = started(sft(tmp_path, texts(), watch()))
    assert (report.rows, report.is_complete) == (8, False)
    assert report.counts("members")["trained on"] == 8


def test_data_that_cannot_be_read_are_refused_only_on_request(tmp_path):
    def unreadable(batch):
        made = tokenizer()(([r["text"] for r in batch]), return_tensors="pt", padding=True)
        return {"input_ids": made["input_ids"], "attention_mask": made["attention_mask"]}

    def made(**how):
        args = arguments(tmp_path, max_steps=1, remove_unused_columns=False)
        return Trainer(
            model=gpt2(), args=args, train_dataset=Dataset.from_list(texts()), data_collator=unreadable,
            processing_class=tokenizer(), callbacks=[watch(**how)],
        )  # fmt: skip

    with pytest.raises(DataError, match="cannot be read"):
        made(preflight="refuse").train()
    with pytest.raises(SettingError, match="refuse, warn or off"):
        watch(preflight="maybe")


def test_the_preflight_can_be_left_out_and_the_training_stays_bit_for_bit(tmp_path):
    found = []
    for mode in ("off", "warn"):
        trainer = sft(tmp_path, planted().dataset, canary_watch(planted(), preflight=mode), shuffle_dataset=True)
        trainer.args.max_steps = 3
        trainer.train()
        found.append({n: p.clone() for n, p in trainer.model.state_dict().items()})
        reports = [c.preflight for c in trainer.callback_handler.callbacks if isinstance(c, MemorizationCallback)]
        assert (reports[0] is None) == (mode == "off")
    assert all(torch.equal(p, found[1][n]) for n, p in found[0].items())


def found_by_loops(sequence, ids, starts):
    """Every whole occurrence of a sequence within a segment."""
    size = len(sequence)
    return sum(
        list(ids[at : at + size]) == list(sequence)
        for start, end in itertools.pairwise(starts)
        for at in range(start, end - size + 1)
    )


def test_every_whole_occurrence_is_found_as_by_a_plain_loop():
    rng = np.random.default_rng(0)
    for _ in range(30):
        ids = rng.integers(1, 4, 300)
        starts = np.sort(np.concatenate([[0, 300], rng.choice(np.arange(1, 300), 5, replace=False)]))
        sequences = [ids[at : at + n] for n in (3, 6, 9, 12) for at in rng.integers(0, 280, 3)]
        rows = Segments(ids, np.ones(300, dtype=bool), starts)
        occurrences = list(find([TokenSequence(s, 0) for s in sequences], rows, frozenset({0})))
        for i, sequence in enumerate(sequences):
            whole = sum(o.sequence == i and o.first == 0 and o.last == len(sequence) for o in occurrences)
            assert whole == found_by_loops(sequence, ids, starts)
