"""Chats in studies: scored turns, chat templates, keys, and every attack of the shelf on chats."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.auditing.render_texts import render_texts
from byheart.auditing.texts import parse_texts
from byheart.core.errors import DataError, ModelError
from byheart.datasets.files import files
from byheart.lm.special_tokens import render_chats
from byheart.lm.tokens import tokenize
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.plan import plan
from byheart.study.stored_evidence import read_evidence
from byheart.study.study_file import parse_study as parsed
from testing.stores import FEW, TEXT_ATTACKS

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NAMES = ("sailor", "doctor", "baker", "painter", "judge", "pilot", "farmer", "nurse", "clerk", "singer")
TOWNS = ("Lisbon", "Oslo", "Cairo", "Lima", "Quito", "Minsk", "Turin")


def chat(i):
    who, where, other = NAMES[i % 10], TOWNS[i % 7], NAMES[(i * 7 + 3) % 10]
    return [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": f"Who wrote letter {i}?"},
        {"role": "assistant", "content": f" The {who} of {where} wrote it in {1800 + i}. "},
        {"role": "user", "content": "To whom?"},
        {"role": "assistant", "content": f"To the {other}, with {i * 37 % 101} stamps."},
    ]


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    return write(tmp_path_factory.mktemp("chats") / "chats.jsonl", [{"messages": chat(i)} for i in range(130)])


@pytest.fixture(scope="module")
def spoken(tiny_folder, tmp_path_factory):
    """Return a function from an architecture's name to the folder of a tiny model with a chat template and context 512."""
    made = {}

    def folder(name, template=TEMPLATE):
        if (name, template) not in made:
            place = tmp_path_factory.mktemp("spoken") / name
            shutil.copytree(tiny_folder(name), place)
            config = json.loads((place / "config.json").read_text())
            (place / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 512}))
            tokenizer = AutoTokenizer.from_pretrained(place)
            tokenizer.chat_template = template
            tokenizer.save_pretrained(place)
            assert (place / "chat_template.jinja").exists() == (template is not None)
            made[name, template] = place
        return made[name, template]

    return folder


def content(folder, path, **changes):
    return {
        "name": "spoken",
        "models": str(folder),
        "datasets": [{"files": {"path": str(path)}}],
        "data": {"train": 50, "members": 26, "nonmembers": 26, "validation": 6, "known": 20, "max_tokens": 200},
        "methods": ["lora"],
        "training": {"epochs": 1, "batch_size": 8},
        "attacks": ["loss", "zlib_ratio"],
        "metrics": ["auc"],
        **changes,
    }


def test_each_turn_of_the_assistant_is_a_text_and_a_chat_is_a_group(chats):
    found = files(path=str(chats))
    assert len(found.texts) == 260
    assert found.texts.ids[:2] == ("chats/0#2", "chats/0#4")
    assert found.texts.scored[:2] == ("The sailor of Lisbon wrote it in 1800.", "To the painter, with 0 stamps.")
    assert found.groups[0] == found.groups[1] != found.groups[2]
    assert found.texts.prompts[0] == "system: Be short.\nuser: Who wrote letter 0?"
    assert json.loads(found.texts.chats[1]) == chat(0)


def test_prompt_and_completion_of_turns_score_the_completion(chats, tmp_path):
    rows = [{"prompt": chat(i)[:4], "completion": chat(i)[4:], "who": NAMES[(i * 7 + 3) % 10]} for i in range(3)]
    found = files(path=str(write(tmp_path / "pairs.jsonl", rows)), attributes=("who",))
    assert found.texts.scored == tuple(chat(i)[4]["content"] for i in range(3))
    assert [dict(a) for a in found.attributes] == [{"who": row["who"]} for row in rows]
    plain = files(path=str(chats)).texts
    assert found.texts.chats == plain.chats[1:6:2]
    named = files(path=str(write(tmp_path / "x.jsonl", [{"talk": chat(i)} for i in range(2)])), messages="talk")
    assert named.texts.scored == plain.scored[:4]


