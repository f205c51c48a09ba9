"""Options of a command in groups: dataclasses whose fields become options, so that each option is declared once."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with one option per field of its dataclass parameters.

    A field's annotation is `Annotated[type, typer.Option(...)]`, as in a Typer function. The first line of a dataclass's
    docstring is the title of its options in --help.
    """
    groups: dict[str, type] = typing.get_type_hints(command)
    groups.pop("return", None)
    parameters = [p for group in groups.values() for p in _parameters(group)]

    @functools.wraps(command)
    def run(**options: Any) -> None:
        command(
            **{
                name: group(**{f.name: options[f.name] for f in dataclasses.fields(group)})
                for name, group in groups.items()
            }
        )

    # Typer reads options from both.
    vars(run)["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _parameters(group: type) -> list[inspect.Parameter]:
    """Return a keyword parameter per field, with its option in the group's help panel."""
    title = (inspect.getdoc(group) or "").partition("\n")[0].rstrip(".")
    hints = typing.get_type_hints(group, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for field in dataclasses.fields(group):
        value_type, option = typing.get_args(hints[field.name])
        option = copy.copy(option)
        option.rich_help_panel = title
        default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        annotation = Annotated[value_type, option]
        parameters.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    return parameters
