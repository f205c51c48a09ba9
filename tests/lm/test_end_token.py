"""End tokens: trained and scored on request, with pad = EOS; all other tokens are scored as without them."""

import json

import numpy as np
import pytest
import torch
from accelerate import Accelerator

import byheart
from byheart.core.config import TokenFormat
from byheart.core.errors import DataError
from byheart.core.types import Texts
from byheart.lm.loss import StepLoss
from byheart.lm.token_swaps import token_neighbours
from byheart.lm.tokens import tokenize
from byheart.observations import _prefix
from byheart.observations.lowercased import lowercased
from byheart.observations.prefix_suffix_split import prefix_suffix_split
from byheart.store.store import Store
from byheart.study.plan import plan_cells
from byheart.study.study_file import parse_study
from testing.made_up import tiny_study
from testing.reading import own_ids, scorer, texts_of

TEMPLATE = "{% for m in messages %}[{{ m.role }}]{{ m.content }}<unk>\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"


@pytest.fixture
def model(tiny, architecture):
    found = tiny(architecture)
    found.tokenizer.pad_token = found.tokenizer.eos_token  # as many base models are used
    return found


def test_an_untruncated_text_ends_once_and_a_truncated_text_does_not(model, sentences):
    eos, limit = model.tokenizer.eos_token_id, 16
    strings = [*sentences[:6], "Short</s>", "Brief"]
    plain, ended = (
        tokenize(model.tokenizer, texts_of(strings), limit, token_format=TokenFormat(end_token=e))
        for e in (False, True)
    )
    for i, n in enumerate(ended.ended):
        expected = own_ids(plain, i) + ([eos] if n and own_ids(plain, i)[-1:] != [eos] else [])
        assert own_ids(ended, i) == expected
        assert n == (own_ids(ended, i)[-1] == eos)
    assert ended.ended.tolist()[-2:] == [1, 1]
    assert own_ids(ended, 6).count(eos) == 1
    assert 0 in ended.ended  # a sentence of more than 16 tokens
    assert ended.lengths.max() <= limit
    assert ended.texts == plain.texts
    assert plain.ended is None
    assert plain.text_lengths.tolist() == plain.lengths.tolist()


def test_a_text_of_maximum_length_has_no_end_token(tiny):
    model = tiny("llama")
    complete = tokenize(model.tokenizer, texts_of(["Brief words"]), 64)
    full = tokenize(
        model.tokenizer, texts_of(["Brief words"]), int(complete.lengths[0]), token_format=TokenFormat(end_token=True)
    )
    assert own_ids(full, 0) == own_ids(complete, 0)
    assert full.texts == complete.texts
    assert (full.ended.tolist(), full.cut.tolist()) == ([0], [1])


def test_the_end_is_scored_and_no_other_token_changes(model, sentences):
    strings = sentences[:5]
    plain, ended = (
        tokenize(model.tokenizer, texts_of(strings), 64, token_format=TokenFormat(end_token=e)) for e in (False, True)
    )
    before, after = scorer(model)(plain), scorer(model)(ended)
    assert np.diff(after.starts).tolist() == (np.diff(before.starts) + 1).tolist()
    is_end = np.zeros(len(after.logp), dtype=bool)
    is_end[after.starts[1:] - 1] = True
    np.testing.assert_allclose(after.logp[~is_end], before.logp, rtol=1e-5, atol=1e-5)
    assert np.isfinite(after.logp[is_end]).all()


def test_the_end_receives_loss_although_it_is_the_pad_token(model, sentences):
    for part in model.module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    tokens = tokenize(model.tokenizer, texts_of(sentences[:5]), 64, token_format=TokenFormat(end_token=True))
    loss = StepLoss(model, tokens, Accelerator(cpu=True), torch.float32, 200)
    assert int(loss.loss_token_counts.sum()) == len(tokens.scored_ids)
    assert loss.gradients(np.arange(5)) == pytest.approx(-float(scorer(model)(tokens).logp.mean()), rel=1e-4)


