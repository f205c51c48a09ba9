"""An error's line is short, names paths of the user, and has no characters that control a terminal."""

import pytest

from byheart.cli.messages import LONGEST_LINE, print_error


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--members", "a" * 300 + ".jsonl", "--nonmembers", "b.jsonl"),
        ("audit", "--members", "a" * 300, "--model", "m"),
        ("audit", "--members", "~nobody-of-this-name/x.jsonl", "--model", "m"),
        ("canaries", "check", "~nobody-of-this-name/x"),
        ("plan", "a" * 300),
        ("rows", "--store", "a" * 300),
        ("verify", "a" * 300),
        ("compare", "a" * 300, "b"),
    ],
)
def test_paths_that_cannot_be_are_refused(refused, words):
    line = refused(*words)
    assert any(word[:20] in line for word in words if len(word) > 20)


@pytest.mark.parametrize("output", ["", ".", "/", ".."])
def test_an_output_that_is_a_folder_is_refused(refused, store, output):
    assert "Choose another path" in refused("report", "--store", store, "-o", output)


def test_an_infinite_speed_is_refused(refused):
    assert "less than or equal to 1000000" in refused("plan", "study.yaml", "--tflops", "inf")


def test_control_and_direction_characters_are_escaped(refused):
    line = refused("shelf", "attacks", "\x1b[31mred\u202e\x07")
    assert "\\x1b[31mred\\u202e\\x07" in line
    assert line.isprintable()


def test_a_long_value_is_cut_and_the_fix_stays(capsys):
    assert print_error(f"x = {'a' * 9000}: is wrong. Correct it.", 2) == 2
    line = capsys.readouterr().err
    assert len(line) < LONGEST_LINE + 50
    assert line.startswith("byheart: x = aaa")
    assert line.endswith("is wrong. Correct it.\n")


def test_letters_of_every_script_stay(capsys):
    print_error("Zürich 日本語 ελ: is wrong. Correct it.", 2)
    assert "Zürich 日本語 ελ" in capsys.readouterr().err
