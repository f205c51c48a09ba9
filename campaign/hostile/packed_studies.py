"""Stores of an attacker: bombs in arrays; keys, links and checksums that lead out of the store."""

from __future__ import annotations

import itertools
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaign.checks import Check
from campaign.hostile.guard import SECRET, outside, problem
from campaign.originals import save_tiny_model, write_lines
from campaign.outcomes import typed

Change = Callable[[Path, Path], None]


def checks(originals: Path) -> list[Check]:
    """Return the checks; the store of a finished study is written into the folder."""
    store = _finished(originals)

    def tried(name: str, change: Change, *commands: list[str], named: str = "is damaged") -> list[Check]:
        def attempt(folder: Path, command: list[str]) -> str:
            place = Path(shutil.copytree(store, folder / "in" / "store"))
            change(place, folder)
            words = [command[0], *(["--store"] if command[0] != "verify" else []), str(place), *command[1:]]
            found = problem(folder, lambda: typed(words), named=named)
            return found or _leaked(folder)

        return [Check(f"{name}: {c[0]}", lambda folder, _, c=c: attempt(folder, c)) for c in commands]

    rows, pack, report = ["rows"], ["pack", "-o", "out.tar.xz"], ["report", "-o", "out.html"]
    return [
        *tried("a compressed bomb", _bomb, report),
        *tried("overlapping arrays", _overlapping, report),
        *tried("an array of another size", _other_size, report),
        *tried("keys of rows", lambda s, f: _keys(s, f, "rows"), rows, pack, report, named="is no key"),
        *tried("keys of gates", lambda s, f: _keys(s, f, "gates"), pack, report, named="is no key"),
        *tried("keys of scores", _score_keys, pack, report, named="is no key"),
        *tried("a linked file", _linked_file, pack, named="is a link"),
        *tried("a linked result", _linked_result, pack, named="is a link"),
        *tried("checksums of files elsewhere", _other_checksums, ["verify"]),
    ]


def _finished(folder: Path) -> Path:
    import byheart

    model = save_tiny_model(folder / "model")
    write_lines(folder / "data.jsonl", 60)
    study: dict[str, Any] = {
        "name": "s",
        "models": str(model),
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 12, "members": 6, "nonmembers": 6, "validation": 4, "max_tokens": 24},
        "methods": ["head"],
        "training": {"epochs": 1, "batch_size": 4},
        "attacks": ["loss"],
    }
    byheart.run(study, store=folder / "store")
    return folder / "store"


def _leaked(folder: Path) -> str:
    """Return which archive or page contains the secret of another folder."""
    for path in (folder / "out.html", folder / "out.tar.xz"):
        if not path.exists():
            continue
        contents = [path.read_bytes()] if path.suffix == ".html" else _members(path)
        if any(SECRET.encode() in content for content in contents):
            return f"{path.name} contains a file from elsewhere"
    return ""


def _members(path: Path) -> list[bytes]:
    with tarfile.open(path) as archive:
        streams = [archive.extractfile(member) for member in archive.getmembers()]
        return [stream.read() for stream in streams if stream]


def _first(store: Path, stage: str) -> Path:
    return min((store / stage).iterdir())


def _without_checksums(folder: Path) -> None:
    content = json.loads((folder / "recipe.json").read_text())
    plain = {name: value for name, value in content.items() if name not in {"crc32", "checksums"}}
    (folder / "recipe.json").write_text(json.dumps(plain))


def _other_checksums(store: Path, folder: Path) -> None:
    names = ("/dev/zero", str(outside(folder) / "secret.txt"), "../../../outside/secret.txt")
    for path, name in zip(sorted(store.glob("*/*/recipe.json")), itertools.cycle(names), strict=False):
        recipe = json.loads(path.read_text())
        recipe.pop("crc32")
        path.write_text(json.dumps({**recipe, "checksums": {name: "0"}}))


def _bomb(store: Path, _folder: Path) -> None:
    for place in (store / "scores").iterdir():
        _without_checksums(place)
        with (
            zipfile.ZipFile(place / "arrays.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
            archive.open("scores.npy", "w", force_zip64=True) as stream,
        ):
            stream.write(_array_header("|u1", 96 << 26))
            for _ in range(96):
                stream.write(b"\0" * (1 << 26))


def _overlapping(store: Path, _: Path) -> None:
    """Name one array a thousand times in the directory of the archive."""
    for place in (store / "scores").iterdir():
        _without_checksums(place)
        with zipfile.ZipFile(place / "arrays.npz", "a") as archive:
            first = archive.infolist()[0]
            archive.filelist.extend([first] * 1000)
            archive._didModify = True  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue] - writes the directory


def _other_size(store: Path, _: Path) -> None:
    for place in (store / "scores").iterdir():
        _without_checksums(place)
        with zipfile.ZipFile(place / "arrays.npz", "w") as archive:
            archive.writestr("scores.npy", _array_header("<f8", 9_999_999_999_999))


def _array_header(kind: str, count: int) -> bytes:
    """Return the header of a NumPy file of one dimension."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({count},), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00v\x00" + header.encode()


def _other_result(store: Path, folder: Path, stage: str) -> str:
    """Copy a result to another place, with a secret, and return the key that leads there."""
    place = Path(shutil.copytree(_first(store, stage), outside(folder) / stage))
    (place / "extra.json").write_text(json.dumps(SECRET))
    return f"../../outside/{stage}"


def _note(store: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = store / "studies" / "s.json"
    content = json.loads(path.read_text())
    content.pop("crc32", None)
    path.write_text(json.dumps(change(content)))


def _keys(store: Path, folder: Path, stage: str) -> None:
    key = _other_result(store, folder, stage)
    if stage == "rows":
        _note(store, lambda note: {**note, "rows": [key]})
    else:
        _note(store, lambda note: {**note, "gates": [{**g, "key": key} for g in note["gates"]]})


def _score_keys(store: Path, folder: Path) -> None:
    key = _other_result(store, folder, "scores")
    for place in (store / "rows").iterdir():
        _without_checksums(place)
        rows = json.loads((place / "rows.json").read_text())
        (place / "rows.json").write_text(json.dumps([{**row, "scores": key if row["scores"] else ""} for row in rows]))


def _linked_file(store: Path, folder: Path) -> None:
    _without_checksums(_first(store, "rows"))
    (_first(store, "rows") / "extra.json").symlink_to(outside(folder) / "secret.txt")


def _linked_result(store: Path, folder: Path) -> None:
    place = _first(store, "rows")
    shutil.move(place, outside(folder) / "result")
    (outside(folder) / "result" / "extra.json").write_text(SECRET)
    place.symlink_to(outside(folder) / "result")
