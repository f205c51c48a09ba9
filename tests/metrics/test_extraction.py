"""What models recite and how likely they are to, against raw loops and real samples; studies from end to end."""

import json

import numpy as np
import pytest
import torch

import byheart
from byheart.attacks.discoverable import discoverable
from byheart.attacks.probabilistic import probabilistic
from byheart.core.errors import DataError, ModelError, SettingError
from byheart.core.registry import choose
from byheart.core.types import Texts
from byheart.lm import forward, generate
from byheart.lm.forward import Scorer, causal_lm
from byheart.lm.generate import GenerationRequest, generate_samples
from byheart.lm.sampling_probs import row_sampling_logprobs
from byheart.lm.tokens import tokenize
from byheart.observations.greedy_continuation import greedy_continuation
from byheart.observations.prefix_suffix_split import prefix_suffix_split
from byheart.observations.sampling_logprobs import sampling_logprobs
from byheart.store.rows import score_reader
from byheart.store.store import Store
from byheart.study.run_study import report_content
from byheart.tables.extraction import extraction
from byheart.tables.extraction_curve import extraction_curve
from testing.wrapped import tuned

METHODS = (None, "full", "head", "lora", "prefix", "prompt", "p_tuning")
PROMPTS = ("", "Once", "", "", "The queen wrote of", "")


def texts_of(strings, prompts=()):
    return Texts(tuple(f"t{i}" for i in range(len(strings))), tuple(strings), tuple(prompts))


def read(model, strings, prompts=()):
    return tokenize(model.tokenizer, texts_of(strings, prompts), 100)


def scorer(model, budget=90):
    return Scorer(model, budget, torch.float32)


def row(tokens, i):
    return tokens.ids[tokens.starts[i] : tokens.starts[i + 1]].tolist()


# Where texts are parted


def test_the_prefix_is_fifty_tokens_or_half_of_the_text_or_the_prompt(tiny, sentences):
    model = tiny("gemma")
    tokens = read(model, [sentences[0] * 9, sentences[1], "Hi", " the answer."], ["", "", "", "A question?"])
    found = prefix_suffix_split(tokens)
    lengths = tokens.lengths.tolist()
    assert lengths[0] == 100
    assert found.begin.tolist() == [50, lengths[1] // 2, 1, tokens.first[3]]
    assert found.end.tolist() == lengths
    short = prefix_suffix_split(tokens, suffix=2)
    assert (short.end - short.begin).tolist() == [2, 2, lengths[2] - 1 if lengths[2] < 3 else 2, 2]


def test_a_prefix_that_is_given_is_kept_to_the_token(tiny, sentences):
    tokens = read(tiny("llama"), [*sentences[:3], " the answer."], ["", "", "", "A question?"])
    found = prefix_suffix_split(tokens, prefix=5, suffix=4)
    assert found.begin.tolist() == [5, 5, 5, tokens.first[3]]
    assert (found.end - found.begin <= 4).all()


def test_a_prefix_as_long_as_a_text_is_refused_with_the_reason(tiny, sentences):
    tokens = read(tiny("llama"), [*sentences[:3], "The queen."])
    least = int(tokens.lengths.min())
    with pytest.raises(
        DataError, match=rf"1 of 4 texts have no token after so many \('t3' has {least}\).*{least - 1} or"
    ):
        prefix_suffix_split(tokens, prefix=least)
    assert (prefix_suffix_split(tokens, prefix=least - 1).end - least + 1 >= 1).all()


# What is recited


@pytest.mark.parametrize("method", METHODS)
def test_recited_is_what_the_model_writes_by_itself(tiny, architecture, method, sentences, monkeypatch):
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])
    model = tuned(tiny(architecture), method)
    tokens = read(model, sentences[:6], PROMPTS)
    found = greedy_continuation(scorer(model), tokens, prefix_suffix_split(tokens, suffix=9))
    for i, (true, written) in enumerate(
        zip(parts(found.true, found.starts), parts(found.written, found.written_starts), strict=True)
    ):
        begin = prefix_suffix_split(tokens).begin[i]
        assert true == row(tokens, i)[begin : begin + 9]
        ids = row(tokens, i)[:begin]
        for _ in range(9):
            ids.append(int(next_logits(model, ids).argmax()))
        assert written == ids[begin : begin + len(true)]


