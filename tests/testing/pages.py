"""The page of made-up rows, and what a browser would see of it."""

from byheart.report.exhibits import ReportContent
from testing.made_up import judged, scored


def shown(rows, gates=None):
    return ReportContent(rows, scored(rows), judged() if gates is None else gates)
