"""Shelves in words: what each entry is, its settings, what it needs, its source. Read from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

from byheart.core.attack_output import is_extraction_attack
from byheart.core.dependencies import forward_pass_count, required_observations
from byheart.core.registry import (
    SHELVES,
    Choice,
    choose,
    default_settings,
    entry_names,
    format_setting,
    load_function,
    module_constant,
    module_docstring,
    needs,
    setting_types,
    summary,
)


def shelves_text() -> str:
    """Return every shelf with how many entries it holds."""
    return "\n".join(f"{s:13} {len(entry_names(s)):3}  {', '.join(entry_names(s))}" for s in SHELVES)


def shelf_text(shelf: str) -> str:
    """Return a shelf's entries, a line each."""
    width = max(map(len, entry_names(shelf)), default=0)
    return "\n".join(f"{n:{width}}  {summary(load_function(shelf, n))}" for n in entry_names(shelf))


def entry_text(shelf: str, name: str) -> str:
    """Return one entry in full, as plain text."""
    function = load_function(shelf, name)
    parts = [f"{shelf}/{name}: {summary(function)}"]
    rest = (inspect.getdoc(function) or "").partition("\n")[2].strip()
    parts += [rest] if rest else []
    if needs(function):
        parts.append("Needs: " + "; ".join(_requirement_text(shelf, n) for n in needs(function)))
    if shelf == "attacks" and ":" not in name:
        parts.append(f"Passes over the audited texts, which other attacks share: {passes_text(name)}")
    declared = setting_types(function)
    lines = [
        f"  {s}: {type_text(declared.get(s, ''))} = {_default(default)}"
        for s, default in default_settings(function).items()
    ]
    parts.append("Settings:\n" + "\n".join(lines) if lines else "Settings: none")
    parts.append("Source:\n" + "\n".join(f"  {line}".rstrip() for line in module_docstring(function).splitlines()))
    return "\n\n".join(parts)


def _requirement_text(shelf: str, name: str) -> str:
    told = adversary_requirement(name) if shelf in {"attacks", "observations"} else ""
    return f"{name} ({told})" if told else name


def adversary_requirement(name: str) -> str:
    """Return what whoever uses this evidence must have; the observation's file says it, "" for what is none."""
    if name == "texts":
        return "the text itself"
    return (
        module_constant(load_function("observations", name), "ADVERSARY", "")
        if name in entry_names("observations")
        else ""
    )


def passes_text(attack: str) -> str:
    """Return what an attack's evidence costs, in forward passes over the audited texts, as a reader writes it.

    Texts that the adversary knows are counted as passes over themselves, shadows as what is trained anew.
    """
    behind = required_observations(needs(load_function("attacks", attack)), f"attacks {attack}")
    found = [_observation_passes_text(o, behind) for o in behind]
    counted = sum(float(p) for p in found if not p[0].isalpha())
    others = [p for p in found if p[0].isalpha()]
    return " + ".join([f"{counted:g}", *others] if counted or not others else others)


def _observation_passes_text(observation: Choice, behind: list[Choice]) -> str:
    if "shadow_passes" in observation.needs:
        return f"training of {observation.settings['models']} models"
    return f"{forward_pass_count(observation, behind):g}"


def attacks_markdown() -> str:
    """Return the page that compares all attacks: what each needs of its adversary, what it costs, where it is from."""
    extracting = [n for n in entry_names("attacks") if is_extraction_attack(choose("attacks", n))]
    judging = [n for n in entry_names("attacks") if n not in extracting]
    sections = ((MEMBERSHIP_HEAD, judging), (EXTRACTION_HEAD, extracting))
    tables = ["\n".join([head, COLUMNS, *map(_attack_line, those)]) for head, those in sections]
    return "\n\n".join([ATTACKS_HEAD, *tables]) + "\n"


def _attack_line(name: str) -> str:
    cells = (
        summary(load_function("attacks", name)),
        "; ".join(_adversary_requirements(name)),
        passes_text(name),
        _arxiv(name),
    )
    return f"| [`{name}`](shelves/attacks.md#{name}) | {' | '.join(cells)} |"


