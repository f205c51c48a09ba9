"""Errors are one printable line of bounded length, whatever the names in them are."""

import pickle

from byheart.core.errors import UnknownNameError


def test_control_characters_and_lone_surrogates_of_names_are_escaped():
    text = str(UnknownNameError("the model", "tuned", ["\x00tuned", "\ud800", "\x1b[31mred"]))
    assert text.isprintable()
    assert text.endswith("Choices: \\x00tuned, \\x1b[31mred, \\ud800.")


def test_equal_names_are_listed_once_and_many_long_ones_are_counted():
    assert str(UnknownNameError("the model", "x", ["b", "a", "b"])) == "the model 'x': unknown name. Choices: a, b."
    text = str(UnknownNameError("the model", "x" * 500, [f"{i:03}{'y' * 500}" for i in range(100)]))
    assert len(text) < 2500
    assert text.endswith("... and 81 more.")
    assert str(UnknownNameError("the model", "x", [])).endswith("Choices: none.")


def test_an_error_survives_a_worker_process():
    error = UnknownNameError("the model", "x", ["b", "a", "b"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes
