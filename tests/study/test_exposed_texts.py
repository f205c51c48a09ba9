"""Texts leave the store only on request: as the model read them, with private values masked, and log-probabilities per token."""

import base64
import json
import re
import zlib

import numpy as np
import pytest

import byheart
from byheart.analysis.exposed_records import escape_invisible
from byheart.analysis.token_view import MASK_CHARACTER, mask_private_values, masked_text, token_pieces
from byheart.core.errors import DataError
from byheart.datasets.records import records
from byheart.store.result_files import read_arrays
from byheart.store.rows import study_rows
from byheart.store.store import Store
from byheart.study.exposed_texts import token_view_reader
from byheart.study.study_report import report_page
from testing.stores import lora_study
from testing.tiny_models import tiny_tokenizer

PRIVATE = {"name": "Ada Byron", "email": "ada@x.example"}


def test_every_piece_that_touches_a_private_value_is_masked_and_no_other():
    parts = ["Dear", " A", "da", " By", "ron", ",", " write", " to", " ADA", "@x.ex", "ample", "!"]
    shown, hidden = mask_private_values(parts, PRIVATE)
    assert shown == [
        "Dear",
        "[name]",
        MASK_CHARACTER,
        MASK_CHARACTER,
        MASK_CHARACTER,
        ",",
        " write",
        " to",
        "[email]",
        MASK_CHARACTER,
        MASK_CHARACTER,
        "!",
    ]
    assert hidden == [1, 2, 3, 4, 8, 9, 10]
    assert mask_private_values(parts, {}) == (parts, [])
    assert masked_text("".join(parts), PRIVATE) == "Dear [name], write to [email]!"


def test_a_value_is_masked_each_time_and_where_the_text_ends_within_it():
    assert mask_private_values(["Ada Byron", " and ", "Ada Byron"], PRIVATE)[0] == ["[name]", " and ", "[name]"]
    assert mask_private_values(["ask ", "Ada ", "By"], PRIVATE)[1] == [1, 2]
    assert mask_private_values(["ask ", "Ad"], PRIVATE)[1] == [], "two letters are no name"
    assert mask_private_values(["STRASSE İ ", "Ada Byron"], PRIVATE)[1] == [1], (
        "a letter that casefolding lengthens moves nothing"
    )
    assert mask_private_values(["aaaa"], {"a": ""}) == (["aaaa"], [])


def test_pieces_are_the_text_and_cover_every_token_once():
    tokenizer = tiny_tokenizer(bos=False)
    text = "The old 漢字 🙂 sailor\n\x07"
    ids = tokenizer(text)["input_ids"]
    found = token_pieces(ids, tokenizer)
    assert "".join(s for s, _ in found) == text
    assert sum(n for _, n in found) == len(ids)
    assert max(n for _, n in found) > 1, "a letter of several bytes is one piece"


def test_invisible_characters_are_escaped():
    assert escape_invisible("a\u202eb\x07\n\u200b漢") == "a⟨U+202E⟩b⟨U+0007⟩⏎⟨U+200B⟩漢"
    assert escape_invisible("x" * 9, 4) == "xxxx…"


@pytest.fixture(scope="module")
def store(tiny_folder, tmp_path_factory):
    """A store smaller than `lora_store`: pages with texts take longer than training a head."""
    few = {"methods": ["head"], "training": {"epochs": 1, "batch_size": 4}, "attacks": ["loss", "reference"]}
    folder = tmp_path_factory.mktemp("texts") / "store"
    assert not byheart.run(lora_study(tiny_folder("llama"), **few), store=folder).failed
    return Store.open(folder)


def payload(page):
    text = page.read_text(encoding="utf-8")
    data = re.search(r'<script type="text/plain" id="data">(.*?)</script>', text, re.DOTALL)[1]
    return text, zlib.decompress(base64.b64decode(data)).decode()


def private():
    return {v for a in records(count=60).attributes for n, v in a.items() if n != "diagnosis"}


def test_pages_contain_texts_and_private_values_only_on_request(store, tmp_path):
    bare, masked, complete = (
        "".join(payload(report_page(store, "tiny", tmp_path / f"{n}.html", **more)))
        for n, more in enumerate(({}, {"show_text": True}, {"show_text": True, "show_private": True}))
    )
    words = ("refunded", "invoice", "Complaint", "Billing")
    assert not any(w in bare for w in words)
    # Pieces are shorter than a value, so the texts are put together again.
    texts = [
        "".join(t["pieces"]) for c in json.loads(masked[masked.rindex('{"figures"') :])["records"] for t in c["texts"]
    ]
    assert len(texts) == 10
    assert not [v for v in private() for t in texts if v.casefold() in t.casefold()]
    texts = [
        "".join(t["pieces"])
        for c in json.loads(complete[complete.rindex('{"figures"') :])["records"]
        for t in c["texts"]
    ]
    assert sum(v in t for v in private() for t in texts) >= 8


def test_log_probabilities_of_both_models_are_shown(store):
    row = next(r for r in study_rows(store, "tiny") if (r.epoch, r.attack, r.metric) == (1, "reference", "auc"))
    reported = token_view_reader(store, "tiny", show_private=True)(row, [0, 3])
    recipe = store.recipe("scores", row.scores)["recipe"]["evidence"]
    for place, one in zip((0, 3), reported, strict=True):
        for name, shown in (("target", one.tuned), ("base", one.base)):
            stored = read_arrays(store.folder("evidence", recipe[name]))
            own = stored["logp"][stored["starts"][place] : stored["starts"][place + 1]]
            assert sum(shown) == pytest.approx(own.sum(), rel=0.01)
            assert len(shown) == len(one.pieces)
        scores = read_arrays(store.folder("scores", row.scores))["scores"]
        tokens = np.diff(read_arrays(store.folder("evidence", recipe["target"]))["starts"])[place]
        assert (sum(one.tuned) - sum(one.base)) / tokens == pytest.approx(scores[place], abs=0.02)


def test_without_the_data_set_no_text_is_shown_unmasked(store, monkeypatch):
    row = next(r for r in study_rows(store, "tiny") if r.scores and r.epoch == 1)

    def gone(*_, **__):
        raise DataError("the file is gone")

    monkeypatch.setattr("byheart.study.exposed_texts.choose", gone)
    with pytest.raises(DataError, match=r"the file is gone.*--show-private"):
        token_view_reader(store, "tiny", show_private=False)(row, [0])
    assert token_view_reader(store, "tiny", show_private=True)(row, [0])
