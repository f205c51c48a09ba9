"""What is printed fits the screen, loses no number, and is plain where nobody looks."""

import io
import re

import pytest

from byheart import formats
from byheart.terminal import BARS, fitted, screen, sparkline, trajectories
from byheart.types import Table
from made_up import study


@pytest.mark.parametrize("width", [40, 80, 120, 300])
def test_no_line_is_wider_than_the_screen_and_no_cell_is_lost(width):
    table = formats.rows_table(study(datasets=("xsum",), methods=("full",), epochs=(0, 1)))
    table = Table(table.title, table.header, tuple(tuple(c[:12] for c in row) for row in table.rows))
    text = fitted(table, width)
    title, *lines = [line for line in text.splitlines() if line]
    assert max(map(len, lines)) <= width
    assert "base hub/gpt2" in title, "what all lines share is said once"
    for row in table.rows:
        assert all(cell in text for cell in row)
    for i, name in enumerate(table.header):
        assert sum(bool(re.search(rf"\b{name}\b", line)) for line in [title, *lines]) >= 1, (i, name)


def test_what_is_not_a_terminal_gets_the_whole_table():
    table = formats.rows_table(study(datasets=("xsum",), methods=("full",), epochs=(0,)))
    assert fitted(table, None) == formats.as_text(table)
    assert screen(io.StringIO()) is None


def test_bars_rise_from_chance_to_one():
    assert sparkline([0.5, 0.75, 1.0, 0.2, 1.2], 0.5, 1.0) == f"{BARS[0]}{BARS[4]}{BARS[7]}{BARS[0]}{BARS[7]}"
    text = trajectories(study(datasets=("xsum",), methods=("full", "prompt")), colour=True)
    full = next(line for line in text.splitlines() if line.startswith("XSum, full, Loss"))
    assert "\x1b[31m▁▂▄▆\x1b[0m  0.500 → 0.838" in full
    assert "\x1b" not in next(line for line in text.splitlines() if line.startswith("XSum, prompt, Loss"))
    assert "\x1b" not in trajectories(study(), colour=False)
    assert trajectories(study(epochs=(1,)), colour=True) == ""
