"""A folder is a registry: every file of a shelf holds one public function of the file's own name.

Data comes in by position, settings come in by keyword. From the signature alone follow what must be computed
first (`needs`), what a study may set and of which type (`settings`), and a result's identity (`Choice`).
A name is resolved by importing its own file only; `their.module:function` names somebody else's code.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import json
import math
import pkgutil
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from byheart.core.errors import SettingError, StudyError, UnknownNameError


@dataclass(frozen=True)
class ContentIdentity:
    """Said of a setting in its type: what the value stands for may change while the value stays, and `identity` tells it.

    A path stands for a file's content, a model's name for its weights, an attack's for its code. `identity` of a value is
    part of the key of whatever is set so; None, {} and "" where there is nothing to tell. It may refuse the value.
    """

    identity: Callable[[Any], Any]


FORMER_NAMES: Mapping[str, Mapping[str, str]] = {
    "observations": {
        "chances": "sampling_logprobs",
        "recitation": "greedy_continuation",
        "suffixes": "prefix_suffix_split",
        "substitutes": "neighbour_texts",
        "after_members": "member_prefix",
        "after_nonmembers": "nonmember_prefix",
    },
    "metrics": {"attribute_recital": "attribute_extraction"},
}
"""Renamed entries of shelves, former name first. Study files may use the former name; store keys always contain it."""

SHELVES = ("attacks", "methods", "datasets", "metrics", "figures", "tables", "observations")


def entry_names(shelf: str) -> tuple[str, ...]:
    """Return the names on a shelf, sorted, without importing any of its files."""
    if shelf not in SHELVES:
        raise UnknownNameError("shelf", shelf, SHELVES)
    folder = importlib.import_module(f"byheart.{shelf}")
    return tuple(sorted(m.name for m in pkgutil.iter_modules(folder.__path__) if not m.name.startswith("_")))


def current_name(shelf: str, name: str) -> str:
    """Return today's name of an entry that may be written by its former name."""
    return FORMER_NAMES.get(shelf, {}).get(name, name)


def stored_name(shelf: str, name: str) -> str:
    """Return the name that store keys contain: the former name of a renamed entry, so that stored results stay valid."""
    return next((old for old, new in FORMER_NAMES.get(shelf, {}).items() if new == name), name)


def load_function(shelf: str, name: str) -> Callable[..., Any]:
    """Return the function behind a name, importing its own file only.

    Raises `UnknownNameError` with the nearest name and the whole list. Warns of a former name.
    """
    if ":" in name:
        return _load_external(shelf, name)
    if (new := current_name(shelf, name)) != name:
        warnings.warn(f"{shelf} entry {name!r} is now called {new!r}; write the new name", FutureWarning, stacklevel=2)
        name = new
    if name not in entry_names(shelf):
        raise UnknownNameError(f"{shelf} entry", name, entry_names(shelf))
    return getattr(importlib.import_module(f"byheart.{shelf}.{name}"), name)


