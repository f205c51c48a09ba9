"""The checks of an audit as JUnit XML, which GitHub, GitLab and Jenkins display.

A failed check is a `failure`; an undecided check, and one that no bound judges, is `skipped`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from byheart.auditing.ci.checks import Check

SUITE = "byheart audit"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot contain."""


def junit_xml(checks: Sequence[Check], *, verdict: str, at: str, seconds: float) -> bytes:
    """Return JUnit XML of the checks; `at` is the end of the audit in ISO 8601, `seconds` its duration."""
    failed = sum(check.outcome == "failed" for check in checks)
    skipped = sum(check.outcome in {"undecided", "not judged"} for check in checks)
    totals = {"tests": str(len(checks)), "failures": str(failed), "errors": "0", "skipped": str(skipped)}
    root = ET.Element("testsuites", {"name": SUITE, **totals, "time": f"{seconds:.3f}"})
    attributes = {"name": SUITE, **totals, "time": f"{seconds:.3f}", "timestamp": at.removesuffix("Z")}
    suite = ET.SubElement(root, "testsuite", attributes)
    for check in checks:
        names = {"classname": f"byheart.{check.group}", "name": _xml_text(check.name), "time": "0"}
        case = ET.SubElement(suite, "testcase", names)
        message = _xml_text(check.message)
        if check.outcome == "failed":
            ET.SubElement(case, "failure", {"message": message, "type": check.group}).text = message
        elif check.outcome != "passed":
            ET.SubElement(case, "skipped", {"message": f"{check.outcome}: {message}"})
        else:
            ET.SubElement(case, "system-out").text = message
    ET.SubElement(suite, "system-out").text = _xml_text(f"verdict: {verdict}")
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _xml_text(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
