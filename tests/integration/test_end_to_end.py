"""The complete path from the command line: a pre-trained model, private records, training, attacks, a report."""

import json
import re

import pytest

from testing.typed import byheart


@pytest.fixture(scope="module")
def store(real_folder):
    return real_folder / "store"


def test_the_run_ends_with_a_table(real_folder):
    assert "ROC AUC by attack and fine-tuning method" in (real_folder / "output.txt").read_text()


@pytest.fixture(scope="module")
def rows(store):
    return json.loads(byheart("rows", "--store", store, "--format", "json").stdout)


def one(rows, **labels):
    found = [r for r in rows if not r["initialized"] and all(r[n] == v for n, v in labels.items())]
    assert len(found) == 1, labels
    return found[0]


def test_the_base_model_is_at_chance(rows):
    for attack in ("loss", "zlib_ratio", "min_k", "min_k_plus_plus"):
        start = one(rows, method="full", epoch=0, attack=attack, metric="auc")
        assert start["low"] < 0.5 < start["high"], attack


def test_full_tuning_leaks_and_more_with_every_epoch(rows):
    loss = [one(rows, method="full", epoch=e, attack="loss", metric="auc") for e in (0, 1, 2)]
    assert loss[0]["value"] < loss[1]["value"] < loss[2]["value"]
    assert loss[2]["low"] > 0.6
    assert one(rows, method="full", epoch=2, attack="reference", metric="auc")["low"] > 0.6


def test_prefix_tuning_learns_and_leaks_less(rows):
    full, prefix = (one(rows, method=m, epoch=2, attack="loss", metric="auc")["value"] for m in ("full", "prefix"))
    assert prefix < full - 0.1


@pytest.mark.parametrize("method", ["full", "prefix"])
def test_every_method_improves_on_the_base_on_unseen_texts(rows, method):
    perplexity = [one(rows, method=method, epoch=e, metric="perplexity")["value"] for e in (0, 2)]
    assert perplexity[1] < 0.6 * perplexity[0]


def test_the_report_is_one_page_that_states_what_leaked(store, tmp_path):
    made = byheart("report", "--store", store, "-o", tmp_path / "report.html", "--export", tmp_path / "shown")
    assert made.returncode == 0, made.stderr
    page = (tmp_path / "report.html").read_text()
    shown = re.search(r'<ul class="verdicts">(.*?)</ul>', page, re.DOTALL)[1]
    verdicts = dict(re.findall(r'<strong>([^<]+)</strong><span class="badge (\w+)">', shown))
    assert set(verdicts) == {"full", "prefix"}
    assert verdicts["full"] == "leaks"
    assert shown.count("Leaks: ") == [*verdicts.values()].count("leaks")
    assert {p.suffix for p in (tmp_path / "shown").iterdir()} >= {".svg", ".png", ".pdf", ".md", ".tex", ".csv", ".txt"}


def test_scores_do_not_depend_on_batch_order_and_padding():
    from byheart.core import registry
    from byheart.core.types import Texts
    from byheart.lm.base_models import default_base
    from byheart.lm.forward import token_stats
    from byheart.lm.load import load
    from byheart.lm.tokens import tokenize

    words = (
        "The old sailor wrote twice to the queen of Lisbon, and twice she sent no answer.",
        "Paris is the capital of France.",
        "A ship.",
        "In 1969 two people walked on the moon while a third stayed in orbit, as had been planned for years.",
        "Customer Jane Roe, account 4471-22, phone 555-0172, was diagnosed with asthma in March.",
    )
    model, texts = load(default_base()), Texts(tuple("abcde"), words)
    together, alone = (token_stats(model, tokenize(model.tokenizer, texts, 64), budget=b) for b in (4096, 1))
    turned = token_stats(model, tokenize(model.tokenizer, texts.take(range(4, -1, -1)), 64), budget=40)
    for name in ("loss", "min_k_plus_plus"):
        attack = registry.load_function("attacks", name)
        assert attack(alone) == pytest.approx(attack(together), abs=1e-5)
        assert attack(turned)[::-1] == pytest.approx(attack(together), abs=1e-5)
