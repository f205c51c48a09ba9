"""Canaries: coins, repetitions, secret spaces, and no overlap with other roles."""

import dataclasses
import math

import numpy as np
import pytest

from byheart.core.config import Canaries
from byheart.core.errors import DataError, SettingError, UnknownNameError
from byheart.core.split import Examples
from byheart.core.types import Texts
from byheart.data.canaries import plant_canaries
from byheart.data.splitting import split
from byheart.datasets.records import records
from byheart.study.cell import non_default_settings
from byheart.study.study_file import parse_study

ALL = ("random_tokens", "digits", "names", "in_distribution", "real_texts")
EXAMPLES = records(count=200)
SPLIT = split(EXAMPLES, train=40, members=20, nonmembers=20, validation=10, known=5)


def planted_canaries(examples=EXAMPLES, data_split=SPLIT, *, seed=0, **settings):
    return plant_canaries(Canaries(**settings), examples, data_split, near_duplicate=0.8, seed=seed)


def test_every_kind_comes_at_every_number_of_repetitions():
    canaries = planted_canaries(count=60, kinds=ALL, references=10)
    assert len(canaries.texts) == 60
    pairs = {(k, r) for k, r in zip(canaries.kinds, canaries.repetitions, strict=True)}
    assert pairs == {(k, r) for k in ALL for r in (1, 4, 16)}
    assert [canaries.kinds.count(k) for k in ALL] == [12] * 5


def test_included_canaries_are_trained_on_at_their_repetitions_and_the_others_never():
    canaries = planted_canaries(references=5)
    planted = dataclasses.replace(SPLIT, planted=canaries).parts["train"]
    assert planted.scored[: len(SPLIT.train)] == SPLIT.train.scored
    for text, included, repetitions in zip(canaries.texts.scored, canaries.included, canaries.repetitions, strict=True):
        assert planted.scored.count(text) == (repetitions if included else 0)
    assert len(canaries.copies) == sum(r for r, x in zip(canaries.repetitions, canaries.included, strict=True) if x)


def test_coins_are_fair_and_independent():
    coins = np.array([planted_canaries(count=12, references=1, seed=s).included for s in range(300)])
    assert coins.mean() == pytest.approx(0.5, abs=0.04)
    assert np.abs(np.corrcoef(coins.T) - np.eye(12)).max() < 0.3
    loaded = np.array([planted_canaries(count=12, references=1, seed=s, coin=0.9).included for s in range(100)])
    assert loaded.mean() == pytest.approx(0.9, abs=0.04)


def test_a_seed_changes_coins_only():
    first, other = planted_canaries(references=5), planted_canaries(references=5, seed=1)
    assert first.texts == other.texts
    assert first.references == other.references
    assert first.included != other.included
    assert first == planted_canaries(references=5)


def test_secrets_and_references_are_all_different_and_share_their_format():
    canaries = planted_canaries(count=48, references=50)
    everything = (*canaries.texts.scored, *canaries.references.scored)
    assert len(set(everything)) == len(everything)
    for kind in canaries.bits:
        own = [t for t, k in zip(canaries.texts.scored, canaries.kinds, strict=True) if k == kind]
        others = [t for t, k in zip(canaries.references.scored, canaries.reference_kinds, strict=True) if k == kind]
        assert len(others) == 50
        common = own[0][:7]
        assert all(t.startswith(common) for t in (*own, *others)), kind


def test_bits_are_those_of_the_secret_space():
    canaries = planted_canaries(references=5)
    assert canaries.bits["digits"] == pytest.approx(9 * math.log2(10))
    assert canaries.bits["random_tokens"] == pytest.approx(20 * math.log2(36))
    assert canaries.bits["names"] == pytest.approx(3 * math.log2(32 * 32))
    assert canaries.bits["in_distribution"] > 6 * 5
    secrets = [
        t.rsplit(" ", 1)[1]
        for t, k in zip(
            planted_canaries(references=4000, kinds=("digits",)).references.scored, ["digits"] * 4000, strict=True
        )
    ]
    counts = np.bincount([int(c) for t in secrets for c in t], minlength=10)
    assert counts / counts.sum() == pytest.approx(0.1, abs=0.006)


def test_canaries_are_in_no_other_role():
    canaries = planted_canaries(count=60, kinds=ALL, references=10)
    parts = dataclasses.replace(SPLIT, planted=canaries).parts
    others = {t for n in ("audited", "validation", "known_members", "known_nonmembers") for t in parts[n].scored}
    others |= set(SPLIT.train.scored)
    assert not others & {*canaries.texts.scored, *canaries.references.scored}
    real = [t for t, k in zip(canaries.texts.scored, canaries.kinds, strict=True) if k == "real_texts"]
    assert len(set(real)) == 12
    assert set(real) <= set(EXAMPLES.texts.scored)
    assert "real_texts" not in canaries.bits
    assert "real_texts" not in canaries.reference_kinds


def test_canaries_are_completions_if_the_data_have_prompts():
    strings = tuple(f" answer {i} tells of {i * 7} ships that left port number {i + 3} at noon" for i in range(100))
    texts = Texts(tuple(map(str, range(100))), strings, tuple(f"Question {i}?" for i in range(100)))
    examples = Examples(texts, ("pool",) * 100, texts.ids)
    data_split = split(examples, train=30, members=10, nonmembers=10, validation=10, near_duplicate=1.0)
    canaries = plant_canaries(
        Canaries(count=15, kinds=ALL, references=4), examples, data_split, near_duplicate=1.0, seed=0
    )
    for text, prompt, kind in zip(canaries.texts.scored, canaries.texts.prompts, canaries.kinds, strict=True):
        assert text.startswith(" "), "completions of these data begin with a space"
        assert prompt in texts.prompts
        assert kind == "real_texts" or prompt == canaries.references.prompts[0]
    audited = {t.prompts[i] for t in (data_split.audited, data_split.validation) for i in range(len(t))}
    assert not audited & set(canaries.texts.prompts)


def test_copies_of_used_texts_are_no_canaries():
    strings = [f"Letter {i % 60} tells of {i % 60 * 7} ships and of {i % 60 + 3} storms." for i in range(120)]
    texts = Texts(tuple(map(str, range(120))), tuple(t.upper() if i > 59 else t for i, t in enumerate(strings)))
    examples = Examples(texts, ("pool",) * 120, texts.ids)
    data_split = split(examples, train=20, members=8, nonmembers=8, validation=6, near_duplicate=1.0)
    canaries = plant_canaries(
        Canaries(count=20, kinds=("real_texts",), repetitions=(1,)), examples, data_split, near_duplicate=1.0, seed=0
    )
    used = {t.casefold() for p in (data_split.train, data_split.nonmembers, data_split.validation) for t in p.scored}
    own = [t.casefold() for t in canaries.texts.scored]
    assert not used & set(own)
    assert len(set(own)) == 20
    with pytest.raises(DataError, match=r"canaries\.kinds: real_texts requires 40 .* 26\. .*data\.train"):
        plant_canaries(
            Canaries(count=40, kinds=("real_texts",), repetitions=(1,)),
            examples,
            data_split,
            near_duplicate=1.0,
            seed=0,
        )


def test_without_unused_texts_the_words_are_of_unaudited_training_texts():
    examples = records(count=70)
    data_split = split(examples, train=None, members=20, nonmembers=20, validation=10)
    canaries = planted_canaries(examples, data_split, references=4)
    audited = {w for t in data_split.audited.scored for w in t.split()}
    other = {w for i, t in enumerate(data_split.train.scored) if i not in data_split.members for w in t.split()}
    first = canaries.texts.scored[canaries.kinds.index("in_distribution")].split()[:3]
    assert set(first) <= other
    assert audited
    full = split(examples, train=20, members=20, nonmembers=40, validation=10)
    with pytest.raises(DataError, match=r"^canaries: .*data\.members"):
        planted_canaries(examples, full, references=4, repetitions=(1,))


def test_canaries_that_do_not_fit_the_data_raise_an_error():
    with pytest.raises(DataError, match=r"canaries\.repetitions: 41 .* 40 "):
        planted_canaries(repetitions=(1, 41))
    with pytest.raises(DataError, match=r"canaries\.count = 11: .* 12 "):
        planted_canaries(count=11)
    with pytest.raises(DataError, match=r"canaries\.kinds: digits, digits "):
        planted_canaries(kinds=("digits", "digits"))
    few = Examples(Texts(tuple("abcdef"), ("one two",) * 6), ("pool",) * 6, tuple("aabbcc"))
    data_split = dataclasses.replace(SPLIT, train=few.texts.take([0, 1]), members=(0,), nonmembers=few.texts.take([2]))
    data_split = dataclasses.replace(
        data_split, validation=few.texts.take([4]), known_members=Texts((), ()), known_nonmembers=Texts((), ())
    )
    with pytest.raises(DataError, match=r"canaries\.kinds: in_distribution requires 32 .* 2\. .*data\.members"):
        plant_canaries(
            Canaries(count=2, repetitions=(1,), kinds=("in_distribution",)), few, data_split, near_duplicate=1.0, seed=0
        )


def study_cells(canaries):
    return parse_study({"name": "any", "models": "any", "methods": ["lora"], "data": {"canaries": canaries}}).cells


def test_settings_are_read_and_reported():
    (cell,) = study_cells({"count": 24, "repetitions": [1, 2]})
    assert cell.data.canaries == Canaries(count=24, repetitions=(1, 2))
    assert non_default_settings(cell.data) == 'canaries={"count": 24, "repetitions": [1, 2]}'
    (plain,) = study_cells(None)
    assert non_default_settings(plain.data) == ""
    assert len(study_cells([None, {"count": 24}])) == 2  # a sweep


@pytest.mark.parametrize(
    ("written", "pattern"),
    [
        ({"cout": 3}, r"setting of data\.canaries 'cout': unknown name\. Did you mean 'count'"),
        ({"count": 1}, r"data\.canaries\.count = 1: .* greater than or equal to 2"),
        ({"repetitions": [0]}, r"data\.canaries\.repetitions"),
        ({"repetitions": []}, r"data\.canaries\.repetitions"),
        ({"kinds": ["poems"]}, r"data\.canaries\.kinds = \['poems'\]: .*'random_tokens'"),
        ({"coin": 1.0}, r"data\.canaries\.coin = 1\.0: .* less than 1"),
    ],
)
def test_errors_name_the_wrong_setting(written, pattern):
    with pytest.raises((SettingError, UnknownNameError), match=pattern):
        study_cells(written)
