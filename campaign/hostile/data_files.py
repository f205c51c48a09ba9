"""Files of texts and study files whose content is far larger than the file."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable
from pathlib import Path

from campaign.checks import Check
from campaign.hostile.guard import audit, problem
from campaign.originals import save_tiny_model, write_lines
from campaign.outcomes import typed

LINES = "a: &a [x, x, x, x, x, x, x, x, x]\n"


def checks(originals: Path) -> list[Check]:
    """Return the checks; a model and texts are written into the folder."""
    model = save_tiny_model(originals / "model")
    texts = write_lines(originals / "n.jsonl", 6, 900)

    def tried(name: str, write: Callable[[Path], Path]) -> Check:
        def attempt(folder: Path, _: object) -> str:
            (folder / "in").mkdir()
            path = write(folder / "in")
            return problem(folder, lambda: audit(model, path, texts), ("refused",), named=str(path))

        return Check(name, attempt)

    def read(name: str, text: str) -> Check:
        def attempt(folder: Path, _: object) -> str:
            (folder / "in").mkdir()
            path = folder / "in" / "study.yaml"
            path.write_text(text)
            return problem(folder, lambda: typed(["plan", str(path)]), ("refused",), named="study.yaml")

        return Check(name, attempt)

    return [
        tried("gzip of 4 GB", _gzip),
        tried("many gzip streams", _gzip_streams),
        tried("Zstandard of 4 GB", _zstandard),
        tried("Parquet that repeats a text", _parquet),
        read("aliases of billions of values", LINES + _doublings()),
        read("an anchor inside itself", "name: &a [*a]\n"),
        read(
            "merge keys",
            "a: &a {x: 1}\n" + "".join(f"b{n}: &b{n} {{<<: [{', '.join(['*a'] * 50)}]}}\n" for n in range(50)),
        ),
        read("a Python object", "name: !!python/object/apply:os.system ['touch ran']\n"),
        read("a million keys", "".join(f"k{n}: 1\n" for n in range(200_000))),
        read("nesting", "name: " + "[" * 50_000),
    ]


def _doublings() -> str:
    names = "abcdefghijklmnop"
    return "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise(names))


def _gzip(folder: Path) -> Path:
    path = folder / "m.txt.gz"
    block = gzip.compress(b"a b c\n" * (1 << 22), mtime=0)
    path.write_bytes(block * 150)
    return path


def _gzip_streams(folder: Path) -> Path:
    path = folder / "m.jsonl.gz"
    line = json.dumps({"text": " " * 100_000 + "x"}).encode() + b"\n"
    path.write_bytes(gzip.compress(line, mtime=0) * 20_000)
    return path


def _zstandard(folder: Path) -> Path:
    import zstandard

    path = folder / "m.txt.zst"
    block = zstandard.ZstdCompressor(level=19).compress(b"a b c\n" * (1 << 22))
    path.write_bytes(block * 150)
    return path


def _parquet(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "m.parquet"
    table = pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000), pa.array(["word " * 20_000]))})
    pq.write_table(table, path)
    return path
