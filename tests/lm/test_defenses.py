"""Defenses by training settings or selection of rows: goldfish loss, early stopping."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from byheart.core.config import Training
from byheart.core.errors import DataError
from byheart.core.registry import key_of
from byheart.core.types import Texts
from byheart.lm import forward, train
from byheart.lm.generate import GenerationRequest, generate_greedy
from byheart.lm.goldfish import CONTEXT, goldfish_mask
from byheart.lm.tokens import tokenize
from byheart.store.store import Store, _first_difference
from byheart.study.plan import plan_cells
from byheart.study.shadow_models import shadow_cells
from byheart.study.study_file import parse_study as parsed
from byheart.tables.early_stopping import early_stopping
from testing.made_up import study


def tokens_of(model, sentences, prompts=(), *, longest=64):
    texts = Texts(tuple(map(str, range(len(sentences)))), tuple(sentences), tuple(prompts))
    return tokenize(model.tokenizer, texts, longest)


# --- goldfish loss


def mixed_plainly(before, k):
    """Whether a token after these counts, with Python's integers."""
    word = 2**64
    mixed = sum((int(t) + 1) * pow(0x9E3779B97F4A7C15, back, word) for back, t in enumerate(reversed(before), 1)) % word
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % word
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % word
    return (mixed ^ (mixed >> 31)) % k != 0


@pytest.mark.parametrize("k", [2, 3, 4])
def test_left_out_tokens_equal_those_of_a_plain_loop(tiny, sentences, k):
    for name in ("llama", "gemma"):  # without and with BOS
        tokens = tokens_of(tiny(name), sentences[:9], ["", "To whom? ", "Who wrote to whom, and where? "] * 3)
        expected = []
        for i in range(len(tokens)):
            ids = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]
            expected += [mixed_plainly(ids[max(0, p - CONTEXT) : p], k) for p in range(tokens.first[i], len(ids))]
        np.testing.assert_array_equal(goldfish_mask(tokens, k), expected)


def test_one_token_in_k_is_left_out(tiny):
    rng = np.random.default_rng(0)
    words = [" ".join(str(n) for n in rng.integers(0, 10**6, 12)) for _ in range(300)]
    tokens = tokens_of(tiny("llama"), words, longest=500)
    for k in (2, 4, 10):
        left_out = 1 - goldfish_mask(tokens, k)
        assert left_out.mean() == pytest.approx(1 / k, abs=4 * np.sqrt(1 / k / len(left_out)))


def test_a_passage_loses_the_same_tokens_at_every_position(tiny, sentences):
    model = tiny("llama")
    passage = " ".join(sentences[:4])
    alone, later = (tokens_of(model, [s], longest=500) for s in (passage, f"{sentences[5]} Then: {passage}"))
    a, b = (goldfish_mask(t, 3) for t in (alone, later))
    shared = next((n for n in range(len(alone.ids)) if alone.ids[-1 - n] != later.ids[-1 - n]), len(alone.ids))
    assert shared > CONTEXT + 10
    np.testing.assert_array_equal(a[::-1][: shared - CONTEXT], b[::-1][: shared - CONTEXT])
    assert 0 < a.mean() < 1


def test_left_out_tokens_have_no_gradient(tiny, sentences):
    """Steps equal those on the mean over counted tokens, and a text without counted tokens is skipped."""
    ours, plain = tiny("llama"), tiny("llama")
    tokens = tokens_of(ours, sentences[:4])
    kept = goldfish_mask(tokens, 2)
    ours.module.requires_grad_(True)
    settings = Training(epochs=1, batch_size=4, goldfish=2, schedule="constant", warmup=0)
    steps = train.train(
        ours, tokens, training=settings, learning_rate=1e-3, key="0a", precision=torch.float32, budget=50
    )
    reported = next(iter(steps)).loss
    optimizer = torch.optim.AdamW(plain.module.parameters(), lr=1e-3, weight_decay=0)
    logp = []
    for i in range(4):
        ids = torch.tensor(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])
        own = plain.module(input_ids=ids[None]).logits[0].log_softmax(1)
        first = int(tokens.first[i])
        logp.append(own[first - 1 : -1].gather(1, ids[first:, None])[:, 0])
    loss = -torch.cat(logp)[torch.from_numpy(kept)].mean()
    assert reported == pytest.approx(float(loss.detach()), rel=1e-5)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(plain.module.parameters(), 1.0)
    optimizer.step()
    for (name, a), b in zip(ours.module.named_parameters(), plain.module.parameters(), strict=True):
        assert (a - b).abs().max() < 2e-4, name