def _load_external(shelf: str, name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        raise UnknownNameError(f"{shelf} entry (module:function; {error})", name, entry_names(shelf)) from error
    if not inspect.isfunction(found):
        raise SettingError(f"{shelf} entry {name!r} is a {type(found).__name__}; write the name of a function")
    return found


def needs(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the data that the function takes by position."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(current_name("observations", p.name) for p in parameters if p.kind is not p.KEYWORD_ONLY)


def default_settings(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the function's settings (its keyword-only names) with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def setting_types(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the declared type of each setting.

    Only settings are looked at: the types of the data may need a package that is not to be imported here.
    """
    declared = {n: function.__annotations__[n] for n in default_settings(function) if n in function.__annotations__}
    holder = types.SimpleNamespace(__annotations__=declared)
    return typing.get_type_hints(holder, globalns=inspect.unwrap(function).__globals__, include_extras=True)


def validate_setting(where: str, declared: Any, value: Any) -> Any:
    """Return the value as its declared type; raise `SettingError` naming the place, the value and the mend."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return _adapter(declared, TypeAdapter).validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValidationError as error:
        told = error.errors()[0]
        raise SettingError(f"{where} = {value!r}: {told['msg'][0].lower() + told['msg'][1:]}") from error
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"{where} = {value!r}: only finite numbers, strings, true, false, null and lists can be set"
        ) from error


@functools.cache
def _adapter(declared: Any, adapter: Any) -> Any:
    return adapter(declared)


def parse_entry(shelf: str, written: Any) -> tuple[str, dict[str, Any]]:
    """Return name and settings of "name" or {name: settings}, as a study file or an audit writes an entry of a shelf.

    Raises `StudyError` for anything else.
    """
    if isinstance(written, str):
        return written, {}
    if isinstance(written, Mapping) and len(entry := dict(cast("Mapping[Any, Any]", written))) == 1:
        name, values = next(iter(entry.items()))
        if isinstance(name, str) and isinstance(values, Mapping | None):
            return name, dict(cast("Mapping[str, Any]", values or {}))
    raise StudyError(
        f"{shelf}: {format_setting(written)[:80]} is not an entry. Write a name, or name: {{setting: value}}."
    )


def choose(shelf: str, name: str, explicit_settings: Mapping[str, Any] | None = None) -> Choice:
    """Return a shelf's function with its settings, each checked against its declared type.

    Raises `UnknownNameError` for a name or setting that does not exist, `SettingError` for a wrong value.
    """
    function = load_function(shelf, name)
    name = current_name(shelf, name)
    defaults, declared = default_settings(function), setting_types(function)
    for setting in explicit_settings or {}:
        if setting not in defaults:
            raise UnknownNameError(f"setting of {shelf} {name}", setting, defaults)
    required = [
        s
        for s, default in defaults.items()
        if default is inspect.Parameter.empty and s not in (explicit_settings or {})
    ]
    if required:
        raise SettingError(f"{shelf} {name} needs {required[0]!r}: write {name}: {{{required[0]}: ...}}")
    values = {
        s: validate_setting(f"{shelf} {name}: {s}", declared.get(s, Any), v)
        for s, v in (explicit_settings or {}).items()
    }
    return Choice(shelf, name, values, defaults, module_constant(function, "REVISION", 0), function)


@dataclass(frozen=True)
class Choice:
    """A shelf's function with its settings. `Choice(...)(*data)` calls it."""

    shelf: str
    name: str
    explicit_settings: Mapping[str, Any]
    defaults: Mapping[str, Any]
    revision: int
    function: Callable[..., Any] = field(compare=False, repr=False)

    def __call__(self, *data: Any) -> Any:
        """Call the function on data, with these settings."""
        return self.function(*data, **self.explicit_settings)

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the data that the function takes by position."""
        return needs(self.function)

    @property
    def non_default_settings(self) -> dict[str, Any]:
        """The settings that differ from their defaults, by name, sorted."""
        return {s: v for s, v in sorted(self.explicit_settings.items()) if v != self.defaults[s]}

    @property
    def label(self) -> str:
        """The changed settings as a reader writes them: "k=0.1, ..."; "" where all are defaults."""
        return ", ".join(f"{s}={format_setting(v)}" for s, v in self.non_default_settings.items())

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it another result: name, changed settings, revision, and what settings stand for."""
        content = {"content": self.content_identity} if self.content_identity else {}
        return {
            "name": stored_name(self.shelf, self.name),
            "settings": self.non_default_settings,
            "revision": self.revision,
            **content,
        }

    @functools.cached_property
    def content_identity(self) -> dict[str, Any]:
        """What settings stand for besides their values, by name (`StandsFor`); raises what they refuse."""
        told = {
            s: mark.identity(self.settings[s])
            for s, declared in setting_types(self.function).items()
            for mark in getattr(declared, "__metadata__", ())
            if isinstance(mark, ContentIdentity)
        }
        return {s: found for s, found in told.items() if found}

    @property
    def recipe(self) -> dict[str, Any]:
        """The identity with every default spelled out, to be kept beside the result and compared on reading."""
        return {**self.identity, "settings": dict(sorted(self.settings.items()))}

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting, given or default."""
        return {s: v for s, v in self.defaults.items() if v is not inspect.Parameter.empty} | dict(
            self.explicit_settings
        )

    @property
    def return_type(self) -> str:
        """The name of the type that the function says it returns; "" where it says nothing."""
        told = self.function.__annotations__.get("return", "")
        return (told if isinstance(told, str) else getattr(told, "__name__", "")).rpartition(".")[2]

    @property
    def key(self) -> str:
        """Hash of the identity (16 hex digits)."""
        return key_of({"shelf": self.shelf, **self.identity})


def evaluate_expression(expression: str | float, settings: Mapping[str, Any]) -> float:
    """Return a number that a file says of itself, or says by its settings: 2, "count", "shots + 1", "2 * probes"."""
    if not isinstance(expression, str):
        return float(expression)
    factors = ((factor.strip() for factor in term.split("*")) for term in expression.split("+"))
    return float(sum(math.prod(float(settings.get(f, f)) for f in term) for term in factors))


def format_setting(value: Any) -> str:
    """Return a setting as a study file would hold it."""
    return value if isinstance(value, str) else json.dumps(value)


def key_of(identity: Mapping[str, Any]) -> str:
    """Return a hash (16 hex digits) of an identity, whatever the order of its names."""
    spelled = json.dumps(identity, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.blake2b(spelled.encode(), digest_size=8).hexdigest()


def module_constant(function: Callable[..., Any], name: str, default: Any) -> Any:
    """Return what a function's file says of itself by a name in capitals."""
    return inspect.getmodule(function).__dict__.get(name, default)


def summary(function: Callable[..., Any]) -> str:
    """Return the first line of a function's docstring."""
    return (inspect.getdoc(function) or "").split("\n", 1)[0]


def module_docstring(function: Callable[..., Any]) -> str:
    """Return the head of the function's file: the paper, the equation, and where ours departs."""
    return inspect.getdoc(inspect.getmodule(function)) or ""
