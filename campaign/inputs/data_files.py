"""Data in every format that byheart reads, edited as records and as bytes; read by a preregistration, by planting and by a check."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

from campaign.edits import edited, edited_bytes
from campaign.originals import sentences, write_lines
from campaign.outcomes import Outcome, typed
from campaign.surfaces import Case, Surface

FORMATS = (".jsonl", ".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".jsonl.gz", ".csv.gz", ".jsonl.zst")
SHAPE_WORDS = (
    *(
        "text",
        "prompt",
        "completion",
        "messages",
        "role",
        "content",
        "user",
        "assistant",
        "system",
        "tool",
        "from",
        "value",
        "gpt",
    ),
    *(
        "human",
        "instruction",
        "output",
        "input",
        "context",
        "response",
        "chosen",
        "rejected",
        "question",
        "answer",
        "id",
        "group",
    ),
    *(
        "tools",
        "weight",
        "conversations",
        "attributes",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "role",
        "content",
    ),
    *(
        [{"role": "user", "content": "a"}],
        [{"role": "assistant", "content": "b"}],
        '[{"role": "assistant", "content": "b"}]',
    ),
    *(
        [{"type": "text", "text": "a"}],
        [{"type": "image", "url": "x"}],
        {"name": "f", "arguments": {"a": 1}},
        [{"function": {}}],
    ),
)


def surface() -> Surface:
    """Return the surface."""
    return Surface("data files", prepare, attempt)


def prepare(folder: Path) -> tuple[Path, list[list[dict[str, Any]]]]:
    """Return a valid file of non-members, and valid records of every shape."""
    texts = list(sentences(24, 1000))
    chat = [
        {
            "messages": [
                {"role": "system", "content": "Answer."},
                {"role": "user", "content": t},
                {"role": "assistant", "content": f"Yes, {t}"},
            ]
        }
        for t in texts
    ]
    shapes = [
        [{"text": t, "id": f"r{i}", "group": f"g{i // 2}"} for i, t in enumerate(texts)],
        [{"prompt": t[:20], "completion": t[20:]} for t in texts],
        chat,
        [{"conversations": [{"from": "human", "value": t}, {"from": "gpt", "value": f"Yes, {t}"}]} for t in texts],
        [{"instruction": t[:20], "input": "", "output": t[20:]} for t in texts],
        [{"prompt": t[:20], "chosen": t[20:], "rejected": f"No, {t}"} for t in texts],
        [{"question": t[:20], "answer": t[20:], "attributes": {"city": "Oslo"}} for t in texts],
        [{**c, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]} for c in chat],
    ]
    return write_lines(folder / "nonmembers.jsonl", 24, 5000), shapes


def attempt(prepared: Any, case: Case, folder: Path) -> Outcome | None:
    """Write edited records in one of the formats, and read them with one of the faces."""
    nonmembers, shapes = prepared
    chance = random.Random(case.choice)
    records, suffix, style, face = chance.choice(shapes), chance.choice(FORMATS), chance.random(), chance.random()
    is_raw = style < 0.3
    count = chance.choice((24, 24, 3))
    content = records[:count] if is_raw else edited(records[:count], case.edits, SHAPE_WORDS)
    written = encoded(content, suffix)
    path = folder / f"members{suffix}"
    path.write_bytes(compressed(edited_bytes(written, case.edits) if is_raw else written, suffix))
    if is_raw and chance.random() < 0.3 and suffix.endswith((".gz", ".zst")):
        path.write_bytes(edited_bytes(compressed(written, suffix), case.edits))
    if face < 0.6:
        words = ["audit", "--members", str(path), "--nonmembers", str(nonmembers), "--preregister", "plan.json"]
        return typed(
            [*words, *chance.choice(([], [], ["--private", "city"], ["--response", "both"], ["--fields", "text=text"]))]
        )
    if face < 0.9:
        output = f"planted{chance.choice(('.jsonl', '.json', '.csv', '.tsv', '.parquet', '.txt'))}"
        return typed(
            [
                "canaries",
                "plant",
                str(path),
                "-o",
                output,
                "--count",
                "8",
                "--references",
                "4",
                "--repetitions",
                "1",
                "--seed",
                "1",
            ]
        )
    return typed(["check", "--members", str(path), "--nonmembers", str(nonmembers)])


def encoded(content: Any, suffix: str) -> bytes:
    """Return records as the bytes of a format, as far as the format can hold them."""
    rows = [r for r in content if isinstance(r, dict)] if isinstance(content, list) else []
    if suffix == ".parquet":
        return _parquet(rows)
    if suffix.startswith((".csv", ".tsv")):
        sink = io.StringIO()
        writer = csv.writer(sink, delimiter="\t" if suffix == ".tsv" else ",")
        writer.writerow(list(rows[0]) if rows else ["text"])
        writer.writerows([[v if isinstance(v, str) else json.dumps(v) for v in r.values()] for r in rows])
        return sink.getvalue().encode("utf-8", "surrogatepass")
    if suffix == ".txt":
        return "\n".join(str(v) for r in rows for v in r.values()).encode("utf-8", "surrogatepass")
    if suffix == ".json":
        return json.dumps(content).encode()
    lines = content if isinstance(content, list) else [content]
    return "\n".join(json.dumps(line) for line in lines).encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    try:
        table = pa.Table.from_pylist(rows)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        table = pa.table({"text": [json.dumps(r) for r in rows]})
    try:
        pq.write_table(table, sink)
    except (pa.ArrowException, ValueError):
        pq.write_table(pa.table({"text": pa.array([b"\xff", b"a"])}), sink)
    return sink.getvalue()


def compressed(content: bytes, suffix: str) -> bytes:
    """Return content, compressed as the suffix says."""
    if suffix.endswith(".gz"):
        return gzip.compress(content)
    if suffix.endswith(".zst"):
        import zstandard

        return zstandard.ZstdCompressor().compress(content)
    return content
