"""Descriptions of shelf entries from signatures and docstrings, for the command line and the documentation."""

from __future__ import annotations

import inspect
import itertools
import re
import typing
from collections.abc import Callable
from typing import Any

from byheart.cli.departures import variant_note
from byheart.core.adversary import adversary_order, adversary_phrase, default_adversary_label
from byheart.core.attack_output import is_extraction_attack
from byheart.core.dependencies import (
    BY_EPOCH,
    forward_pass_count,
    generated_token_count,
    is_by_epoch,
    required_observations,
)
from byheart.core.registry import (
    SHELVES,
    Choice,
    choose,
    default_settings,
    entry_names,
    load_function,
    module_constant,
    module_docstring,
    needs,
    setting_types,
    summary,
)
from byheart.core.setting_values import format_setting


def shelves_text() -> str:
    """Return every shelf with the number and the names of its entries."""
    return "\n".join(f"{s:13} {len(entry_names(s)):3}  {', '.join(entry_names(s))}" for s in SHELVES)


def shelf_text(shelf: str) -> str:
    """Return a shelf's entries, one line each; attacks below what their adversary has."""
    width = max(map(len, entry_names(shelf)), default=0)
    lines = {n: f"{n:{width}}  {summary(load_function(shelf, n))}{variant_note(shelf, n)}" for n in entry_names(shelf)}
    if shelf != "attacks":
        return "\n".join(lines.values())
    groups = itertools.groupby(sorted(lines, key=_by_adversary), key=default_adversary_label)
    return "\n\n".join(
        "\n".join([f"The adversary has {adversary_phrase(label)}:", *(lines[n] for n in names)])
        for label, names in groups
    )


def entry_text(shelf: str, name: str) -> str:
    """Return the description of one entry as plain text."""
    function = load_function(shelf, name)
    parts = [f"{shelf}/{name}: {summary(function)}"]
    rest = (inspect.getdoc(function) or "").partition("\n")[2].strip()
    parts += [rest] if rest else []
    parts += [note.strip()] if (note := variant_note(shelf, name)) else []
    if needs(function):
        parts.append("Needs: " + "; ".join(_requirement_text(shelf, n) for n in needs(function)))
    if shelf == "attacks" and ":" not in name:
        parts += [_adversary_line(name), _passes_line(name)]
    declared = setting_types(function)
    lines = [
        f"  {s}: {type_text(declared.get(s, ''))} = {_default(default)}"
        for s, default in default_settings(function).items()
    ]
    parts.append("Settings:\n" + "\n".join(lines) if lines else "Settings: none")
    parts.append("Source:\n" + "\n".join(f"  {line}".rstrip() for line in module_docstring(function).splitlines()))
    return "\n\n".join(parts)


def _requirement_text(shelf: str, name: str) -> str:
    adversary = adversary_requirement(name) if shelf in {"attacks", "observations"} else ""
    return f"{name} ({adversary})" if adversary else name


def _adversary_line(attack: str) -> str:
    return f"The adversary has: {default_adversary_label(attack)}"


def _passes_line(attack: str) -> str:
    return f"Forward passes over the audited texts, shared with other attacks: {passes_text(attack)}"


def adversary_requirement(name: str) -> str:
    """Return what an adversary must have to use this evidence, from the observation's file; "" for other inputs."""
    if name == "texts":
        return "the text itself"
    if is_by_epoch(name):
        return f"{adversary_requirement(name.removesuffix(BY_EPOCH))}, at the base model and after every epoch"
    return (
        module_constant(load_function("observations", name), "ADVERSARY", "")
        if name in entry_names("observations")
        else ""
    )


def passes_text(attack: str) -> str:
    """Return the cost of an attack's evidence, in forward passes over the audited texts.

    A pass over known texts counts as one pass; shadow and reference models count as models to train, and texts that an
    observation generates whatever the audited texts are as tokens.
    """
    inputs = needs(load_function("attacks", attack))
    observations = required_observations(inputs, f"attacks {attack}")
    costs = [_observation_passes_text(o, observations) for o in observations]
    passes = sum(float(cost) for cost in costs if not cost[0].isalpha())
    trainings = [cost for cost in costs if cost[0].isalpha()]
    trainings += ["training of 1 model"] if any("reference_trainer" in o.needs for o in observations) else []
    total = " + ".join([f"{passes:g}", *trainings] if passes or not trainings else trainings)
    return f"{total} at each epoch" if any(map(is_by_epoch, inputs)) else total