@pytest.mark.parametrize("method", [None, "lora", "prefix", "prompt", "p_tuning"])
def test_recited_is_what_transformers_generate_gives(tiny, architecture, method, sentences, monkeypatch):
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])
    model = tuned(tiny(architecture), method)
    tokens = read(model, sentences[:3])
    found = greedy_continuation(scorer(model), tokens, prefix_suffix_split(tokens, prefix=7, suffix=8))
    for i, written in enumerate(parts(found.written, found.written_starts)):
        ids = torch.tensor([row(tokens, i)[:7]])
        theirs = model.module.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, eos_token_id=None
        )
        assert written == theirs[0, 7:].tolist()


def parts(values, starts):
    return [p.tolist() for p in np.split(values, starts[1:-1])]


def next_logits(model, ids):
    with torch.no_grad():
        given = torch.tensor([ids])
        return model.module(input_ids=given, attention_mask=torch.ones_like(given)).logits[0, -1].double()


@pytest.mark.parametrize("method", [None, "lora", "prompt"])
def test_a_text_is_recited_the_same_whatever_the_order_and_batch(tiny, method, sentences):
    model = tuned(tiny("llama"), method)
    strings = [s * (1 + i % 2) for i, s in enumerate(sentences[:6])]
    tokens = read(model, strings, PROMPTS)
    found = greedy_continuation(scorer(model), tokens, prefix_suffix_split(tokens))
    likely = sampling_logprobs(scorer(model), tokens, prefix_suffix_split(tokens))
    order = [5, 1, 3]
    other = read(model, [strings[i] for i in order], [PROMPTS[i] for i in order])
    for budget in (1, 70, 10_000):
        again = greedy_continuation(scorer(model, budget), other, prefix_suffix_split(other))
        assert parts(again.written, again.written_starts) == [
            parts(found.written, found.written_starts)[i] for i in order
        ]
        repeated = sampling_logprobs(scorer(model, budget), other, prefix_suffix_split(other))
        for one, i in zip(parts(repeated.logp, repeated.starts), order, strict=True):
            assert one == pytest.approx(parts(likely.logp, likely.starts)[i], abs=1e-4)


# How likely it is


def plain_logp(logits, token, temperature, top_k, top_p):
    """Log-probability of a token, by sorting and counting."""
    order = sorted(range(len(logits)), key=lambda v: -float(logits[v]))
    weights = {v: np.exp((float(logits[v]) - float(logits[order[0]])) / temperature) for v in order[:top_k]}
    total, kept, passed = sum(weights.values()), {}, 0.0
    for v in order[:top_k]:
        if passed / total < top_p:
            kept[v] = weights[v]
        passed += weights[v]
    return np.log(kept[token] / sum(kept.values())) if token in kept else -np.inf


@pytest.mark.parametrize("method", [None, "head", "lora", "prefix", "prompt", "p_tuning"])
def test_a_suffixs_chances_are_the_plain_loops(tiny, architecture, method, sentences):
    assert_chances(tuned(tiny(architecture), method), (1.5, 40, 0.9), sentences)


@pytest.mark.parametrize(
    "settings", [(1.0, 40, 1.0), (0.7, None, 1.0), (1.5, None, 0.8), (2.0, 30, 0.6), (1.0, 1, 1.0)]
)
def test_chances_after_what_sampling_cuts_off(tiny, settings, sentences):
    assert_chances(tuned(tiny("llama"), "prompt"), settings, sentences)


def assert_chances(model, settings, sentences):
    temperature, top_k, top_p = settings
    tokens = read(model, sentences[:3], PROMPTS[:3])
    parted = prefix_suffix_split(tokens, suffix=5)
    found = sampling_logprobs(scorer(model), tokens, parted, temperature=temperature, top_k=top_k, top_p=top_p)
    for i, several in enumerate(parts(found.logp, found.starts)):
        ids, begin = row(tokens, i), parted.begin[i]
        expected = [
            plain_logp(next_logits(model, ids[:at]), ids[at], temperature, top_k, top_p)
            for at in range(begin, parted.end[i])
        ]
        assert several == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("settings", [(1.0, 12, 1.0), (0.8, None, 0.7), (1.7, 20, 0.9)])
