"""Writes docs/formats.json: the outcome of an audit of every adapter type, architecture and kind of server.

`PYTHONPATH=tests python -m testing.format_tables`
"""

import json
import tempfile
from pathlib import Path

import transformers

from testing import adapters, architectures, server_kinds, trained_studies
from testing.served_texts import save_tuned
from testing.tiny_models import save_tiny_model


def served_folders(place):
    """A function from an architecture to folders of a base model and of a fine-tuned one."""
    for name in {kind.architecture for kind in server_kinds.KINDS.values()}:
        save_tiny_model(name, place / name)
        save_tuned(place / name, place / f"{name}-tuned")
    return lambda name: {"base": str(place / name), "tuned": str(place / f"{name}-tuned")}


def tables():
    """Every table of docs/formats.json."""
    with tempfile.TemporaryDirectory() as place:
        servers = server_kinds.table(served_folders(Path(place)))
    return {
        **adapters.table(),
        "transformers": transformers.__version__,
        "architectures": architectures.table(),
        "servers": servers,
        "studies": trained_studies.table(),
    }


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    adapters.OUTCOMES.write_text(json.dumps(tables(), indent=1) + "\n", encoding="utf-8")
