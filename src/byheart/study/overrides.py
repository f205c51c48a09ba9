"""`--set key.key=value`: change one setting of a study before validation; the command and YAML that reproduce it."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from byheart.core.errors import StudyError
from byheart.core.setting_values import shown_setting
from byheart.study.yaml_values import read_yaml


def apply_override(values: dict[str, Any], assignment: str) -> None:
    """Change one setting of a study's content in place; raises `StudyError` for a path that does not exist."""
    key, equals, value = assignment.partition("=")
    if not equals or not key:
        raise StudyError(f"--set {assignment}: not of the form key=value. Write for example --set training.epochs=5.")
    *path, last = key.split(".")
    parent: Any = values
    for depth, name in enumerate(path):
        if isinstance(parent, list):
            _check_index(assignment, name, parent)
            parent = parent[int(name)]
        else:
            parent[name] = {} if parent.get(name) is None else parent[name]
            parent = parent[name]
        if not isinstance(parent, dict | list):
            place, shown = ".".join(path[: depth + 1]), shown_setting(parent)
            fix = f" Give it settings, for example --set '{place}={{{parent}: {{}}}}'." if name.isdecimal() else ""
            raise StudyError(
                f"--set {assignment}: {place} is {shown} and has no settings.{fix or ' Choose a key of the study file.'}"
            )
    parsed = read_yaml(f"--set {assignment}: {value!r}: ", value, fix="Write a number, a word or a list in [ ].")
    if isinstance(parent, list):
        _check_index(assignment, last, parent)
        parent[int(last)] = parsed
    else:
        parent[last] = parsed


def _check_index(assignment: str, name: str, items: list[Any]) -> None:
    if name not in map(str, range(len(items))):
        raise StudyError(f"--set {assignment}: the list has no entry {name}. Choose 0 to {len(items) - 1}.")


def rerun_command(path: Path, overrides: Sequence[str]) -> str:
    """Return the command that runs a study file again with the same overrides."""
    return shlex.join(["byheart", "run", str(path), *(word for override in overrides for word in ("--set", override))])


def as_yaml(values: Mapping[str, Any]) -> str:
    """Return a study's content as YAML; reading it gives the same study."""
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # write a list of plain values on one line
    yaml.width = 120
    yaml.sort_base_mapping_type_on_output = False
    sink = io.StringIO()
    # JSON turns tuples into lists; every setting is valid JSON.
    yaml.dump(json.loads(json.dumps(dict(values))), sink)
    return sink.getvalue()
