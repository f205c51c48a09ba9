"""The checks of an audit as SARIF 2.1.0 (OASIS), which code scanning displays.

Every check is a rule. Only failed and undecided checks are results, because some viewers raise an alert for every result, whatever its
kind. SARIF has the kind `open` for a check that the evidence does not decide; its level must be `none`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from byheart.auditing.ci.checks import Check

VERSION = "2.1.0"
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_KINDS = {"failed": ("fail", "error"), "undecided": ("open", "none")}
_GROUPS = {
    "fail-above": "The 95 % interval of the attack must not lie above the bound",
    "pass-below": "Every attack must be shown to stay below the bound",
    "preregistration": "Bounds must be tested as planned",
    "attack": "No bound judges this attack",
}


def sarif_json(checks: Sequence[Check], *, verdict: str, tool_version: str, location: str) -> str:
    """Return SARIF text of the checks; `location` is the file that results point to, relative to the repository."""
    driver = {"name": "byheart", "version": tool_version, "rules": [_rule(check) for check in checks]}
    results = [_result(i, check, location) for i, check in enumerate(checks) if check.outcome in _KINDS]
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": "byheart audit/"},
        "invocations": [{"executionSuccessful": True}],
        "results": results,
        "properties": {"verdict": verdict},
    }
    return json.dumps({"$schema": SCHEMA, "version": VERSION, "runs": [run]}, ensure_ascii=False, indent=1) + "\n"


def _rule(check: Check) -> dict[str, Any]:
    text = f"{_GROUPS[check.group]}: {check.name}."
    return {
        "id": check.rule,
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": "See the report of the audit. A check that passes does not show that nothing was memorized."},
        "defaultConfiguration": {"level": "error"},
        "properties": {"outcome": check.outcome},
    }


def _result(index: int, check: Check, location: str) -> dict[str, Any]:
    kind, level = _KINDS[check.outcome]
    place = {"artifactLocation": {"uri": quote(location)}, "region": {"startLine": 1}}
    return {
        "ruleId": check.rule,
        "ruleIndex": index,
        "kind": kind,
        "level": level,
        "message": {"text": check.message},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"byheartCheck/v1": check.rule},
    }
