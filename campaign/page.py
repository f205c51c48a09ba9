"""docs/reliability.md: counts, seeds and faults of the campaigns, from results.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
FIXED = Path(__file__).parent / "fixed.json"
PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"

HEAD = """# Reliability

Campaigns try to break byheart. `make campaign` runs them all and writes this page; what is done is not done again. A case follows from the
surface's name and its number, so a case that failed can be run again:

```sh
make campaign PIECES=inputs            # the next cases of every kind of input
make campaign PIECES=kills             # the next kills
make campaign PIECES=hostile,power_loss ARGS='--surface servers'
make campaign PIECES=faults ARGS='--surface memory'
make campaign PIECES=determinism       # the topics that were not tried yet, or that had faults
BYHEART_PYTHONS=a/bin/python:b/bin/python make campaign PIECES=determinism ARGS='--surface interpreters'
make campaign PIECES=inputs ARGS='--surface study_files --first 1376 --count 1'
```

A fast part runs in `make test` (`tests/campaign`), and kills of two commands in `make test-slow`."""

INPUTS = """## Inputs

A valid file, command line, folder or argument is edited one to five times: values are replaced by values that software often
handles wrongly, keys are renamed, parts are removed, repeated and swapped, bytes are cut and changed. Then byheart reads the
result, in one process.

Allowed is a right result, or exit 2 (of the Python functions, a `ByheartError`) with one line that names what is wrong and the
fix. A traceback, a hang (20 seconds), another exit code, a line without a fix, control characters in the line, and files that a
refused request left are faults. Each fault is reduced to the fewest edits that show it."""

KILLS = """## Kills

A run on a tiny model is ended by `kill -9` (half of the kills), SIGTERM or Ctrl-C, at a drawn time or before a drawn file
operation. The same command then runs again. It must end with the rows, scores, tables and packs of the unbroken run, byte by
byte, with its pages apart from numbers and dates, leave no drafts, and make no complete result again. A run that a signal ends must
have the exit code of that signal. The study trains two methods with shadow models, canaries and extraction. A page and a pack are made
from the finished study."""

CHECKED = {
    "hostile": """## Hostile files and servers

A person who writes a model folder, a store, texts or a server's answers wants to run code, to read a file beside the folder, to get
the API key or the texts, to hang the run, or to fill the disk. Allowed is a right result, or one line that names the file or the
server. An audit hook records every file that is opened; hostile code would leave a file. A call may take 20 seconds, write 50 MiB
and grow by 5 GiB.

A study file, and a model in memory, are code of the person who runs byheart: a study may name Python functions
(`my_package.my_module:my_attack`). Not covered: a chat template that asks for gigabytes in a single operation, and a tokenizer
whose patterns are slow without reaching the limit of its library (it ends a match after ten million steps, and a text has as
many matches as characters). `ulimit -v` limits the first, and `timeout` the second.

What a run without `--show-text` writes was searched for every word of the records, in plain and compressed form. Reports, rows,
scores, exports, packs and audit folders contain none. The store holds texts in two stages: `tokens/` has token ids, from which a
tokenizer restores the texts, and prompts in words; `evidence/` has what the model generated, as token ids or words. `training/` has
weights. Remove these three folders before you share a store, or use `byheart pack`.""",
    "power_loss": """## Loss of power

A run is recorded: the folder before each file operation, and what was flushed to the disk until then. For drawn moments the
folder is written as a disk may have it after a loss of power: with all names but only flushed data; with flushed names only; and a
mixture. Data that was not flushed is missing, zeros or older. Each result that the store has must be complete by its checksums,
each other output missing or complete, and after the end of a command all of it on the disk. The study also runs again from such
folders and must give the rows and scores of the unbroken run (`reruns`). A case of `commands` is one moment in one way: 121 moments
of each command, or all of a shorter one, in three ways.""",
    "faults": """## Faults of disks, memory and processes

A study, an audit, a page, a pack and planted canaries meet a fault of the machine. Allowed is a right result, or one line that names
the fix (exit 2, or the error of a cell), without a traceback, half of a result or drafts. Then the same command runs again without the
fault and must give the rows, scores and files of the unbroken run. Each case has another number n: of the study 40 of 192 writes on a full
disk and 5 of each other kind, of the other runs 1 to 4 of each kind (`MOST` in `campaign/faults`; higher counts take longer).

