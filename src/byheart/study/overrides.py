"""`--set key.key=value`: one setting of a study's content, changed before it is checked; and what repeats a study so set."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from byheart.core.errors import StudyError


def apply_override(values: dict[str, Any], assignment: str, yaml: Any) -> None:
    """Change one setting of a study's content in place; raises `StudyError` where there is no such place."""
    key, equals, value = assignment.partition("=")
    if not equals or not key:
        raise StudyError(f"--set {assignment}: write --set key=value, for instance --set training.epochs=5")
    from ruamel.yaml.error import YAMLError

    *path, last = key.split(".")
    place: Any = values
    for name in path:
        inner = place[int(name)] if isinstance(place, list) and name.isdigit() and int(name) < len(place) else None
        place = inner if inner is not None else place.setdefault(name, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict | list):
            raise StudyError(f"--set {assignment}: {name!r} holds no settings")
    try:
        parsed = yaml.load(value)
    except YAMLError as error:
        raise StudyError(
            f"--set {assignment}: {value!r} is no value; write a number, a word or a list in [ ]"
        ) from error
    if isinstance(place, list):
        if not last.isdigit() or int(last) >= len(place):
            raise StudyError(f"--set {assignment}: the list has entries 0 to {len(place) - 1}")
        place[int(last)] = parsed
    else:
        place[last] = parsed


def rerun_command(path: Path, overrides: Sequence[str]) -> str:
    """Return the command that runs a study's file again with the same overrides."""
    return shlex.join(["byheart", "run", str(path), *(word for one in overrides for word in ("--set", one))])


def as_yaml(values: Mapping[str, Any]) -> str:
    """Return a study's content as a file of it holds it; what is read from there is the same study."""
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # a list of plain values stands in one line
    yaml.width = 120
    yaml.sort_base_mapping_type_on_output = False
    sink = io.StringIO()
    # Through JSON, which every setting was checked as: Python's tuples are lists then.
    yaml.dump(json.loads(json.dumps(dict(values))), sink)
    return sink.getvalue()