BAD = {
    "role": ([{"messages": [{"content": "hi"}]}], {}, "`role`"),
    "silent": ([{"messages": chat(0)[:2]}], {}, "assistant"),
    "string": ([{"messages": "hi"}], {}, "'messages' is not a list of messages.*text: messages"),
    "later": ([{"messages": chat(0)}, {"text": "hi"}], {}, "line 2.*'messages'"),
    "half": ([{"messages": [{"role": "assistant", "content": "\ud800 half"}]}], {}, "surrogate"),
    "both": ([{"messages": chat(0)}], {"messages": "messages", "text": "x"}, "text, prompt or completion"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_chats_are_refused_with_their_place(tmp_path, name):
    rows, settings, says = BAD[name]
    path = write(tmp_path / "bad.jsonl", rows)
    with pytest.raises(DataError, match=says) as error:
        files(path=str(path), **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_the_model_reads_the_template_and_scores_the_answer(spoken, chats, name):
    """Compare with the tokenizer's rendering of the full chat, truncated at the answer."""
    folder = spoken(name, ("<s>" if name == "gemma" else "") + TEMPLATE)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = files(path=str(chats)).texts.take(range(6))
    tokens = tokenize(tokenizer, texts, 300)
    assert tokens.texts == render_chats(tokenizer, texts)
    assert not any(tokens.texts.chats)
    for i, (scored, known) in enumerate(zip(texts.scored, texts.chats, strict=True)):
        complete = tokenizer.apply_chat_template(json.loads(known), tokenize=False)
        read = tokenizer.decode(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])
        assert complete.startswith(read)
        assert complete.removeprefix(read) == "</s>\n"
        own = tokens.ids[tokens.starts[i] + tokens.first[i] : tokens.starts[i + 1]]
        assert tokenizer.decode(own) == scored
    assert (tokens.ids == 1).sum() == (6 if name == "gemma" else 0)  # BOS once


def test_long_chats_lose_their_beginning(spoken, chats):
    tokenizer = AutoTokenizer.from_pretrained(spoken("llama"))
    texts = files(path=str(chats)).texts.take([1])
    complete, cut = (tokenize(tokenizer, texts, most) for most in (300, 60))
    assert cut.texts.scored == complete.texts.scored
    assert tokenizer.decode(cut.ids).endswith(texts.scored[0])
    assert len(cut.ids) == 60


def test_training_and_scoring_read_the_same_tokens(spoken, chats, tmp_path, monkeypatch):
    """The tokens of the training loss equal the scored tokens of each member."""
    from byheart.lm import train

    seen, before = [], train.train

    def spied(model, tokens, **how):
        seen.append(tokens)
        return before(model, tokens, **how)

    monkeypatch.setattr(train, "train", spied)
    store = Store.open(tmp_path / "store")
    requested = content(spoken("llama"), chats)
    results = byheart.run(requested, store=store)
    assert not results.failed, results.failed
    (planned,) = plan(parsed(requested), store)
    (trained,) = seen
    tokenizer = AutoTokenizer.from_pretrained(spoken("llama"))
    audited = tokenize(tokenizer, planned.split.audited, 200)
    for i, m in enumerate(planned.split.members):
        one, two = (t.ids[t.starts[j] : t.starts[j + 1]] for t, j in ((trained, m), (audited, i)))
        np.testing.assert_array_equal(one, two)
        assert trained.first[m] == audited.first[i]
    model = AutoModelForCausalLM.from_pretrained(spoken("llama")).eval()
    found = read_evidence(planned, store, planned.observation("target"), ModelState(0))
    np.testing.assert_array_equal(found.starts, audited.scored_starts)
    for i in (0, 30):
        ids = torch.tensor(audited.ids[audited.starts[i] : audited.starts[i + 1]])[None]
        with torch.no_grad():
            logp = model(input_ids=ids).logits[0].log_softmax(-1)
        first = int(audited.first[i])
        wanted = [float(logp[t - 1, ids[0, t]]) for t in range(first, ids.shape[1])]
        np.testing.assert_allclose(found.logp[found.starts[i] : found.starts[i + 1]], wanted, atol=1e-4)
    groups = {part: {name.split("#")[0] for name in planned.texts[part].ids} for part in planned.texts}
    assert not groups["train"] & (groups["validation"] | groups["known_nonmembers"])
    assert not groups["train"] & {n.split("#")[0] for n in planned.split.nonmembers.ids}


def test_every_attack_on_the_shelf_runs_on_chats(spoken, chats, tmp_path):
    """Uses other methods than `shadow_store`, where every attack runs on records."""
    requested = content(
        spoken("llama"),
        chats,
        methods=["head", "prompt"],
        attacks=[*TEXT_ATTACKS],
        observations=FEW,
    )
    results = byheart.run(requested, store=tmp_path / "store")
    assert not results.failed, results.failed
    found = {(r.attack, r.method, r.epoch) for r in results.rows if r.metric == "auc"}
    assert found == {(a, m, e) for a in TEXT_ATTACKS for m in ("head", "prompt") for e in (0, 1)}


def test_keys_cover_messages_and_template(spoken, chats, tmp_path):
    store = Store.open(tmp_path / "store")

    def keys(folder, path):
        (planned,) = plan(parsed(content(folder, path)), store)
        return planned.key, evidence_key(planned, planned.observation("target"), ModelState(0))

    first = keys(spoken("llama"), chats)
    assert keys(spoken("llama"), chats) == first
    rows = [json.loads(line) for line in chats.read_text().splitlines()]
    for row in rows:
        row["messages"][0]["tone"] = "dry"  # not a word, but a template may render it
    other = keys(spoken("llama"), write(tmp_path / "chats.jsonl", rows))
    template = keys(spoken("llama", TEMPLATE.replace("|", "/")), chats)
    for key, different in ((other, "texts"), (template, "template")):
        assert not set(key) & set(first), different


def test_keys_of_other_texts_do_not_depend_on_the_template(spoken, tmp_path):
    requested = [
        content(spoken("llama", t), "", datasets=[{"records": {"count": 150}}])
        for t in (TEMPLATE, TEMPLATE.replace("|", "/"))
    ]
    first, second = (plan(parsed(a), Store.open(tmp_path / "store"))[0].key for a in requested)
    assert first == second


def test_a_base_without_a_template_is_refused_before_any_work(tiny_folder, chats, tmp_path):
    store = tmp_path / "store"
    with pytest.raises(ModelError, match=r"chat template") as error:
        byheart.run(content(tiny_folder("llama"), chats), store=store)
    assert "\n" not in str(error.value)
    assert not list(store.glob("training/*"))
    assert not list(store.glob("evidence/*"))


def test_texts_of_chats_are_audited_in_the_template_too(spoken, chats):
    tokenizer = AutoTokenizer.from_pretrained(spoken("llama"))
    texts = files(path=str(chats)).texts.take(range(4))
    found, _ = render_texts("member", parse_texts("member", texts), 9, tokenizer)
    messages, _ = render_texts("member", parse_texts("member", [{"messages": chat(i)} for i in range(2)]), 9, tokenizer)
    assert found.scored == messages.scored == texts.scored
    assert found.prompts == messages.prompts == render_chats(tokenizer, texts).prompts
