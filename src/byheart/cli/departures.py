"""Where a method or an attack differs from its paper: the constant `VARIANT` of its file, in listings and as one table."""

from __future__ import annotations

import re

from byheart.core.registry import entry_names, load_function, module_constant, module_docstring

HEAD = """# Differences from the papers

byheart names a method or an attack after its paper, also where a part of it differs. This page lists the differences that change
what a number means. `byheart shelf attacks NAME` shows every difference of an attack with its reason. A method or an attack that is
not listed here follows its paper, up to the details in its description.

## Common to all methods

- **No end token is trained or scored** unless `data: {end_token: true}` is set. Supervised fine-tuning with
  other libraries, such as TRL, usually adds EOS to every text and trains the model to predict it. With `end_token: true`, every text
  that is not truncated ends with the tokenizer's EOS, and every chat ends with the token that ends a turn in its template. This token
  receives loss and counts in every score. Extraction, shots and neighbors omit it. Audit a model that was trained on end tokens with
  `byheart audit --end-token`.
- **Learning rates are byheart's own defaults**, chosen by validation perplexity, not those of the papers.
- **Virtual tokens are never scored**, and all methods are scored on the same tokens."""


def variant(shelf: str, name: str) -> str:
    """Return how an entry differs from its paper; "" if it does not."""
    return module_constant(load_function(shelf, name), "VARIANT", "") if shelf in {"attacks", "methods"} else ""


def variant_note(shelf: str, name: str) -> str:
    """Return the difference as an addition to the entry's summary; "" without a difference."""
    difference = variant(shelf, name)
    return f" Variant: {difference}." if difference else ""


def departures_markdown() -> str:
    """Return the page that lists every method and attack that differs from its paper."""
    tables = ["\n".join([f"## {shelf.capitalize()}\n", _table(shelf)]) for shelf in ("methods", "attacks")]
    return "\n\n".join([HEAD, *tables]) + "\n"


def _table(shelf: str) -> str:
    rows = [
        f"| [`{name}`](shelves/{shelf}.md#{name}) | {_paper(shelf, name)} | {variant(shelf, name)} |"
        for name in entry_names(shelf)
        if variant(shelf, name)
    ]
    return "\n".join(["| name | paper | difference |", "| --- | --- | --- |", *rows])


def _paper(shelf: str, name: str) -> str:
    ids = re.findall(r"arXiv (\d{4}\.\d{4,5})", module_docstring(load_function(shelf, name)))
    return f"[{ids[0]}](https://arxiv.org/abs/{ids[0]})" if ids else ""