| topic | fault |
| --- | --- |
| `failing_files` | the nth write, creation, flush or rename fails: from then on as on a full disk (ENOSPC), or once (EIO); \
the nth read fails (EIO) |
| `small_disks` | a real file system (tmpfs) that is full after n pages or n files; needs an administrator of Linux |
| `permissions` | a store that may not be written, a file that may not be read, a folder that takes no new file, for a user without rights |
| `memory` | an error of Python or torch at the nth call in training, scoring, split check, page or store; \
an address space (`ulimit -v`) that is 1 to 256 MiB larger than at the start |
| `processes` | a worker that is killed, few file handles (`ulimit -n`), a clock that jumps by hours at every look, \
claims with heartbeats hours ago or ahead, two runs at once in one folder |
| `damaged_stores` | a flipped bit in any file of a store: `byheart verify` names the result, \
a page and a run give the right numbers or name it, and removing it repairs the store |""",
    "determinism": """## Determinism

The same seed gives the same bytes: rows, scores, weights, tables, figures, page, pack, audit and canaries of two runs, with a clock
that is stopped (files state when they were made), in new processes with another hash seed, time zone, language and current folder,
and by two workers. PDF files of figures are excepted: their converter does not fix the order of their parts. Between batches of
other sizes (`machine.token_budget`) and between one and two threads, sums are in another order: scores agree to 1e-5, relative to
scores above 1. The topic `interpreters` runs the same commands with other versions: Python 3.12 and 3.13 with torch 2.13, and Python
3.12 with torch 2.11, against Python 3.11 with torch 2.13. Scores and rows must agree to 1e-5 (in this run they were equal), and planted
canaries must be equal; other files differ, because they state the versions.""",
}
"""Heading and introduction of each piece of named checks."""


def write() -> None:
    """Write the page."""
    PAGE.write_text(page(read(RESULTS), read(FIXED)), encoding="utf-8")


def read(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def page(results: Mapping[str, Any], fixed: Sequence[Mapping[str, str]]) -> str:
    """Return the page as Markdown."""
    parts = [HEAD]
    if inputs := results.get("inputs"):
        parts += [INPUTS, _inputs_table(inputs)]
    if kills := results.get("kills"):
        parts += [KILLS, _kills_table(kills)]
    for piece, introduction in CHECKED.items():
        if found := results.get(piece):
            parts += [introduction, _checks_table(found)]
    if still := [*_still_open(results)]:
        parts += ["## Faults that are not fixed", "\n".join(f"- {line}" for line in still)]
    if fixed:
        lines = [f"| {m['what']} | {m['now']} | `{m['test']}` |" for m in fixed]
        parts += [
            "## Faults that were found and fixed",
            "\n".join(["| what broke | now | test |", "| --- | --- | --- |", *lines]),
        ]
    return "\n\n".join(parts) + "\n"


def _inputs_table(inputs: Mapping[str, Any]) -> str:
    lines: list[str] = []
    for name, result in inputs.items():
        done, refused = (f"{result['counts'].get(kind, 0):,}" for kind in ("done", "refused"))
        lines.append(
            f"| {name} | {result['cases']:,} | {done} | {refused} | {_faults(result)} | {result['seconds']:,.0f} |"
        )
    head = [
        "| input | cases | accepted | refused in one line | faults | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join([*head, *lines])


def _faults(result: Mapping[str, Any]) -> int:
    return sum(count for kind, count in result["counts"].items() if kind not in {"done", "refused"})


def _kills_table(kills: Mapping[str, Any]) -> str:
    lines = [
        f"| {name} | {count:,} | {sum(f.startswith(name) for f in kills['faults'])} |"
        for name, count in kills["counts"].items()
    ]
    return "\n".join(["| run | kills | other results |", "| --- | ---: | ---: |", *lines])


def _checks_table(found: Mapping[str, Any]) -> str:
    lines = [
        f"| {topic.replace('_', ' ')} | {result['cases']:,} | {len(result['faults'])} | {result['seconds']:,.0f} |"
        for topic, result in found.items()
    ]
    return "\n".join(["| topic | cases | faults | seconds |", "| --- | ---: | ---: | ---: |", *lines])


def _still_open(results: Mapping[str, Any]) -> Any:
    for name, result in results.get("inputs", {}).items():
        yield from (f"{name}, case {fault['number']}: {kind}" for kind, fault in result["faults"].items())
    for piece in CHECKED:
        for topic, result in results.get(piece, {}).items():
            yield from (f"{topic}, {name}: {text[:200]}" for name, text in result["faults"].items())
    yield from (f"{moment}: {text[:200]}" for moment, text in results.get("kills", {}).get("faults", {}).items())