def test_training_on_ends_makes_the_model_end(tiny, sentences):
    model = tiny("llama")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:5]), 64, token_format=TokenFormat(end_token=True))
    ends = scorer(model)(tokens).starts[1:] - 1
    before = scorer(model)(tokens).logp[ends]
    optimizer = torch.optim.SGD(model.module.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        StepLoss(model, tokens, Accelerator(cpu=True), torch.float32, 200).gradients(np.arange(5))
        optimizer.step()
    model.module.eval()
    assert (scorer(model)(tokens).logp[ends] > before).all()


def test_extraction_and_variants_ignore_the_end_token(tiny, sentences):
    model = tiny("llama")
    eos = model.tokenizer.eos_token_id
    plain, ended = (
        tokenize(model.tokenizer, texts_of(sentences[:5]), 64, token_format=TokenFormat(end_token=e))
        for e in (False, True)
    )
    for settings in ({}, {"prefix": 3, "suffix": 40}):
        requested, without = prefix_suffix_split(ended, **settings), prefix_suffix_split(plain, **settings)
        assert requested.begin.tolist() == without.begin.tolist()
        assert requested.end.tolist() == without.end.tolist()
    for i, rows in enumerate(token_neighbours(scorer(model), ended, 6)):
        assert all(row[-1] == eos and len(row) == ended.lengths[i] for row in rows)
    assert [ids.tolist() for ids in _prefix.shot_ids(model, ended)] == [own_ids(plain, i) for i in range(5)]
    lower = lowercased(scorer(model), ended)
    assert np.diff(lower.starts).tolist() == (np.diff(lowercased(scorer(model), plain).starts) + 1).tolist()


def test_a_chat_ends_as_its_template_ends_a_turn(tiny):
    tokenizer = tiny("llama").tokenizer
    tokenizer.chat_template = TEMPLATE
    chat = json.dumps([{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Nobody."}])
    texts = Texts(("a", "b"), ("Nobody.", "Nobody."), ("", "Who?"), (chat, ""))
    tokens = tokenize(tokenizer, texts, 64, token_format=TokenFormat(end_token=True))
    ends = [own_ids(tokens, i)[-1] for i in range(2)]
    assert ends == [tokenizer.unk_token_id, tokenizer.eos_token_id]


def test_a_tokenizer_without_eos_raises_an_error(tiny):
    tokenizer = tiny("llama").tokenizer
    tokenizer.eos_token = None
    with pytest.raises(DataError, match=r"data.end_token.*no EOS"):
        tokenize(tokenizer, texts_of(["Brief words"]), 64, token_format=TokenFormat(end_token=True))
    with pytest.raises(DataError, match="no token to score"):
        tokenize(tiny("llama").tokenizer, texts_of(["a"]), 64, token_format=TokenFormat(end_token=True))


def test_only_studies_with_end_tokens_get_other_keys(tiny_folder, tmp_path):
    def keys(**setting):
        study = tiny_study(tiny_folder("llama"))
        study["data"] = study["data"] | setting
        (planned,) = plan_cells(parse_study(study), Store.open(tmp_path / "store"))
        return {"cell": planned.key, **{part: planned.tokens_recipe(part) for part in ("train", "audited")}}

    assert keys() == keys(end_token=False)
    assert "end_token" not in keys()["train"]
    ended = keys(end_token=True)
    assert all(ended[name] != value for name, value in keys().items())
    assert len(list((tmp_path / "store" / "splits").iterdir())) == 1


def test_an_audit_scores_ends_on_request(tiny):
    model, base = tiny("llama"), tiny("llama")
    with torch.no_grad():
        for weight in model.module.parameters():
            weight.mul_(1.01)
    members, nonmembers = ([f"{who} {i} wrote a letter." for i in range(12)] for who in ("Ann", "Ben"))
    found = [
        byheart.audit(
            model.module,
            model.tokenizer,
            members,
            nonmembers,
            base=base.module,
            attacks=["loss"],
            end_token=e,
        )
        for e in (False, True)
    ]
    assert [audit.provenance["settings"]["end_token"] for audit in found] == [False, True]
    assert not np.array_equal(*(audit.scores[1]["loss"] for audit in found))


def test_an_audit_of_chats_rejects_an_end_other_than_eos(tiny):
    model = tiny("llama")
    model.tokenizer.chat_template = TEMPLATE
    chat = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Nobody."}]}
    with pytest.raises(DataError, match=r"another token than the tokenizer's EOS"):
        byheart.audit(model.module, model.tokenizer, [chat], attacks=["loss"], end_token=True)
