"""Registry of shelves. Each file of a shelf's folder contains one public function with the name of the file.

Positional parameters are inputs, keyword-only parameters are settings. The signature determines the required inputs
(`needs`), the settings with their types, and a result's identity (`Choice`). Resolving a name imports only its own file;
`module:function` names external code.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from byheart.core.errors import FormerNameWarning, SettingError, UnknownNameError
from byheart.core.former_names import current_name, stored_name
from byheart.core.setting_values import format_setting, validate_setting


@dataclass(frozen=True)
class ContentIdentity:
    """Annotation of a setting's type: the value refers to content that may change while the value stays the same.

    A path refers to a file's content, a model's name to its weights, an attack's name to its code. `identity(value)` is part
    of the key of every result with this setting; it returns None, {} or "" if there is no such content. It may raise an
    error for an invalid value.
    """

    identity: Callable[[Any], Any]


SHELVES = ("attacks", "methods", "datasets", "metrics", "figures", "tables", "observations")


def entry_names(shelf: str) -> tuple[str, ...]:
    """Return the names on a shelf, sorted, without importing any of its files."""
    if shelf not in SHELVES:
        raise UnknownNameError("shelf", shelf, SHELVES)
    folder = importlib.import_module(f"byheart.{shelf}")
    return _file_names(tuple((place, _modification_time(place)) for place in folder.__path__))


@functools.lru_cache(maxsize=64)  # a study asks a thousand times; a file that is added changes the time of its folder
def _file_names(folders: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    places = [place for place, _ in folders]
    return tuple(sorted(m.name for m in pkgutil.iter_modules(places) if not m.name.startswith("_")))


def _modification_time(place: str) -> int:
    try:
        return os.stat(place).st_mtime_ns  # noqa: PTH116 - a thousand times
    except OSError:  # inside an archive, which does not change
        return 0


def load_function(shelf: str, name: str) -> Callable[..., Any]:
    """Return the function of a name; imports only its own file.

    Raises `UnknownNameError` with the nearest name and all choices. Warns of a former name.
    """
    if ":" in name:
        return _load_external(shelf, name)
    if (new := current_name(shelf, name)) != name:
        warnings.warn(
            f"{shelf} entry {name!r} is now called {new!r}. Write the new name.", FormerNameWarning, stacklevel=2
        )
        name = new
    if name not in entry_names(shelf):
        raise UnknownNameError(f"{shelf} entry", name, entry_names(shelf))
    return getattr(importlib.import_module(f"byheart.{shelf}.{name}"), name)


def _load_external(shelf: str, name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    try:
        loaded = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        raise UnknownNameError(f"{shelf} entry (module:function; {error})", name, entry_names(shelf)) from error
    if not inspect.isfunction(loaded):
        raise SettingError(f"{shelf} entry {name!r}: is a {type(loaded).__name__}. Write the name of a function.")
    return loaded


def needs(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the function's positional parameters: its required inputs."""
    return tuple(current_name("observations", p.name) for p in _parameters(function) if p.kind is not p.KEYWORD_ONLY)


def default_settings(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the function's settings (its keyword-only parameters) with their defaults."""
    return {p.name: p.default for p in _parameters(function) if p.kind is p.KEYWORD_ONLY}


@functools.cache  # a study asks for the same few signatures tens of thousands of times
def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(function).parameters.values())


def setting_types(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the declared type of each setting.

    Ignores positional parameters: their types may need a package that must not be imported here.
    """
    declared = {n: function.__annotations__[n] for n in default_settings(function) if n in function.__annotations__}
    holder = types.SimpleNamespace(__annotations__=declared)
    return typing.get_type_hints(holder, globalns=inspect.unwrap(function).__globals__, include_extras=True)


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
        raise SettingError(
            f"{shelf} {name}: setting {required[0]!r} is required. Write {name}: {{{required[0]}: ...}}."
        )
    values = {
        s: validate_setting(f"{shelf} {name}: {s}", declared.get(s, Any), v)
        for s, v in (explicit_settings or {}).items()
    }
    return Choice(shelf, name, values, defaults, module_constant(function, "REVISION", 0), function)


@dataclass(frozen=True)
class Choice:
    """A shelf function with its settings. `Choice(...)(*data)` calls it."""

    shelf: str
    name: str
    explicit_settings: Mapping[str, Any]
    defaults: Mapping[str, Any]
    revision: int
    function: Callable[..., Any] = field(compare=False, repr=False)

    def __call__(self, *data: Any) -> Any:
        """Call the function with these settings."""
        return self.function(*data, **self.explicit_settings)

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the function's positional parameters: its required inputs."""
        return needs(self.function)

    @property
    def non_default_settings(self) -> dict[str, Any]:
        """The settings that differ from their defaults, by name, sorted."""
        return {s: v for s, v in sorted(self.explicit_settings.items()) if v != self.defaults[s]}

    @property
    def label(self) -> str:
        """The settings that differ from their defaults, as "k=0.1, ..."; "" if all are defaults."""
        return ", ".join(f"{s}={format_setting(v)}" for s, v in self.non_default_settings.items())

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the result: name, non-default settings, revision and content identity."""
        content = {"content": self.content_identity} if self.content_identity else {}
        return {
            "name": stored_name(self.shelf, self.name),
            "settings": self.non_default_settings,
            "revision": self.revision,
            **content,
        }

    @functools.cached_property
    def content_identity(self) -> dict[str, Any]:
        """Identity of the content that settings refer to (`ContentIdentity`), by setting; raises the errors of `identity`."""
        identities = {
            s: mark.identity(self.settings[s])
            for s, declared in setting_types(self.function).items()
            for mark in getattr(declared, "__metadata__", ())
            if isinstance(mark, ContentIdentity)
        }
        return {s: identity for s, identity in identities.items() if identity}

    @property
    def recipe(self) -> dict[str, Any]:
        """The identity with all defaults. It is stored with the result and compared when the result is read."""
        return {**self.identity, "settings": dict(sorted(self.settings.items()))}

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting, explicit or default."""
        return {s: v for s, v in self.defaults.items() if v is not inspect.Parameter.empty} | dict(
            self.explicit_settings
        )

    @property
    def return_type(self) -> str:
        """The name of the function's declared return type; "" if it declares none."""
        return annotation_name(self.function, "return")

    @property
    def key(self) -> str:
        """Hash of the identity (16 hex digits)."""
        return key_of({"shelf": self.shelf, **self.identity})


def key_of(identity: Mapping[str, Any]) -> str:
    """Return a hash (16 hex digits) of an identity, independent of the order of its names."""
    canonical_json = json.dumps(identity, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.blake2b(canonical_json.encode(), digest_size=8).hexdigest()


def module_constant(function: Callable[..., Any], name: str, default: Any) -> Any:
    """Return a constant of the function's file, or the default if the file does not define it."""
    return inspect.getmodule(function).__dict__.get(name, default)


def annotation_name(function: Callable[..., Any], parameter: str) -> str:
    """Return the type name of a parameter (or "return"), without its module; "" if it has no annotation."""
    annotation = function.__annotations__.get(parameter, "")
    return (annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")).rpartition(".")[2]


def summary(function: Callable[..., Any]) -> str:
    """Return the first line of a function's docstring."""
    return (inspect.getdoc(function) or "").split("\n", 1)[0]


def module_docstring(function: Callable[..., Any]) -> str:
    """Return the module docstring of the function's file: paper, equation, and differences from the paper."""
    return inspect.getdoc(inspect.getmodule(function)) or ""