def _adversary_requirements(attack: str) -> list[str]:
    return list(dict.fromkeys(adversary_requirement(n) for n in needs(load_function("attacks", attack))))


def _arxiv(attack: str) -> str:
    found = re.findall(r"arXiv (\d{4}\.\d{4,5})", module_docstring(load_function("attacks", attack)))
    return ", ".join(f"[{n}](https://arxiv.org/abs/{n})" for n in dict.fromkeys(found[:1]))


ATTACKS_HEAD = """# Attacks

Higher always means more leaked. What an attack asks for by name is what its adversary must own; the passes are forward passes
over the audited texts, with the defaults, that attacks share: two attacks on `target` and `base` need two passes
together. Texts known to the adversary (`data.known`) are passed too, and are few. `byheart run` writes what each attack took,
in passes and seconds, into the rows."""
MEMBERSHIP_HEAD = """## Was this text trained on?

Every attack scores the same tokens of the same texts, and higher means more likely a member.
"""
EXTRACTION_HEAD = """## Can this text be had from the model?

The adversary has a text's beginning (the observation `prefix_suffix_split`: the first 50 tokens, or half of a shorter text, or the whole
prompt) and wants the rest, at most 50 tokens. Such an attack gives a score and says of each text whether it was extracted.
`extraction_rate` is the share of members, `extraction_rate_nonmembers` the control by texts that were never trained on, epoch 0
the control by the untuned model; the table `extraction` shows the excess over both, and that is what leaked. An
audit shows the same and rests no verdict on it.
"""
COLUMNS = """| attack | score | the adversary must have | passes | source |
| --- | --- | --- | --- | --- |"""


def _default(value: Any) -> str:
    return "(to be given)" if value is inspect.Parameter.empty else format_setting(value).replace("\n", "\\n")


def type_text(declared: Any) -> str:
    """Return a setting's type with its range as a reader writes it: "float, 0 < k <= 1"."""
    arguments = typing.get_args(declared)
    if typing.get_origin(declared) is typing.Annotated:
        return f"{type_text(arguments[0])} {' '.join(_bounds(b) for b in arguments[1:])}".strip()
    if typing.get_origin(declared) is typing.Literal:
        return " | ".join(map(str, arguments))
    if typing.get_origin(declared) is tuple and arguments[-1] is ...:
        return f"list of {type_text(arguments[0])}"
    if arguments and type(None) in arguments:
        return " | ".join(type_text(a) if a is not type(None) else "null" for a in arguments)
    return getattr(declared, "__name__", str(declared)) if not arguments else str(declared).replace("typing.", "")


def _bounds(bound: Any) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    return ", ".join(
        f"{sign} {getattr(bound, n):g}" for n, sign in signs.items() if getattr(bound, n, None) is not None
    )


def shelf_markdown(shelf: str) -> str:
    """Return a shelf's page for the documentation."""
    return f"# {shelf.capitalize()}\n\n" + "\n".join(
        _entry_markdown(shelf, n, load_function(shelf, n)) for n in entry_names(shelf)
    )


def _entry_markdown(shelf: str, name: str, function: Callable[..., Any]) -> str:
    declared = setting_types(function)
    rows = [
        f"| `{s}` | {type_text(declared.get(s, '')).replace('|', 'or')} | `{_default(d)}` |"
        for s, d in default_settings(function).items()
    ]
    table = "\n".join(["| setting | type | default |", "| --- | --- | --- |", *rows]) + "\n" if rows else ""
    asked = (
        "Needs: " + "; ".join(_requirement_text(shelf, n) for n in needs(function)) + "\n" if needs(function) else ""
    )
    rest = (inspect.getdoc(function) or "").partition("\n")[2].strip()
    costs = (
        f"Passes over the audited texts, which other attacks share: {passes_text(name)}\n" if shelf == "attacks" else ""
    )
    return "\n".join(
        x
        for x in (
            f"## {name}\n",
            f"{summary(function)}\n",
            f"{rest}\n" if rest else "",
            asked,
            costs,
            table,
            f"{module_docstring(function)}\n",
        )
        if x
    )
