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
make campaign PIECES=inputs ARGS='--surface study_files --first 1376 --count 1'
```

A fast part of the inputs runs in `make test` (`tests/campaign`), and kills of two commands in `make test-slow`."""

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


def _still_open(results: Mapping[str, Any]) -> Any:
    for name, result in results.get("inputs", {}).items():
        yield from (f"{name}, case {fault['number']}: {kind}" for kind, fault in result["faults"].items())
    yield from (f"{moment}: {text[:200]}" for moment, text in results.get("kills", {}).get("faults", {}).items())
