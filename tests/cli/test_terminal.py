"""Printed output fits the screen, contains every number, and is plain without a terminal."""

import io
import re
from dataclasses import replace

import pytest

from byheart.analysis import formats
from byheart.cli.terminal import BARS, MAX_TRAJECTORIES, fit_table, sparkline, terminal_width, trajectories
from byheart.core.types import Table
from testing.made_up import study


@pytest.mark.parametrize("width", [40, 80, 120, 300])
def test_lines_fit_the_screen_and_all_cells_are_printed(width):
    table = formats.rows_table(study(datasets=("xsum",), methods=("full",), epochs=(0, 1)))
    table = Table(table.title, table.header, tuple(tuple(c[:12] for c in row) for row in table.rows))
    text = fit_table(table, width)
    title, *lines = [line for line in text.splitlines() if line]
    assert max(map(len, lines)) <= width
    assert "base hub/gpt2" in title, "what all lines share is said once"
    for row in table.rows:
        assert all(cell in text for cell in row)
    for i, name in enumerate(table.header):
        assert sum(bool(re.search(rf"\b{name}\b", line)) for line in [title, *lines]) >= 1, (i, name)


def test_without_a_terminal_the_table_is_printed_unsplit():
    table = formats.rows_table(study(datasets=("xsum",), methods=("full",), epochs=(0,)))
    text = fit_table(table, None)
    title, header, *_ = [line for line in text.splitlines() if line]
    assert title == "Rows (base hub/gpt2; dataset xsum; method full; seed 0; cell hub/gpt2/xsum/full//0)"
    assert header.split() == [n for n in table.header if not re.search(rf"\b{n} ", title)]
    assert text.count(header) == 1
    assert text.count("\n") == len(table.rows) + 4, "title, blank, header and its rule, a line a row"
    assert all(cell in text for row in table.rows for cell in row)
    few = Table("One", ("a", "b"), (("1", "2"),))
    assert fit_table(few, None) == formats.as_text(few), "of one line nothing is said twice"
    assert terminal_width(io.StringIO()) is None


def test_bars_rise_from_chance_to_one():
    assert sparkline([0.5, 0.75, 1.0, 0.2, 1.2], 0.5, 1.0) == f"{BARS[0]}{BARS[4]}{BARS[7]}{BARS[0]}{BARS[7]}"
    text = trajectories(study(datasets=("xsum",), methods=("full", "prompt")), color=True)
    full = next(line for line in text.splitlines() if line.startswith("XSum, full, Loss"))
    assert "\x1b[31m▁▂▄▆\x1b[0m  0.500 → 0.838" in full
    assert "\x1b" not in next(line for line in text.splitlines() if line.startswith("XSum, prompt, Loss"))
    assert "\x1b" not in trajectories(study(), color=False)
    assert trajectories(study(epochs=(1,)), color=True) == ""


def many_attacks(rows, count):
    """The same rows with `count` attacks, whose AUC rises with their number."""
    aucs = [r for r in rows if r.metric == "auc" and r.attack == "loss"]
    return [replace(r, attack=f"attack{i}", value=r.value + i / 1000) for r in aucs for i in range(count)]


def test_the_trajectories_of_the_strongest_attacks_fit_a_screen():
    rows = many_attacks(study(), 25)
    text = trajectories(rows, color=False)
    drawn = [line for line in text.splitlines() if "→" in line]
    assert len(text.splitlines()) + 2 <= 24
    assert len(drawn) == 12, "two data sets by six methods: a line each"
    assert all(", attack24 " in line for line in drawn)
    assert f"byheart report shows the other {12 * 25 - 12} too" in text
    one = trajectories(many_attacks(study(datasets=("xsum",), methods=("full",)), 25), color=False)
    assert re.findall(r"attack(\d+) ", one) == [str(i) for i in range(24, 24 - MAX_TRAJECTORIES, -1)]
    assert f"the other {25 - MAX_TRAJECTORIES} too" in one
    few = trajectories(many_attacks(study(datasets=("xsum",), methods=("full",)), MAX_TRAJECTORIES), color=False)
    assert few.count("→") == MAX_TRAJECTORIES
    assert "byheart report" not in few


def test_the_strongest_of_too_many_methods_are_drawn_in_order():
    rows = many_attacks(study(settings=("", "rank=4", "rank=8"), methods=("full", "lora", "prompt", "prefix")), 3)
    text = trajectories(rows, color=False)
    named = re.findall(r"^(\w+), (\w+)[^,]*, attack2 ", text, re.MULTILINE)
    assert named == [
        (data, method) for data in ("WebNLG", "WikiText") for method in 3 * ["full"] + 3 * ["LoRA"] + 3 * ["prefix"]
    ]
    assert len(named) == MAX_TRAJECTORIES