def test_texts_without_a_counted_token_are_skipped(tiny, monkeypatch):
    model = tiny("llama")
    tokens = tokens_of(model, ["The old sailor", "A judge in Oslo"])
    monkeypatch.setattr(
        "byheart.lm.loss.goldfish_mask",
        lambda tokens, _: np.arange(len(tokens.scored_ids)) >= len(tokens.scored_ids) - 1,
    )
    before = {n: p.detach().clone() for n, p in model.module.named_parameters()}
    training = Training(epochs=2, batch_size=1, goldfish=2)
    losses = [
        e.loss
        for e in train.train(
            model, tokens, training=training, learning_rate=1e-3, key="0a", precision=torch.float32, budget=50
        )
    ]
    assert all(np.isfinite(losses))
    assert any(not torch.equal(p, before[n]) for n, p in model.module.named_parameters())


@pytest.mark.slow
def test_goldfish_loss_reduces_extraction(tiny, sentences):
    """A model that memorized six texts continues their beginnings verbatim; with goldfish loss it does not."""

    def recited(goldfish):
        model = tiny("llama")
        model.module.requires_grad_(True)
        tokens = tokens_of(model, sentences[:6])
        training = Training(epochs=60, batch_size=3, goldfish=goldfish, schedule="constant")
        for _ in train.train(
            model, tokens, training=training, learning_rate=3e-3, key="0a", precision=torch.float32, budget=500
        ):
            pass
        rows = [tokens.ids[tokens.starts[i] : tokens.starts[i + 1]] for i in range(6)]
        written = generate_greedy(model, [GenerationRequest(row[:6], len(row) - 6) for row in rows])
        same = [
            np.mean(found[: len(row) - 6] == row[6 : 6 + len(found)]) for row, found in zip(rows, written, strict=True)
        ]
        logp = forward.token_stats(model, tokens).logp
        return float(np.mean(same)), logp

    by_heart, goldfish = recited(None), recited(3)
    assert by_heart[0] == 1.0
    assert goldfish[0] < 0.8
    model = tiny("llama")
    kept = goldfish_mask(tokens_of(model, sentences[:6]), 3)
    assert goldfish[1][kept].mean() > -0.1, "what counts is learnt"
    assert goldfish[1][~kept].mean() < by_heart[1][~kept].mean() - 1, "what is left out is not"


# --- early stopping


def on_path(perplexities, seed=0):
    """Rows of one method with this perplexity by epoch, and a different AUC at every epoch."""
    rows = study(datasets=("webnlg",), methods=("full",), epochs=range(len(perplexities)), seeds=(seed,))
    return [
        replace(r, value=float(perplexities[r.epoch]), low=None, high=None) if r.metric == "perplexity" else r
        for r in rows
    ]


def kept(rows, **settings):
    table = early_stopping(rows, **settings)
    assert len(table.rows) == 1
    return dict(zip(table.header, table.rows[0], strict=True))


