"""Ids and texts with scripts, control characters, changes of direction and formulas; in terminals, pages and exported files."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import re
import sys
from pathlib import Path

from campaign.checks import Check
from campaign.hostile.guard import problem
from campaign.originals import save_tiny_model, sentences

NAMES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "\u202ecod.exe",
    "\u2066abc\u2069\u200f",
    "\x1b[2J\x1b]0;title\x07\x9b31m",
    "a\r\nb\x08\x7f",
    "=cmd|' /C calc'!A0",
    "+1+cmd",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "  =1+1",
    "\uff1d1+1",
    "{{ 7 * 7 }}",
    "${jndi:ldap://x}",
    "`id`",
    "'; DROP TABLE x; --",
    "\\input{/etc/passwd}",
    "[x](javascript:alert(1))",
)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
FORMULA = re.compile(r"^[ ]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def checks(originals: Path) -> list[Check]:
    """Return the checks; a model is written into the folder."""
    model = save_tiny_model(originals / "model")
    return [
        Check(
            f"audit {'with' if shown else 'without'} --show-text",
            lambda f, c, s=shown: _attempt(model, f, c, is_shown=s),
            cases=4,
        )
        for shown in (False, True)
    ]


def _attempt(model: Path, folder: Path, chance: random.Random, *, is_shown: bool) -> str:
    """Audit records whose ids, groups and texts are hostile, and search what was printed and written."""
    inputs = folder / "in"
    inputs.mkdir()
    names = list(NAMES)
    chance.shuffle(names)
    for file, first in (("m", 0), ("n", 900)):
        lines = [
            {"id": f"{name}{file}{first + n}", "group": name, "text": f"{text} {name} {text}"}
            for n, (name, text) in enumerate(zip(names, sentences(len(names), first), strict=True))
        ]
        (inputs / f"{file}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    texts = ["--members", inputs / "m.jsonl", "--nonmembers", inputs / "n.jsonl", "--max-tokens", 64]
    more = ["--show-text"] if is_shown else []
    words = ["audit", "--model", model, *texts, "--device", "cpu", "--attacks", "loss", *more, "-o", folder / "out"]
    printed = io.StringIO()
    found = problem(folder, lambda: _typed(list(map(str, words)), printed), ("done",))
    if found:
        return found
    if match := CONTROL.search(printed.getvalue()):
        return f"the terminal gets {match.group()!r}: {printed.getvalue()[max(0, match.start() - 80) : match.end() + 40]!r}"
    return (
        _cells(folder / "out" / "exposed.csv")
        or _page(folder / "out" / "report.html")
        or _markdown(folder / "out" / "model_card.md")
    )


def _typed(words: list[str], printed: io.StringIO) -> None:
    from byheart.cli.main import main

    argv = sys.argv
    sys.argv = ["byheart", *words]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            main()
    except SystemExit as ended:
        if ended.code not in {0, None}:
            raise RuntimeError(printed.getvalue()[-800:]) from ended
    finally:
        sys.argv = argv


def _cells(path: Path) -> str:
    with path.open(newline="", encoding="utf-8") as stream:
        for line in csv.reader(stream):
            for cell in line:
                if FORMULA.match(cell) and not re.fullmatch(r"\s*[-+]?[\d.]+(e[-+]?\d+)?|-", cell):
                    return f"{path.name}: a spreadsheet runs {cell!r}"
    return ""


def _page(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    for raw in ("<script>alert", "<img src=x", 'javascript:alert(1))"'):
        if raw in text:
            return f"{path.name}: contains {raw}"
    if match := re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text):
        return f"{path.name}: contains {match.group()!r}: {text[max(0, match.start() - 80) : match.end() + 40]!r}"
    return ""


def _markdown(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return f"{path.name}: contains a script" if "<script>alert" in text else ""
