"""Texts and models that will not do are refused in one line, before anything is computed."""

import json
import shutil

import pytest

from testing.command_line import DATA, lines


def parts(name_of):
    sentence = "The {0} sailor wrote {0} letters to the queen of {0}."
    rows = [{"text": sentence.format(n % 12), "split": name_of(n)} for n in range(60)]
    return "".join(json.dumps(r) + "\n" for r in rows).encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "texts.jsonl cannot be read (No such file or directory"),
        (lines(last=b'{"text": "caf\xe9"}\n'), "texts.jsonl line 61 is not UTF-8"),
        (lines(last=b'{"text": \n'), "texts.jsonl line 61 is not JSON"),
        (lines(last=b'{"txt": "a"}\n'), "texts.jsonl line 61 has no field 'text'; its fields: txt"),
        (lines(last=b'{"text": " "}\n'), "texts.jsonl line 61: 'text' is empty"),
        (b"", "texts.jsonl holds no texts"),
        (lines(9), "asked for 12 training, 12 non-member and 6 validation texts, but there are 9"),
        (b'{"text": "again and again"}\n' * 60, "there are 1 in 1 groups (59 copies taken out)"),
    ],
)
def test_texts_that_will_not_do_are_refused_with_their_line(refused, study, tmp_path, content, told):
    place = tmp_path / "texts.jsonl"
    if content is not None:
        place.write_bytes(content)
    datasets = [{"files": {"path": str(place)}}]
    assert told in refused("plan", study(datasets=datasets), "--store", tmp_path / "st")


@pytest.mark.parametrize(
    ("name_of", "told"),
    [
        (lambda _: "train", "nonmembers: the data set publishes no texts for it"),
        (lambda n: ("train", "test", "validation")[n // 20], "copies taken out"),
        (lambda _: "tests", "choices: train, test, validation"),
    ],
)
def test_published_parts_that_are_empty_or_overlap_are_refused(refused, study, tmp_path, name_of, told):
    (tmp_path / "parts.jsonl").write_bytes(parts(name_of))
    datasets = [{"files": {"path": str(tmp_path / "parts.jsonl"), "split": "split"}}]
    place = study(datasets=datasets, data={**DATA, "split": "published"})
    assert told in refused("plan", place, "--store", tmp_path / "st")


def test_texts_longer_than_the_context_fail_before_anything_is_computed(failed, study, tiny_folder, tmp_path):
    """GPT-2 has 128 positions: reading on would end in an index error."""
    (tmp_path / "long.jsonl").write_bytes(
        b"".join(json.dumps({"text": f"Number {n} of many. " * 60}).encode() + b"\n" for n in range(60))
    )
    datasets = [{"files": {"path": str(tmp_path / "long.jsonl")}}]
    place = study(datasets=datasets, data={**DATA, "max_tokens": 500}, models=str(tiny_folder("gpt2")))
    assert "set data.max_tokens to 128 or fewer" in failed("run", place, "--store", tmp_path / "st")
    assert not (tmp_path / "st" / "evidence").exists()


@pytest.mark.parametrize("command", ["plan", "run"])
def test_one_wrong_model_among_several_is_refused_before_any_is_trained(refused, study, tiny_folder, tmp_path, command):
    broken = shutil.copytree(tiny_folder("llama"), tmp_path / "broken")
    good = str(tiny_folder("llama"))
    st = tmp_path / "st"
    assert "does not exist" in refused(command, study(models=[good, str(tmp_path / "no")]), "--store", st)
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    assert "pickled" in refused(command, study(models=[good, str(broken)]), "--store", st)
    (broken / "pytorch_model.bin").rename(broken / "model.safetensors")
    (broken / "config.json").write_text('{"model_type": "bert"}')
    assert "not a causal language model" in refused(command, study(models=[good, str(broken)]), "--store", st)
    assert "the Hub did not give it" in refused(command, study(models=[good, "nobody/nothing"]), "--store", st)
    assert not (st / "studies").exists()
