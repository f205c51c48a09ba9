"""The list of tests that every run leaves out."""

import ast
from pathlib import Path

import pytest

from testing.long_tests import LONG_TESTS

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("file", LONG_TESTS)
def test_a_test_that_is_left_out_exists(file):
    functions = {
        node.name for node in ast.walk(ast.parse((TESTS / file).read_text())) if isinstance(node, ast.FunctionDef)
    }
    named = {name.partition("[")[0] for name in LONG_TESTS[file]}
    assert named <= functions
