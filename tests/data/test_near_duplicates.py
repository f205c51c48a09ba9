import itertools
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from byheart.core.config import Training
from byheart.core.split import Examples
from byheart.core.types import Texts
from byheart.data.deduplication import deduplicated_texts
from byheart.data.near_duplicates import (
    NearDuplicateSearch,
    distinct_positions,
    normalized_text,
    similarity,
)
from byheart.data.text_units import text_units

ENGLISH = (
    "The museum opened its new wing on the first Monday of March and visitors queued along the river since early morning "
    "because nobody wanted to miss the painting that had been hidden in a cellar for almost ninety years."
)
CHINESE = (
    "博物馆三月的第一个星期一开放了新的展厅。游客从清晨起就在河边排队。没有人想错过那幅在地窖里藏了将近九十年的画。"
)
JAPANESE = "美術館は三月の最初の月曜日に新しい展示室を公開した。朝早くから人々が川沿いに並んでいた。"
ARABIC = "افتتح المتحف جناحه الجديد في أول اثنين من مارس ووقف الزوار على طول النهر منذ الصباح الباكر"
THAI = "พิพิธภัณฑ์เปิดห้องจัดแสดงใหม่ในวันจันทร์แรกของเดือนมีนาคม"
HINDI = "संग्रहालय ने मार्च के पहले सोमवार को अपना नया कक्ष खोला और लोग सुबह से नदी के किनारे खड़े थे"


def examples(texts: Sequence[str], groups: Sequence[str] | None = None, prompts: Sequence[str] | None = None):
    ids = tuple(map(str, range(len(texts))))
    prompts = prompts or [""] * len(texts)
    return Examples(Texts(ids, tuple(texts), tuple(prompts)), ("train",) * len(ids), tuple(groups or ids))


def near_copies(*texts: str, threshold: float = 0.8) -> int:
    return distinct_positions(examples(texts), range(len(texts)), threshold).near_copies


def words_changed(text: str, count: int) -> str:
    words = text.split()
    step = len(words) // count
    return " ".join("zebra" if i % step == step // 2 and i < step * count else w for i, w in enumerate(words))


def naive_alignment(first: Sequence[str], second: Sequence[str]) -> float:
    """Share of aligned units, by the textbook table of the longest common subsequence."""
    table = np.zeros((len(first) + 1, len(second) + 1), int)
    for i, j in itertools.product(range(len(first)), range(len(second))):
        is_same = first[i] == second[j]
        table[i + 1, j + 1] = table[i, j] + 1 if is_same else max(table[i, j + 1], table[i + 1, j])
    return table[-1, -1] / (len(first) + len(second) - table[-1, -1])


# --- what counts as a near duplicate


@pytest.mark.parametrize("length", [10, 20, 34])
def test_a_changed_inserted_or_deleted_word_of_ten_or_more_is_a_near_copy(length):
    words = ENGLISH.split()[:length]
    middle = length // 2
    for edited in (
        [*words[:middle], "zebra", *words[middle + 1 :]],
        [*words[:middle], "zebra", *words[middle:]],
        [*words[:middle], *words[middle + 1 :]],
    ):
        assert near_copies(" ".join(words), " ".join(edited)) == 1


@pytest.mark.parametrize("text", [CHINESE, JAPANESE, ARABIC, THAI, HINDI], ids=["zh", "ja", "ar", "th", "hi"])
def test_one_changed_unit_is_a_near_copy_in_every_script(text):
    units = text_units(text)
    assert len(units) >= 10
    unit = units[len(units) // 2]
    assert near_copies(text, text.replace(unit, "字" if len(unit) < 3 else "zebra", 1)) == 1


def test_many_changed_words_are_not_a_near_copy():
    # Of 34 words, three changed give 31/37 = 0.84, and four give 30/38 = 0.79.
    text = " ".join(ENGLISH.split()[:34])
    assert near_copies(text, words_changed(text, 3)) == 1
    assert near_copies(text, words_changed(text, 4)) == 0
    assert near_copies(CHINESE, JAPANESE) == 0


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, ARABIC], ids=["en", "zh", "ar"])
def test_a_text_inside_another_one_is_a_near_copy_in_either_order(text):
    around = "Before it. {} After it, a long story about something else goes on and on until the evening news begins at eight."
    assert near_copies(text, around.format(text)) == 1
    assert near_copies(around.format(text), text) == 1


def test_a_short_phrase_inside_another_text_is_no_near_copy():
    assert near_copies("in a cellar for almost ninety years", ENGLISH) == 0
    assert near_copies("had been hidden in a cellar for almost ninety", ENGLISH) == 0  # nine words
    assert near_copies("had been hidden in a cellar for almost ninety years", ENGLISH) == 1


def test_swapped_sentences_are_a_near_copy():
    first, second, third = (s for s in CHINESE.split("。") if s)
    assert near_copies(CHINESE, f"{third}。{first}。{second}。") == 1
    sentences = ["The museum opened a new wing last March", "Visitors queued along the river since morning"]
    assert near_copies(". ".join(sentences), ". ".join(reversed(sentences))) == 1


def test_case_punctuation_and_width_do_not_hide_a_near_copy():
    assert near_copies(ENGLISH, re.sub(r" ", ", ", ENGLISH).upper()) == 1
    assert near_copies(CHINESE, CHINESE.replace("。", " ! ")) == 1
    assert near_copies("\uff21\uff22\uff23 \uff44\uff45\uff46", "abc def") == 1


def test_texts_without_letters_are_compared_as_strings():
    assert near_copies("!!!", "???") == 0
    assert near_copies("!!!", "?! a") == 0


