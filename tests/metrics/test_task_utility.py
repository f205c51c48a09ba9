"""Task utility: chrF and BLEU are sacrebleu's, ROUGE is rouge-score's, completions are those of the prompts."""

import importlib.util
import json

import numpy as np
import pytest
import sacrebleu
import torch

import byheart
from byheart.core.completions import Completions
from byheart.core.config import TokenFormat
from byheart.core.errors import DataError, SettingError
from byheart.core.types import Texts
from byheart.lm.forward import Scorer
from byheart.lm.tokens import tokenize
from byheart.metrics.bleu import bleu
from byheart.metrics.chrf import chrf
from byheart.metrics.rouge import rouge
from byheart.observations.completions import completions
from byheart.tables.utility import utility
from testing.measured import completed
from testing.wrapped import tuned

GROUPS = tuple(f"g{i}" for i in range(40))
PAIRS = [
    ("The cat sat on the mat.", "A cat was sitting on the mat."),
    ("Alan Bean, born 1932, was an astronaut!", "Alan Bean was born in 1932 and was an astronaut."),
    ("", "something"),
    ("no match here", "other words entirely"),
]
ROUGE = {
    "1": [0.6153846154, 0.8235294118, 0, 0],
    "2": [0.3636363636, 0.4, 0, 0],
    "L": [0.6153846154, 0.8235294118, 0, 0],
}
"""F1 of the pairs by rouge-score 0.1.2 without stemming."""


def one(written, *references):
    return Completions(
        text=np.array([0]), written=(written,), references=references, starts=np.array([0, len(references)])
    )


def test_bleu_is_sacrebleus_corpus_score_with_all_references():
    made = completed(range(40))
    two = [[made.references[made.starts[i + 1] - 1 if k else made.starts[i]] for i in range(40)] for k in range(2)]
    found = bleu(made, GROUPS)
    assert found.value == pytest.approx(sacrebleu.corpus_bleu(list(made.written), two).score, abs=1e-9)
    assert 0 < found.low < found.value < found.high < 100
    assert found.nonmembers == 40


@pytest.mark.parametrize("word_order", [0, 2])
def test_chrf_is_the_mean_of_sacrebleus_scores(word_order):
    made = completed(range(40))
    scores = [
        sacrebleu.sentence_chrf(
            made.written[i], list(made.references[made.starts[i] : made.starts[i + 1]]), word_order=word_order
        ).score
        for i in range(40)
    ]
    found = chrf(made, GROUPS, word_order=word_order)
    assert found.value == pytest.approx(np.mean(scores), abs=1e-9)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("kind", ROUGE)
def test_rouge_is_that_of_the_package_rouge_score(kind):
    for (written, reference), expected in zip(PAIRS, ROUGE[kind], strict=True):
        assert rouge(one(written, reference), ("g",), kind=kind).value == pytest.approx(100 * expected, abs=1e-7)
    best = rouge(one(PAIRS[0][0], "other words", PAIRS[0][1]), ("g",), kind=kind).value
    assert best == pytest.approx(100 * ROUGE[kind][0], abs=1e-7)


def test_a_perfect_completion_has_the_highest_score():
    perfect = one("The cat sat on the mat.", "The cat sat on the mat.")
    assert [m(perfect, ("g",)).value for m in (chrf, bleu, rouge)] == pytest.approx([100, 100, 100])


def prompted(sentences):
    prompts = [f"{s.split()[2]}:" for s in sentences]
    prompts[3], prompts[4] = prompts[0], prompts[0]  # three texts of one prompt
    return Texts(tuple(map(str, range(len(sentences)))), tuple(f" {s}" for s in sentences), tuple(prompts))


@pytest.mark.parametrize("method", ["full", "lora", "prefix", "prompt", "p_tuning"])
@pytest.mark.parametrize("end_token", [False, True])
def test_completions_are_a_plain_loops(tiny, method, sentences, end_token):
    model = tuned(tiny("llama"), method)
    texts = prompted(sentences)
    tokens = tokenize(model.tokenizer, texts, 100, token_format=TokenFormat(end_token=end_token))
    found = completions(Scorer(model, 100, torch.float32), tokens, max_new_tokens=12)
    distinct = list(dict.fromkeys(texts.prompts))
    assert [texts.prompts[i] for i in found.text] == distinct
    first = distinct.index(texts.prompts[0])
    references = found.references[found.starts[first] : found.starts[first + 1]]
    assert set(references) == {
        sentences[i].strip() for i in range(len(sentences)) if texts.prompts[i] == distinct[first]
    }
    for i, written in zip(found.text, found.written, strict=True):
        ids = tokens.ids[tokens.starts[i] : tokens.starts[i] + tokens.first[i]].tolist()
        scored = max(
            int(tokens.lengths[k] - tokens.first[k]) for k in range(len(texts)) if texts.prompts[k] == texts.prompts[i]
        )
        new = []
        for _ in range(12 if end_token else min(12, scored)):
            with torch.no_grad():
                row = torch.tensor([ids + new])
                logits = model.module(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, -1]
            new.append(int(logits.argmax()))
            if new[-1] == model.tokenizer.eos_token_id:
                break
        assert written == model.tokenizer.decode(new, skip_special_tokens=True).strip()


def test_fewer_prompts_are_the_same_whatever_their_order(tiny, sentences):
    model = tiny("llama")
    texts = prompted(sentences)

    def chosen(of):
        found = completions(Scorer(model, 100, torch.float32), tokenize(model.tokenizer, of, 100), prompts=2)
        return {of.prompts[i] for i in found.text}

    assert chosen(texts) == chosen(texts.take(range(len(texts))[::-1]))
    assert len(chosen(texts)) == 2


def test_a_missing_package_is_named_before_any_work(tiny_folder, tmp_path, monkeypatch):
    lines = [{"prompt": f"Number {i}:", "completion": f" it is {i * i} of {i % 7} things."} for i in range(80)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    content = {
        "name": "utility",
        "models": str(tiny_folder("llama")),
        "datasets": [{"files": {"path": str(tmp_path / "t.jsonl")}}],
        "data": {
            "train": 12,
            "members": 10,
            "nonmembers": 12,
            "validation": 6,
            "max_tokens": 60,
            "near_duplicate": 1.0,
        },
        "methods": ["lora"],
        "training": {"epochs": 1},
        "metrics": ["chrf", "bleu", "rouge"],
    }
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "sacrebleu" else found(name, *a))
    with pytest.raises(SettingError, match=r"metrics chrf: the package sacrebleu is not installed\. Run pip"):
        byheart.run(content, store=tmp_path / "store")
    monkeypatch.undo()
    results = byheart.run(content, store=tmp_path / "store")
    assert {r.metric for r in results.rows if not r.attack and r.epoch == 1} >= {"chrf", "bleu", "rouge"}
    assert utility(results.rows).rows


def test_a_data_set_without_prompts_is_refused_before_any_work(tiny_folder, tmp_path):
    content = {
        "name": "utility",
        "models": str(tiny_folder("llama")),
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
        "methods": ["lora"],
        "metrics": ["chrf"],
    }
    with pytest.raises(DataError, match=r"metrics chrf: requires prompts, but 6 of 6 validation texts have none"):
        byheart.run(content, store=tmp_path / "store")