def test_what_is_cut_off_is_what_transformers_cuts_off(settings):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    temperature, top_k, top_p = settings
    logits = torch.randn(60, 100, generator=torch.Generator().manual_seed(0)) * 3
    true = torch.arange(60) % 100
    theirs = TemperatureLogitsWarper(temperature)(None, logits)
    theirs = TopKLogitsWarper(top_k)(None, theirs) if top_k else theirs
    theirs = TopPLogitsWarper(top_p)(None, theirs).log_softmax(1).gather(1, true[:, None])[:, 0]
    ours = row_sampling_logprobs(logits, true, temperature, top_k, top_p)
    assert (ours.isinf() == theirs.isinf()).all()
    assert 0 < ours.isinf().sum() < 60
    torch.testing.assert_close(ours, theirs)


def test_a_chance_is_how_often_samples_hold_the_suffix(tiny, sentences, monkeypatch):
    """No sampling is needed: 4,000 samples of each suffix of two tokens agree, within what a binomial allows."""
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])
    model = tiny("llama")
    temperature, top_k = 6.0, 12
    tokens, wanted = likely_suffixes(model, read(model, sentences[:4]))
    parted = prefix_suffix_split(tokens, prefix=6, suffix=2)
    found = sampling_logprobs(scorer(model), tokens, parted, temperature=temperature, top_k=top_k)
    once = probabilistic(found).scores
    openings = [GenerationRequest(np.array(row(tokens, i)[:6]), 2) for i in range(4)]
    several = generate_samples(model, openings, range(4), samples=4000, top_k=top_k, temperature=temperature)
    for i, written in enumerate(several):
        share = np.mean([w.tolist() == wanted[i] for w in written])
        assert 0.005 < once[i] < 0.5
        assert abs(share - once[i]) < 4 * np.sqrt(once[i] * (1 - once[i]) / 4000)


def likely_suffixes(model, tokens):
    """The same texts with two tokens after the first six that the model finds likely, though not its first choice."""
    import dataclasses

    rows, wanted = [], []
    for i in range(len(tokens)):
        ids = row(tokens, i)[:6]
        for _ in range(2):
            ids.append(int(next_logits(model, ids).topk(3).indices[i % 3]))
        rows.append(ids)
        wanted.append(ids[6:])
    starts = np.arange(len(rows) + 1) * 8
    return dataclasses.replace(tokens, ids=np.array([t for r in rows for t in r]), starts=starts), wanted


@pytest.mark.parametrize("method", [None, "prefix", "prompt"])
def test_greedy_is_sampling_among_one(tiny, method, sentences, monkeypatch):
    """Two ways to one answer: a model writes a suffix where every token of it is its first choice."""
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])
    model = tuned(tiny("llama"), method)
    tokens, _ = likely_suffixes(model, read(model, sentences[:6]))  # a third of them its first choice
    parted = prefix_suffix_split(tokens, prefix=6)
    written = discoverable(greedy_continuation(scorer(model), tokens, parted))
    among_one = probabilistic(sampling_logprobs(scorer(model), tokens, parted, top_k=1), n=1)
    assert written.extracted.tolist() == among_one.extracted.tolist()
    assert 0 < written.extracted.sum() < 6


def test_a_model_whose_numbers_overflow_is_refused(tiny, sentences, monkeypatch):
    model = tiny("llama")
    tokens = read(model, sentences[:2])
    real = forward.raw_logits
    monkeypatch.setattr(forward, "raw_logits", lambda module, hidden: real(module, hidden) * torch.nan)
    with pytest.raises(ModelError, match="not numbers"):
        sampling_logprobs(scorer(model), tokens, prefix_suffix_split(tokens))
    assert causal_lm(model.module) is model.module


# From end to end

EPOCHS = 20
ATTACKS = ["loss", "discoverable", {"approximate": {"by": ["bleu", "edit"]}}, {"probabilistic": {"n": 10}}]


def content(folder, path, **changes):
    return {
        "name": "recited",
        "models": str(folder),
        "datasets": [{"files": {"path": str(path)}}],
        "data": {
            "train": 12,
            "members": 12,
            "nonmembers": 12,
            "validation": 5,
            "max_tokens": 100,
            "near_duplicate": 1.0,
        },
        "methods": ["full"],
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.003},
        "attacks": ATTACKS,
        **changes,
    }


