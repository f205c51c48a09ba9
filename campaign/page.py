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

Campaigns try to make byheart fail. `make campaign` runs all of them and writes this page; cases that have run are not repeated. The
name of a surface (a kind of input, a run or a topic) and the number of a case determine the case, so a failed case can be repeated:

```sh
make campaign PIECES=inputs            # the next cases of every kind of input
make campaign PIECES=kills             # the next kills
make campaign PIECES=hostile,power_loss ARGS='--surface servers'
make campaign PIECES=faults ARGS='--surface memory'
make campaign PIECES=determinism       # the topics that have not run yet, or that had faults
make campaign PIECES=determinism ARGS='--surface interpreters'   # the variable BYHEART_PYTHONS names Pythons, with colons between
make campaign PIECES=inputs ARGS='--surface study_files --first 1376 --count 1'
```

`make test` runs a fast part (`tests/campaign`), and `make test-slow` runs kills of two commands."""

INPUTS = """## Inputs

Each case edits a valid file, command line, folder or argument one to five times. An edit replaces a value by one that software often
handles wrongly; renames a key; removes, repeats or swaps parts; or cuts or changes bytes. byheart then reads the result. All cases run
in one process.

A case passes if byheart accepts the input, or refuses it with exit code 2 (Python functions: with a `ByheartError`) and one line that
names the problem and the fix. An audit that ends with exit code 3 (`--fail-above`) or 4 (`--pass-below`) counts as refused. Faults are
a traceback, a hang (20 seconds), another exit code, a line without a fix, control characters in the line, and files that a refused
request left. Each fault is reduced to the fewest edits that reproduce it."""

KILLS = """## Kills

A run on a tiny model is killed at a random time or before a random file operation: by `kill -9` (half of the kills), SIGTERM or
Ctrl-C. A run that ends by a signal must have the exit code of that signal. The same command then runs again and must meet three
conditions:

- its rows, scores and packs are byte-identical to those of an uninterrupted run. Its pages and other text files are equal apart from
  numbers and dates; PDF files only have to exist;
- it leaves no temporary files;
- it does not recompute a complete result.

The study trains two methods with shadow models, canaries and extraction. The page and the pack are made from the finished study."""

CHECKED = {
    "hostile": """## Hostile files and servers

The attacker writes a model folder, a store, texts or a server's responses. The attacker wants to run code, to read a file outside the
folder, to get the API key or the texts, to hang the run, or to fill the disk. A case passes if the result is correct, or if byheart
refuses with one line that names the file or the server. An audit hook records every file that is opened. Hostile code would write a
marker file. A call may take 20 seconds, write 50 MiB and increase its memory by 5 GiB.

A study file and a model in memory count as code of the user: a study may name Python functions (`my_package.my_module:my_attack`).
Two attacks are not covered:

| not covered | limit |
| --- | --- |
| a chat template that requests gigabytes in a single operation | `ulimit -v` |
| a tokenizer with slow patterns that stay below the limit of its library (ten million steps for a match; a text has as many matches \
as characters) | `timeout` |

The files that a run without `--show-text` writes were searched for every word of the records, in plain and compressed form. Reports,
rows, scores, exports, packs and audit folders contain none. The store contains texts or weights in three stages:

| stage | content |
| --- | --- |
| `tokens/` | token ids, from which a tokenizer restores the texts, and prompts as text |
| `evidence/` | what the model generated, as token ids or text |
| `training/` | weights |

Remove these three folders before you share a store, or use `byheart pack`.""",
    "power_loss": """## Loss of power

A recorder stores the state of a run's folder before each file operation, and the data that was flushed to disk until then. For random
moments, the folder is written as a disk may have it after a loss of power, in three ways: all names, but only flushed data; only
flushed names; and a mixture. Data that was not flushed is missing, zeros or older.

- Every result in the store must be complete according to its checksums.
- Every other output must be missing or complete.
- After a command has ended, all its output must be on the disk.
- `reruns`: the study runs again from such folders and must give the rows and scores of the uninterrupted run.