def _observation_passes_text(observation: Choice, observations: list[Choice]) -> str:
    if "shadow_passes" in observation.needs:
        return f"training of {observation.settings['models']} models"
    if generated := generated_token_count(observation):
        return f"reading of {generated:,.0f} generated tokens"
    return f"{forward_pass_count(observation, observations):g}"


def attacks_markdown() -> str:
    """Return the page that compares all attacks by adversary, cost and source."""
    extraction = [n for n in entry_names("attacks") if is_extraction_attack(choose("attacks", n))]
    membership = [n for n in entry_names("attacks") if n not in extraction]
    sections = ((MEMBERSHIP_HEAD, membership), (EXTRACTION_HEAD, extraction))
    tables = [
        "\n".join([head, COLUMNS, *map(_attack_line, sorted(names, key=_by_adversary))]) for head, names in sections
    ]
    return "\n\n".join([ATTACKS_HEAD, *tables]) + "\n"


def _by_adversary(attack: str) -> tuple[tuple[bool, list[int]], str]:
    return adversary_order(default_adversary_label(attack)), attack


def _attack_line(name: str) -> str:
    cells = (
        summary(load_function("attacks", name)) + variant_note("attacks", name),
        default_adversary_label(name),
        passes_text(name),
        _arxiv(name),
    )
    return f"| [`{name}`](shelves/attacks.md#{name}) | {' | '.join(cells)} |"


def _arxiv(attack: str) -> str:
    ids = re.findall(r"arXiv (\d{4}\.\d{4,5})", module_docstring(load_function("attacks", attack)))
    return ", ".join(f"[{n}](https://arxiv.org/abs/{n})" for n in dict.fromkeys(ids[:1]))


ATTACKS_HEAD = """# Attacks

A higher score always means more leakage. Attacks are grouped by what their [adversary](threat_models.md#what-each-attack-needs)
must have besides the scored texts, the weakest adversary first. The column *passes* counts forward passes over the audited texts with
the default settings. Attacks share passes: two attacks on `target` and `base` need two passes together. Known records (`data.known`)
need passes too, but are few. `byheart run` stores the passes and seconds of each attack in the rows."""
MEMBERSHIP_HEAD = """## Was this text trained on?

Every attack scores the same tokens of the same texts. A higher score means more likely a member.
"""
EXTRACTION_HEAD = """## Does the model generate this text?

The adversary has the prefix of a text (observation `prefix_suffix_split`: the first 50 tokens, half of a shorter text, or the
whole prompt) and wants the suffix, at most 50 tokens. The adversary of `extractable` has no prefix: it samples texts from the
contrast of the model with its base model, and looks for the audited texts among them.

An extraction attack returns a score and whether each text was extracted.
`extraction_rate` is the share of extracted members. It has two controls: `extraction_rate_nonmembers`, the share of extracted
non-members, and epoch 0, the base model. The table `extraction` shows the excess over both, which is the leakage. An audit shows
the same table, but its verdict does not depend on it.
"""
COLUMNS = """| attack | score | adversary has | passes | source |
| --- | --- | --- | --- | --- |"""


def _default(value: Any) -> str:
    return "(required)" if value is inspect.Parameter.empty else format_setting(value).replace("\n", "\\n")


def type_text(declared: Any) -> str:
    """Return a setting's type with its range: "float > 0, <= 1"."""
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
    requirements = (
        "Needs: " + "; ".join(_requirement_text(shelf, n) for n in needs(function)) + "\n" if needs(function) else ""
    )
    rest = (inspect.getdoc(function) or "").partition("\n")[2].strip()
    cost = f"{_adversary_line(name)}\n\n{_passes_line(name)}\n" if shelf == "attacks" else ""
    note = variant_note(shelf, name)
    return "\n".join(
        x
        for x in (
            f"## {name}\n",
            f"{summary(function)}\n",
            f"{rest}\n" if rest else "",
            f"{note.strip()}\n" if note else "",
            requirements,
            cost,
            table,
            f"{module_docstring(function)}\n",
        )
        if x
    )
