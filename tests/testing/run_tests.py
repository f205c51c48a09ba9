"""Run the tests that the arguments choose, in this process; prints why each failed, or an empty text, as JSON."""

import contextlib
import io
import json
import sys

import pytest


class Outcomes:
    """A plugin that keeps why each test failed."""

    def __init__(self):
        """Know of no test."""
        self.reasons = {}

    def pytest_runtest_logreport(self, report):
        """Keep the text of a failure."""
        self.reasons[report.nodeid] = self.reasons.get(report.nodeid, "") + (
            report.longreprtext if report.failed else ""
        )


if __name__ == "__main__":
    outcomes = Outcomes()
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*sys.argv[1:], "-p", "no:cacheprovider", "-p", "no:xdist"], plugins=[outcomes])
    sys.stdout.write(json.dumps(outcomes.reasons))