@pytest.mark.parametrize(
    ("path", "patience", "epoch"),
    [
        ([20, 15, 12, 13, 11], 1, 2),
        ([20, 15, 12, 13, 11], 2, 4),
        ([20, 21, 12, 13], 1, 0),
        ([20, 21, 22, 12], 1, 0),
        ([20, 18, 17, 16], 1, 3),
        ([20, 18, 18, 16], 1, 1),
    ],
)
def test_early_stopping_selects_the_lowest_perplexity_within_patience(path, patience, epoch):
    rows = on_path(path)
    line = kept(rows, patience=patience)
    assert line["chosen epoch"] == str(epoch)
    assert line["validation perplexity"] == f"{path[epoch]:.2f} → {path[-1]:.2f}"
    then, last = (
        next(r for r in rows if r.attack == "loss" and r.metric == "auc" and r.epoch == e)
        for e in (epoch, len(path) - 1)
    )
    assert line["Loss AUC"].startswith(f"{then.value:.3f} [{then.low:.3f}")
    assert f"→ {last.value:.3f} [{last.low:.3f}" in line["Loss AUC"]


def test_an_epoch_that_was_not_observed_does_not_stop_training():
    rows = [r for r in on_path([20, 15, 12, 13, 11]) if r.epoch not in {2, 3}]
    assert kept(rows)["chosen epoch"] == "4"
    assert kept([r for r in on_path([20, 15, 12, 13, 16]) if r.epoch not in {2, 3}])["chosen epoch"] == "1"


def test_every_seed_is_stopped_separately():
    line = kept(on_path([20, 15, 16, 17]) + on_path([20, 15, 14, 17], seed=1))
    assert line["chosen epoch"] == "1 to 2"
    assert line["validation perplexity"] == "14.50 → 17.00", "rows without intervals have a mean without one"


def test_without_trained_epochs_nothing_is_stopped():
    with pytest.raises(DataError, match="table early_stopping"):
        early_stopping(on_path([20]))


# --- deduplication


@pytest.fixture
def repeated(tmp_path):
    """A study with duplicate texts in each group, with and without deduplication."""
    lines = [
        {"text": f"Note {g}: the {w} of house {g * 7} was painted green by {w} number {g}.", "group": str(g)}
        for g in range(40)
        for w in ("door", "gate", "door")
    ]
    (tmp_path / "notes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return {
        "models": "some/model",
        "datasets": [{"files": {"path": str(tmp_path / "notes.jsonl"), "group": "group"}}],
        "data": {"train": 60, "members": 30, "nonmembers": 30, "validation": 6, "near_duplicate": 1},
        "methods": ["lora"],
        "training": {"deduplicate": [None, 1, 0.1]},
        "attacks": ["lira"],
        "observations": [{"shadows": {"models": 4}}],
    }


def test_copies_are_trained_on_once_and_audited_texts_remain(repeated, tmp_path):
    complete, copies, near = plan_cells(parsed(repeated), Store.open(tmp_path / "store"))
    assert len({p.split.audited.digest for p in (complete, copies, near)}) == 1
    assert len({p.key for p in (complete, copies, near)}) == 3
    trained = complete.texts["train"].scored
    assert len(trained) == 60 > len(set(trained)) >= 40
    assert copies.texts["train"].scored == tuple(dict.fromkeys(trained))
    # Door and gate of one house share most of their n-grams; the first one remains.
    assert len(near.texts["train"]) < len(copies.texts["train"])
    assert set(near.texts["train"].scored) < set(trained)
    for shadow in shadow_cells(copies):
        assert len(set(shadow.texts["train"].scored)) == len(shadow.texts["train"])


def test_results_stored_without_the_settings_are_read(repeated, tmp_path):
    """Key and recipe of a cell are equal for a missing setting and for its default."""
    one, *_ = plan_cells(parsed(repeated), Store.open(tmp_path / "store"))
    old = {n: v for n, v in one.recipe["training"].items() if n not in {"goldfish", "deduplicate"}}
    assert not _first_difference({**one.recipe, "training": old}, one.recipe)
    given = {n: v for n, v in old.items() if v != getattr(Training(), n)}
    assert one.key == key_of({**one.recipe, "method": one.cell.method.identity, "training": given})
    assert one.texts["train"].digest == one.split.train.digest