def written_texts(path):
    """Each text ends in words of its own, none of them twice: a word that comes again is half written by itself."""
    chance = np.random.default_rng(0)
    words = [
        "sailor",
        "doctor",
        "queen",
        "judge",
        "painter",
        "clerk",
        "Oslo",
        "Lima",
        "Cairo",
        "letters",
        "nurse",
        "pilot",
    ]
    rows = [{"id": str(i), "text": f"{i} wrote: {' '.join(chance.permutation(words)[:9])}"} for i in range(40)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def overfitted(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("overfitted")
    asked = content(
        tiny_folder("llama"),
        written_texts(folder / "texts.jsonl"),
        training={"epochs": EPOCHS, "batch_size": 1, "learning_rate": 0.005, "schedule": "linear", "warmup": 0.1},
        observations=[{"prefix_suffix_split": {"suffix": 12}}],
    )
    store = Store.open(folder / "store")
    return store, byheart.run(asked, store=store)


def of(results, metric, attack, epoch):
    return next(r for r in results.rows if (r.metric, r.attack, r.attack_settings, r.epoch) == (metric, *attack, epoch))


def test_a_model_recites_what_it_was_trained_on_and_nothing_else(overfitted):
    _, results = overfitted
    assert not results.failed, results.failed
    for attack in (("discoverable", ""), ("approximate", ""), ("approximate", "by=edit"), ("probabilistic", "n=10")):
        rate, others, before = (
            of(results, m, attack, e).value
            for m, e in (("extraction_rate", EPOCHS), ("extraction_rate_nonmembers", EPOCHS), ("extraction_rate", 0))
        )
        assert rate > 0.8, attack
        assert others == before == 0, attack
        assert of(results, "extraction_excess", attack, EPOCHS).low > 0.4
        assert of(results, "auc", attack, EPOCHS).value > 0.9
        assert of(results, "seconds", attack, EPOCHS).value > 0
        assert of(results, "passes", attack, EPOCHS).value == 1


def test_what_was_extracted_is_measured_only_of_attacks_that_extract(overfitted):
    _, results = overfitted
    measured = {r.attack for r in results.rows if r.metric.startswith("extraction")}
    assert measured == {"discoverable", "approximate", "probabilistic"}
    assert any(r.attack == "loss" and r.metric == "auc" for r in results.rows)


def test_scores_keep_what_was_extracted(overfitted):
    store, results = overfitted
    look_up = score_reader(store)
    held = look_up(of(results, "extraction_rate", ("discoverable", ""), EPOCHS).scores)
    assert held.extracted[held.members].mean() == of(results, "extraction_rate", ("discoverable", ""), EPOCHS).value
    assert set(held.tokens.tolist()) <= set(range(1, 13))
    assert look_up(of(results, "auc", ("loss", ""), EPOCHS).scores).extracted is None


def test_the_table_shows_both_controls_and_the_excess(overfitted):
    store, results = overfitted
    table = extraction(results.rows, score_reader(store))
    lines = {row[table.header.index("attack")]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert list(lines) == ["Discoverable", "Approximate", "Approximate by=edit", "(n, p)-discoverable"]
    line = lines["Discoverable"]
    now = of(results, "extraction_rate", ("discoverable", ""), EPOCHS)
    assert line["members"] == f"{now.value:.3f} [{now.low:.3f}, {now.high:.3f}]"
    assert line["non-members"].startswith("0.000 [0.000, ")
    assert line["members, untuned model"].startswith("0.000 [0.000, ")
    for column in ("over non-members", "over both"):
        assert line[column].startswith(f"{now.value:.3f} [")
    assert "12 tokens" in table.note
    every = extraction(results.rows, score_reader(store), each=True)
    assert len(every.rows) == EPOCHS * 4
    rates = [float(r[-5].split()[0]) for r in every.rows if r[-7] == "Discoverable"]
    assert rates[0] < rates[-1]


def test_the_curve_rises_with_every_try(overfitted):
    store, results = overfitted
    table = extraction_curve(results.rows, score_reader(store))
    assert {row[2] for row in table.rows} == {"0.1", "0.5", "0.9"}
    for row in table.rows:
        shares = [float(cell.split()[0]) for cell in row[4:]]
        assert shares == sorted(shares)
    members = next(row for row in table.rows if row[2:4] == ("0.5", "members"))
    held = score_reader(store)(of(results, "extraction_rate", ("probabilistic", "n=10"), EPOCHS).scores)
    ten = np.mean([1 - (1 - s) ** 10 >= 0.5 for s in held.scores[held.members]])
    assert float(members[5].split()[0]) == pytest.approx(ten, abs=5e-4)


def test_the_report_shows_both_tables(overfitted):
    from byheart.report.page import tables_of

    store, _ = overfitted
    made = tables_of(report_content(store, "recited"))
    assert {"extraction", "extraction_curve"} <= set(made)
    assert not any("metric=extraction" in name for name in made)


def test_a_prefix_that_leaves_nothing_is_refused_before_training(tiny_folder, tmp_path):
    asked = content(
        tiny_folder("llama"),
        written_texts(tmp_path / "t.jsonl"),
        observations=[{"prefix_suffix_split": {"prefix": 90}}],
    )
    store = Store.open(tmp_path / "store")
    results = byheart.run(asked, store=store)
    assert "no token after so many" in results.failed[0].error
    assert not list((tmp_path / "store").glob("training/*"))
    with pytest.raises(SettingError, match="observations prefix_suffix_split: prefix"):
        choose("observations", "prefix_suffix_split", {"prefix": 0})


@pytest.mark.parametrize("method", ["prompt", "prefix", "p_tuning"])
def test_prompts_and_completions_with_virtual_tokens(tiny_folder, tmp_path, method, sentences):
    rows = [{"id": str(i), "prompt": f"Number {i}:", "completion": f" {s} ({i * 37})"} for i, s in enumerate(sentences)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = content(
        tiny_folder("gemma"),
        tmp_path / "pairs.jsonl",
        data={"train": 8, "members": 8, "nonmembers": 8, "validation": 4, "max_tokens": 60, "near_duplicate": 1.0},
        methods=[method],
        training={"epochs": 1, "batch_size": 4},
        attacks=["discoverable", "probabilistic"],
    )
    results = byheart.run(asked, store=tmp_path / "store")
    assert not results.failed, results.failed
    assert {r.epoch for r in results.rows if r.metric == "extraction_rate"} == {0, 1}


# In an audit


@pytest.fixture(scope="module")
def audited(tiny_folder, tmp_path_factory):
    """An audit of a model that was tuned until it recites, with its base beside it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [
        json.loads(line)
        for line in written_texts(tmp_path_factory.mktemp("audited") / "t.jsonl").read_text().splitlines()
    ]
    strings = [r["text"] for r in rows]
    base, model = (AutoModelForCausalLM.from_pretrained(tiny_folder("llama")) for _ in range(2))
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("llama"))
    batch = [torch.tensor([tokenizer(s)["input_ids"]]) for s in strings[:20]]
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.005)
    for ids in batch * 20:
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    attacks = ["loss", "discoverable", {"probabilistic": {"n": 10}}]
    found = byheart.audit(model, tokenizer, strings[:20], strings[20:], base=base, attacks=attacks)
    return found, (model, tokenizer, strings)


def test_an_audit_tells_what_is_recited_and_judges_by_other_attacks(audited):
    found, _ = audited
    assert "discoverable" not in found.verdict
    assert found.ruling.attack == found.attack == "loss"
    assert {r.attack for r in found.rows if r.metric == "auc"} == {"loss"}
    rates = {(r.attack, r.epoch): r.value for r in found.rows if r.metric == "extraction_rate"}
    assert rates["discoverable", 1] > 0.5
    assert rates["discoverable", 0] == 0
    attacks, recited = found.tables()
    assert [line[0] for line in attacks.rows] == ["loss"]
    assert [line[recited.header.index("attack")] for line in recited.rows] == [
        "Discoverable",
        "(n, p)-discoverable",
    ]
    for spelled in (found.text(), found.markdown(), found.html()):
        assert "What can be extracted" in spelled or "non-members" in spelled
        assert "Discoverable" in spelled


def test_an_audit_is_kept_with_what_was_recited(audited, tmp_path):
    from pyarrow import parquet

    found, _ = audited
    found.save(tmp_path / "audit")
    columns = parquet.read_table(tmp_path / "audit" / "scores.parquet").column_names
    assert {"loss", "discoverable", "base/discoverable"} <= set(columns)
    assert "What can be extracted" in (tmp_path / "audit" / "report.html").read_text()


def test_an_audit_needs_an_attack_that_judges(audited):
    _, (model, tokenizer, strings) = audited
    with pytest.raises(SettingError, match="name one more, such as loss"):
        byheart.audit(model, tokenizer, strings[:20], strings[20:], attacks=["discoverable"])