A case of `commands` is one moment in one of the three ways. Each command has 121 moments, or all if it has fewer.""",
    "faults": """## Faults of disks, memory and processes

A study, an audit, a page, a pack, or planting of canaries runs on a machine with a fault. A case passes if the result is correct, or if
the run ends with one line that names the fix (exit code 2, or the error of a cell), without a traceback, incomplete results or
temporary files. Then the same command runs again without the fault. It must give the rows, scores and files of the uninterrupted run.

| topic | fault |
| --- | --- |
| `failing_files` | the nth write, creation, flush or rename fails: permanently, as on a full disk (ENOSPC), or once (EIO); \
the nth read fails (EIO) |
| `small_disks` | a real file system (tmpfs) is full after n pages or n files; requires a Linux administrator |
| `permissions` | a store is read-only, a file is unreadable, or a folder accepts no new file, for an unprivileged user |
| `memory` | Python or torch raises an error at the nth call in training, scoring, split check, page or store; \
the address space (`ulimit -v`) is only 1 to 256 MiB larger than at the start |
| `processes` | a worker is killed; file handles are few (`ulimit -n`); each reading of the clock jumps by hours; \
heartbeats of claims are hours old or in the future; two runs use one folder at once |
| `damaged_stores` | one bit of a file of the store is flipped, for any file. `byheart verify` must name the result, \
and a page and a run must give the right numbers or name it. Removing the result must repair the store |

Each case has a different number n. In `failing_files`, the disk is full at 40 of the study's 192 writes, and each other kind of
fault has 5 cases; the other runs have 1 to 4 cases of each kind (`MOST` in `campaign/faults`; higher numbers take longer).""",
    "determinism": """## Determinism

The same seed gives the same bytes: rows, scores, weights, tables, figures, page, pack, audit and canaries. The runs of a comparison
use a stopped clock, because files contain the time at which they were made.

| difference between two runs | required result |
| --- | --- |
| none; process, hash seed, time zone, language, current folder | identical files, except PDF figures: their converter does not fix the \
order of their parts |
| two workers instead of one | identical files, except files with times; equal rows and scores |
| batch size (`machine.token_budget`); two threads instead of one | scores agree to 1e-5, relative for scores above 1, because sums \
are computed in another order |
| `interpreters`: Python 3.12 and 3.13 with torch 2.13, and Python 3.12 with torch 2.11, instead of Python 3.11 with torch 2.13 | \
scores and rows agree to 1e-5 (in this run they were equal); planted canaries are identical. Other files differ, because they \
contain the versions |""",
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
        parts += ["## Open faults", "\n".join(f"- {line}" for line in still)]
    if fixed:
        lines = [f"| {m['what']} | {m['now']} | `{m['test']}` |" for m in fixed]
        parts += [
            "## Fixed faults",
            "\n".join(["| fault | behavior after the fix | test |", "| --- | --- | --- |", *lines]),
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
        "| input | cases | accepted | refused in one line | faults | time (s) |",
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
    return "\n".join(["| run | kills | faults |", "| --- | ---: | ---: |", *lines])


def _checks_table(found: Mapping[str, Any]) -> str:
    lines = [
        f"| {topic.replace('_', ' ')} | {result['cases']:,} | {len(result['faults'])} | {result['seconds']:,.0f} |"
        for topic, result in found.items()
    ]
    return "\n".join(["| topic | cases | faults | time (s) |", "| --- | ---: | ---: | ---: |", *lines])


def _still_open(results: Mapping[str, Any]) -> Any:
    for name, result in results.get("inputs", {}).items():
        yield from (f"{name}, case {fault['number']}: {kind}" for kind, fault in result["faults"].items())
    for piece in CHECKED:
        for topic, result in results.get(piece, {}).items():
            yield from (f"{topic}, {name}: {text[:200]}" for name, text in result["faults"].items())
    yield from (f"{moment}: {text[:200]}" for moment, text in results.get("kills", {}).get("faults", {}).items())