@pytest.mark.parametrize(("threshold", "copies"), [(0.75, 1), (0.76, 0)])
def test_the_threshold_itself_is_a_near_copy(threshold, copies):
    assert similarity("a b c d e f g", "x a b c d e f") == 6 / 8
    assert near_copies("a b c d e f g", "x a b c d e f", threshold=threshold) == copies


def test_similarity_of_a_changed_word_equals_the_docstrings():
    text = " ".join(ENGLISH.split()[:9])
    assert similarity(text, text) == 1
    assert similarity(text, words_changed(text, 1)) == 8 / 10


# --- units


def test_units_are_words_or_characters_by_script():
    assert text_units("Don't STOP, Ω!") == ["don", "t", "stop", "ω"]
    assert text_units("私はPython 3が好き。") == ["私", "は", "python", "3", "が", "好", "き"]
    assert text_units("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert text_units("اَلسَّلَامُ عَلَيْكُمْ") == ["اَلسَّلَامُ", "عَلَيْكُمْ"]
    assert text_units("한국어 텍스트") == ["한국어", "텍스트"]
    assert text_units("วันนี้") == ["วั", "น", "นี้"]
    assert text_units(" ?! ") == [" ?! "]


def test_a_short_completion_is_compared_with_its_prompt_and_a_chinese_sentence_is_not_short():
    pool = examples(["Yes.", "Yes.", CHINESE, CHINESE, "是的"], prompts=["A", "B", "C", "D", "E"])
    assert [normalized_text(pool, i) for i in (0, 2, 4)] == ["a yes.", CHINESE, "e 是的"]
    assert distinct_positions(pool, range(5), 0.8).exact_copies == 1


# --- the search misses no pair

ALPHABETS = st.sampled_from([["a", "b"], [*"abcdef"], [*"天地人山水abc"], [f"w{i}" for i in range(40)]])


@st.composite
def similar_texts(draw) -> list[str]:
    """Texts, and copies of them with some words changed, swapped, cut off and put into other texts."""
    alphabet = draw(ALPHABETS)
    word = st.sampled_from(alphabet)
    texts = draw(st.lists(st.lists(word, min_size=1, max_size=25), min_size=1, max_size=5))
    for _ in range(draw(st.integers(0, 12))):
        text = list(draw(st.sampled_from(texts)))
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(text)))
            edit = draw(st.sampled_from(["change", "insert", "delete", "turn", "append"]))
            if edit == "turn":
                text = text[at:] + text[:at]
            elif edit == "append":
                text += draw(st.sampled_from(texts))
            else:
                text[at : at + (edit != "insert")] = [] if edit == "delete" else [draw(word)]
        texts.append(text or [draw(word)])
    return [" ".join(text) for text in texts]


@given(similar_texts(), st.sampled_from([0.2, 0.5, 0.51, 0.6, 0.75, 0.8, 0.9, 1.0]), st.booleans())
@example(["a b c d", "a b c d e"], 0.8, True)
@example(["a", "a"], 1.0, False)
@settings(max_examples=200, deadline=None)
def test_the_search_finds_the_pairs_that_a_comparison_of_all_pairs_finds(texts, threshold, with_containment):
    search = NearDuplicateSearch(texts, threshold, with_containment=with_containment)
    everything = np.arange(len(texts))
    found = set(search.pairs(everything, everything, everything))
    expected = {
        (i, j)
        for i in range(len(texts))
        for j in range(i)
        if similarity(texts[i], texts[j], with_containment=with_containment) >= threshold
    }
    assert found == expected


@given(similar_texts())
@settings(max_examples=50, deadline=None)
def test_similarity_is_symmetric_and_at_least_the_share_of_aligned_units(texts):
    for first, second in itertools.combinations(texts, 2):
        value = similarity(first, second)
        assert 0 <= value <= 1
        assert value == similarity(second, first)
        assert value >= naive_alignment(first.split(), second.split())


@given(similar_texts(), st.integers(1, 4), st.integers(1, 5), st.data())
@settings(max_examples=50, deadline=None)
def test_distinct_positions_equal_a_plain_loop(texts, group_count, chunk, data):
    groups = [str(data.draw(st.integers(0, group_count))) for _ in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("byheart.data.near_duplicates.CHUNK", chunk)
        found = distinct_positions(examples(texts, groups), range(len(texts)), 0.8)
    kept: list[int] = []
    group_of_text: dict[str, str] = {}
    exact = 0
    for i, text in enumerate(texts):
        if group_of_text.setdefault(text, groups[i]) != groups[i]:
            exact += 1
        elif not any(groups[j] != groups[i] and similarity(text, texts[j]) >= 0.8 for j in kept):
            kept.append(i)
    assert found == (kept, exact, len(texts) - exact - len(kept))


def test_more_words_than_characters_of_unicode_are_compared(monkeypatch):
    monkeypatch.setattr("byheart.data.near_duplicates.sys.maxunicode", 5)
    assert near_copies(ENGLISH, words_changed(ENGLISH, 2)) == 1


# --- training without near duplicates


def test_deduplication_keeps_a_text_that_contains_another_one():
    texts = examples(
        [
            ENGLISH,
            f"{ENGLISH} But the painting was gone, as the director said on the radio later that day.",
            words_changed(ENGLISH, 1),
        ]
    ).texts
    assert deduplicated_texts(texts, Training(deduplicate=0.8)).ids == ("0", "1")
    assert deduplicated_texts(texts, Training(deduplicate=1)).ids == ("0", "1", "2")
