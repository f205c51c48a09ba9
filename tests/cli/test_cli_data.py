"""Unusable texts and models are refused in one line, before anything is computed."""

import json
import re
import shutil

import pytest

from testing.command_line import DATA, lines


def parts(name_of):
    sentence = "The {0} sailor wrote {0} letters to the queen of {0}."
    rows = [{"text": sentence.format(n % 12), "split": name_of(n)} for n in range(60)]
    return "".join(json.dumps(r) + "\n" for r in rows).encode()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "texts.jsonl.*No such file or directory"),
        (lines(last=b'{"text": "caf\xe9"}\n'), "texts.jsonl line 61.* UTF-8"),
        (lines(last=b'{"text": \n'), "texts.jsonl line 61.* JSON"),
        (lines(last=b'{"txt": "a"}\n'), "texts.jsonl line 61.* 'text'.* txt"),
        (lines(last=b'{"text": " "}\n'), "texts.jsonl line 61: 'text'"),
        (b"", "texts.jsonl"),
        (lines(9), r"\b12 .*\b12 .*\b6 .*\b9\b"),
        (b'{"text": "again and again"}\n' * 60, r"\b59\b"),
    ],
)
def test_invalid_texts_are_refused_with_their_line(refused, study, tmp_path, content, named):
    place = tmp_path / "texts.jsonl"
    if content is not None:
        place.write_bytes(content)
    datasets = [{"files": {"path": str(place)}}]
    assert re.search(named, refused("plan", study(datasets=datasets), "--store", tmp_path / "st"))


@pytest.mark.parametrize(
    ("name_of", "named"),
    [
        (lambda _: "train", "nonmembers"),
        (lambda n: ("train", "test", "validation")[n // 20], "nonmembers"),
        (lambda _: "tests", "train, test, validation"),
    ],
)
def test_published_parts_that_are_empty_or_overlap_are_refused(refused, study, tmp_path, name_of, named):
    (tmp_path / "parts.jsonl").write_bytes(parts(name_of))
    datasets = [{"files": {"path": str(tmp_path / "parts.jsonl"), "split": "split"}}]
    place = study(datasets=datasets, data={**DATA, "split": "published"})
    assert named in refused("plan", place, "--store", tmp_path / "st")


def test_texts_longer_than_the_context_fail_before_anything_is_computed(failed, study, tiny_folder, tmp_path):
    """GPT-2 has 128 positions: reading on would end in an index error."""
    (tmp_path / "long.jsonl").write_bytes(
        b"".join(json.dumps({"text": f"Number {n} of many. " * 60}).encode() + b"\n" for n in range(60))
    )
    datasets = [{"files": {"path": str(tmp_path / "long.jsonl")}}]
    place = study(datasets=datasets, data={**DATA, "max_tokens": 500}, models=str(tiny_folder("gpt2")))
    assert re.search(r"data\.max_tokens.*\b128\b", failed("run", place, "--store", tmp_path / "st"))
    assert not (tmp_path / "st" / "evidence").exists()


@pytest.mark.parametrize("command", ["plan", "run"])
def test_one_wrong_model_among_several_is_refused_before_any_is_trained(refused, study, tiny_folder, tmp_path, command):
    broken = shutil.copytree(tiny_folder("llama"), tmp_path / "broken")
    good = str(tiny_folder("llama"))
    st = tmp_path / "st"
    assert str(tmp_path / "no") in refused(command, study(models=[good, str(tmp_path / "no")]), "--store", st)
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    assert "pickle" in refused(command, study(models=[good, str(broken)]), "--store", st)
    (broken / "pytorch_model.bin").rename(broken / "model.safetensors")
    (broken / "config.json").write_text('{"model_type": "bert"}')
    assert "causal language model" in refused(command, study(models=[good, str(broken)]), "--store", st)
    assert "nobody/nothing" in refused(command, study(models=[good, "nobody/nothing"]), "--store", st)
    assert not (st / "studies").exists()
