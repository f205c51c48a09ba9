"""Writes docs/choose.md from docs/choose.jinja: every number in its tables and sentences comes from the rows of docs/results."""

import re
from collections.abc import Callable, Mapping, Sequence

from page_numbers import DOCS, METHODS, Number, environment, found_number, interval, results, table_cells

TEMPLATE, PAGE = DOCS / "choose.jinja", DOCS / "choose.md"

__all__ = ["METHODS", "PAGE", "found_number", "interval", "page", "results"]

Lookup = Callable[[str], Sequence[Mapping[str, str]]]


def page(lookup: Lookup = results) -> str:
    """Return the page. Raises `ValueError` if the rows do not carry a sentence."""

    def number(study: str, metric: str, **settings: object) -> Number:
        return found_number(lookup(study), study, metric, settings)

    def setting(study: str, name: str) -> str:
        return re.findall(rf"\b{name}=(\w+)", lookup(study)[0]["dataset_settings"])[0]

    def widest(study: str, epoch: int) -> float:
        found = [
            r
            for r in lookup(study)
            if (r["metric"], r["epoch"]) == ("auc", str(epoch)) and r["attack"] in {"loss", "reference"}
        ]
        return max(max(float(r["value"]) - float(r["low"]), float(r["high"]) - float(r["value"])) for r in found)

    template = environment().from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        n=number, setting=setting, widest=widest, equal=equal_perplexity,
        epochs=lambda study: max(int(r["epoch"]) for r in lookup(study) if r["epoch"]),
    )  # fmt: skip


def equal_perplexity(study: str) -> dict[str, dict[str, dict[str, Number | str]]]:
    """Return the AUCs of the table at equal perplexity by level, attack and method, or the words of a cell without one."""
    header, cells = table_cells(study, "matched_utility")
    levels: dict[str, dict[str, dict[str, Number | str]]] = {}
    for row in (dict(zip(header, c, strict=True)) for c in cells):
        if re.fullmatch(r"[\d.]+", row["perplexity"]):
            numbers = {m: [float(x) for x in re.findall(r"-?\d*\.\d+", row[m])] for m in METHODS}
            levels.setdefault(row["perplexity"], {})[row["attack"]] = {
                m: Number(*found) if found else row[m] for m, found in numbers.items()
            }
    return levels
