"""Random edits of valid content: of values in nested lists and objects, and of bytes. An edit follows from its seed alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

NESTED: Any = {"a": [{"a": [{"a": [[[[[["deep"]]]]]]}]}]}
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, -(10**400), 10**30, 2**31, 2**63, 0.5, 1.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), [], {}, [None], [[]], [{}], {"": ""}, NESTED, [1, "a", None]),
    *("", " ", "a", "0", "1", "-1", "nan", "1e999", "None", "null", "true", "[]", "{}", "[1", '{"a": 1}'),
    *("\x00", "\x1b[31mred", "a\nb", "a\r\nb", "\u202eabc", "\ud800", "\ufffd", "\ufeff", "é", "日本語", "\U0001d518"),
    *(
        "a" * 5000,
        "../../x",
        "/",
        "//",
        ".",
        "..",
        "~",
        "a/b",
        "C:\\x",
        "file:///x",
        "hub:a/b:train",
        "{x}",
        "%s",
        "$HOME",
    ),
    *("2024-13-45", "=1+1", "<script>", "' OR 1", "[" * 3000, "(" * 50, "a=b", "a:b", "a,b", "*", "?", "--help"),
)
"""Values that software often handles wrongly; JSON can write all of them except the numbers that are not finite."""

MOVES = ("replace", "replace", "replace", "remove", "rename", "add", "wrap", "copy", "swap", "number", "text", "repeat")


def edited(content: Any, seeds: Sequence[int], words: Sequence[Any] = ()) -> Any:
    """Return a copy of nested lists and objects with one edit per seed. `words` are valid names, from which some edits draw."""
    root = [copy.deepcopy(content)]
    for seed in seeds:
        _edit(root, random.Random(seed), words)
    return root[0]


def _edit(root: list[Any], chance: random.Random, words: Sequence[Any]) -> None:
    places = list(_places(root))
    parent, key = chance.choice(places)
    move, value = chance.choice(MOVES), parent[key]
    if move == "remove" and parent is not root:
        del parent[key]
    elif move == "rename" and isinstance(parent, dict):
        parent[str(_drawn(chance, words))] = parent.pop(key)
    elif move == "add" and isinstance(value, dict):
        value[str(_drawn(chance, words))] = _drawn(chance, words)
    elif move == "add" and isinstance(value, list):
        value.insert(chance.randint(0, len(value)), _drawn(chance, words))
    elif move in {"copy", "swap"}:
        other, name = chance.choice(places)
        parent[key] = copy.deepcopy(other[name])
        if move == "swap" and not _contains(value, other):
            other[name] = copy.deepcopy(value)
    else:
        parent[key] = _changed(value, move, chance, words)


def _changed(value: Any, move: str, chance: random.Random, words: Sequence[Any]) -> Any:
    """Return another value in place of a value: made from it, if the move fits its type, and drawn otherwise."""
    if move == "wrap":
        return chance.choice(([value], {"a": value}, [value, value], str(value)))
    if move == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        numeric = (value / 3, float(value)) if abs(value) < 1e300 else (value // 3, 0.0)
        return chance.choice((value + 1, value - 1, -value, value * 1000, numeric[0], str(value), numeric[1]))
    if move == "text" and isinstance(value, str):
        return edited_bytes(value.encode("utf-8", "surrogatepass"), [chance.random()]).decode("utf-8", "replace")
    if move == "repeat" and isinstance(value, list) and value:
        return value * chance.choice((2, 50))
    return _drawn(chance, words)


def _drawn(chance: random.Random, words: Sequence[Any]) -> Any:
    return copy.deepcopy(chance.choice(words if words and chance.random() < 0.4 else VALUES))


def _places(parent: Any) -> Any:
    """Yield every place of nested lists and objects as a container and its key; at most 2,000."""
    waiting, found = [parent], 0
    while waiting and found < 2000:
        container = waiting.pop()
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            found += 1
            yield container, key
            if isinstance(container[key], dict | list):
                waiting.append(container[key])


def _contains(value: Any, part: Any) -> bool:
    """Whether a container is a value or inside it."""
    return value is part or any(container is part for container, _ in _places([value]))


PIECES = (
    *(
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\n",
        b"\r\n",
        b"\t",
        b'"',
        b"'",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
    ),
    *(
        b"#",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"---\n",
        b"!!python/object:os.system ",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"\xe2\x80\xa8",
    ),
    *(
        b"null",
        b"NaN",
        b"Infinity",
        b"9" * 5000,
        b"[" * 5000,
        b"{" * 900,
        b"-",
        b"- ",
        b"? ",
        b"| \n",
        b"1e999",
        b"%",
        b"\x1b[2J",
    ),
)


def edited_bytes(content: bytes, seeds: Sequence[int | float]) -> bytes:
    """Return bytes with one edit per seed: cut, inserted, removed, repeated or changed."""
    for seed in seeds:
        chance = random.Random(seed)
        a, b = sorted(chance.randint(0, len(content)) for _ in range(2))
        move = chance.choice(("cut", "insert", "insert", "insert", "remove", "repeat", "flip", "empty", "reverse"))
        if move == "cut":
            content = content[:b]
        elif move == "insert":
            content = content[:a] + chance.choice(PIECES) + content[a:]
        elif move == "remove":
            content = content[:a] + content[min(b, a + 40) :]
        elif move == "repeat":
            content = content[:b] + content[a:]
        elif move == "flip" and content:
            at = min(a, len(content) - 1)
            content = content[:at] + bytes([content[at] ^ (1 << chance.randint(0, 7))]) + content[at + 1 :]
        elif move == "reverse":
            content = content[:a] + content[a:b][::-1] + content[b:]
        elif chance.random() < 0.1:
            content = b""
    return content
