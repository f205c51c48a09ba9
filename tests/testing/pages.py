"""The page of made-up rows, and its parsed content."""

from byheart.report.exhibits import ReportContent
from testing.made_up import judged, scored


def shown(rows, gates=None):
    return ReportContent(rows, scored(rows), judged() if gates is None else gates)
