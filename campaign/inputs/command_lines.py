"""Command lines of every subcommand: options with values that do not fit, missing and repeated words, unusual paths."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

from campaign.inputs.study_files import studies
from campaign.originals import save_tiny_model, write_lines
from campaign.outcomes import Outcome, typed
from campaign.surfaces import Case, Surface

VALUES = (
    *("", " ", "9" * 400, "a" * 300, "a\nb", "\x1b[31m", "data={train: 1}", "seeds=[0, 1", "1,,2", "é", "日本"),
    *"- -- -1 0 1 2 3.5 nan inf -inf 1e999 1e-400 abc a=b auc= =1 auc=0.6 auc=nan auc=2 auc=-1 auc=0 auc=1".split(),
    *"tpr_at_fpr=0.1 epsilon=1 epsilon=0 perplexity=2 bleu=0.1 loss loss,loss all default loss,, , nope lira recall".split(),
    *"wel dc_pdd surp min_k_plus_plus . .. / /dev/null /proc/self/mem ~ ~nobody/x ./x/y/z".split(),
    *"http://127.0.0.1:9/v1 http://user:key@127.0.0.1:9 ftp://x http:// http://[::1 // https://127.0.0.1:99999/v1".split(),
    *"hub:a/b:train hub: hub:a hub:../..:x package:x/y package: a/b@c cuda cuda:99 mps cpu auto text=text text=".split(),
    *"messages=prompt member=x metric=auc nope=1 value=0.5 epoch=x training.epochs=0 training.epochs=9 methods=[]".split(),
    *"a.b.c=1 models=[] datasets.0.records.count=-5 datasets.².x=1 0=1 x.html x.tar.xz x.jsonl x.csv x.pdf x x/".split(),
    *"x.yaml 1,4 1,0 1,-4 1,x digits synthetic".split(),
)
WRITING = {"--store", "-o", "--output", "--export", "--preregister"}
PATIENT = {"demo"}
"""Commands that do real work for any valid request."""


class Command(NamedTuple):
    """A subcommand: its words, and its parameters as option names ("" for an argument), whether flags, and their choices."""

    words: tuple[str, ...]
    parameters: tuple[tuple[str, bool, tuple[str, ...]], ...]


def surface() -> Surface:
    """Return the surface."""
    return Surface("command lines", prepare, attempt)


def prepare(folder: Path) -> tuple[list[Command], dict[str, list[str]]]:
    """Return the commands, and valid values by the name of the option."""
    import json
    import shutil

    import typer.main

    from byheart.cli.main import app

    model = save_tiny_model(folder / "model")
    members, nonmembers = write_lines(folder / "m.jsonl", 8), write_lines(folder / "n.jsonl", 8, 900)
    study = folder / "study.yaml"
    study.write_text(json.dumps(studies(folder)[0]))
    typed(
        [
            "canaries",
            "plant",
            str(members),
            "-o",
            str(folder / "p.jsonl"),
            "--count",
            "8",
            "--references",
            "4",
            "--repetitions",
            "1",
        ]
    )
    manifest = next(folder.rglob("manifest.json"))
    small = ["--attacks", "loss", "--members", str(members), "--nonmembers", str(nonmembers), "--model", str(model)]
    typed(["audit", *small, "-o", str(folder / "audit")])
    typed(["audit", *small[:6], "--preregister", str(folder / "plan.json")])
    (folder / "other").mkdir()
    shutil.copy(members, folder / "other")
    plan, other = folder / "plan.json", folder / "other"
    paths = [members, nonmembers, study, manifest, folder, folder / "audit", plan, other, model]
    valid = {
        "--members": [str(members)],
        "--nonmembers": [str(nonmembers)],
        "--model": [str(model)],
        "--canaries": [str(manifest)],
        "--preregistered": [str(plan)],
        "--attacks": ["loss"],
        "--input": ["member=m.jsonl", f"member={members}"],
        "--max-tokens": ["16"],
        "--set": ["training.epochs=1"],
        "--store": ["store", str(folder / "store")],
        "": [str(path) for path in paths],
    }
    return [*_commands(typer.main.get_command(app), ())], valid


def _commands(group: Any, words: tuple[str, ...]) -> Any:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
        elif name not in PATIENT:
            parameters = [
                (
                    p.opts[0] if p.param_type_name == "option" else "",
                    bool(getattr(p, "is_flag", False)),
                    tuple(map(str, getattr(getattr(p, "type", None), "choices", ()))),
                )
                for p in command.params
            ]
            yield Command((*words, name), tuple(parameters))


def attempt(prepared: Any, case: Case, _: Path) -> Outcome | None:
    """Type a command with some valid and some invalid values."""
    commands, valid = prepared
    chance = random.Random(case.choice)
    command = chance.choice(commands)
    words: list[str] = []
    for name in _usual(command, valid, chance):
        words += name
    for seed in case.edits:
        words = _spoiled(words, command, valid, random.Random(seed))
    if command.words[:1] in {("run",), ("plan",), ("status",), ("check",)} and command.words != ("check",):
        words = [*words, "--store", "store"] if "--store" not in words else words
    return typed([*command.words, *map(_inside, ["", *words], words)])


def _inside(before: str, word: str) -> str:
    """Return a word; "." for a folder outside the case's own, if the word before is an option that writes to it."""
    return "." if before in WRITING and word in {"/", "//", "..", "/dev/null", "/proc/self/mem"} else word


def _usual(command: Command, valid: dict[str, list[str]], chance: random.Random) -> Any:
    """Yield valid words of a command: its arguments, and the options that most calls have."""
    for name, is_flag, _ in command.parameters:
        if name == "":
            yield [chance.choice(valid[""])]
        elif not is_flag and name in valid and chance.random() < 0.6:
            yield [name, chance.choice(valid[name])]


def _spoiled(words: list[str], command: Command, valid: dict[str, list[str]], chance: random.Random) -> list[str]:
    """Return the words with one more option, or with one word changed, removed or repeated."""
    move = chance.random()
    at = chance.randint(0, len(words))
    if move < 0.6:
        name, is_flag, choices = chance.choice(command.parameters)
        if name in valid and chance.random() < 0.4:
            return [*words, name, chance.choice(valid[name])]
        value = chance.choice((*choices, *VALUES[:1]) if choices and chance.random() < 0.5 else (*VALUES, *valid[""]))
        return [*words, *([name] if name else []), *([] if is_flag else [value])]
    if move < 0.8 and words:
        at = min(at, len(words) - 1)
        return [*words[:at], chance.choice(VALUES), *words[at + 1 :]]
    if move < 0.9 and words:
        return words[:at] + words[at + 1 :]
    return [*words[:at], chance.choice((*VALUES, "--nope", "-x", "--json")), *words[at:]]
