"""Runs campaigns and writes docs/reliability.md: `make campaign PIECES=inputs,kills`, or `python -m campaign inputs --count 200`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
from pathlib import Path
from typing import Any

from campaign import page
from campaign.page import RESULTS

CHECKED = ("hostile", "power_loss", "faults", "determinism")
"""Pieces of named checks."""
PIECES = ("inputs", "kills", *CHECKED)
SURFACES = tuple(sorted(p.stem for p in (Path(__file__).parent / "inputs").glob("[a-z]*.py")))
CASES = 10_000
KILLS = 100
NO_INPUTS: dict[str, Any] = {"cases": 0, "counts": {}, "faults": {}, "seconds": 0.0}
NO_KILLS: dict[str, Any] = {"counts": {}, "faults": {}, "seconds": 0.0, "next": 0}


def main() -> None:
    """Run the named pieces, from the first case that was not tried yet, and write the page."""
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("pieces", nargs="?", default=",".join(PIECES), help=f"comma-separated: {', '.join(PIECES)}")
    parser.add_argument(
        "--surface", default="", help="only this kind of input, topic or check, or these runs, comma-separated"
    )
    parser.add_argument("--first", type=int, help="try again from this case on; the results are printed, not stored")
    parser.add_argument(
        "--count", type=int, default=0, help="number of cases of each kind of input, or of kills of each run"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=float("inf"),
        help="stop after this time for each kind of input, and for the kills",
    )
    arguments = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # names of models that do not exist must not be looked up
    for piece in arguments.pieces.split(","):
        if piece in CHECKED:
            checked(piece, arguments)
        else:
            {"inputs": inputs, "kills": kills}[piece](arguments)
    if arguments.first is None:
        page.write()


def inputs(arguments: Any) -> None:
    """Try the next cases of every kind of input."""
    from campaign.surfaces import campaign

    for name in SURFACES:
        surface = importlib.import_module(f"campaign.inputs.{name}").surface()
        if arguments.surface not in {"", surface.name, name}:
            continue
        results = page.read(RESULTS)
        before = _without_faults(results.setdefault("inputs", {}).get(surface.name), NO_INPUTS)
        first = before["cases"] if arguments.first is None else arguments.first
        count = arguments.count or max(0, CASES - first)
        if not count:
            continue
        with contextlib.redirect_stderr(io.StringIO()):
            found = campaign(surface, first, count, seconds=arguments.seconds)
        print(f"{surface.name}: {found.cases} cases from {first} on, {found.seconds:.0f} s: {found.counts}", flush=True)
        for kind, fault in found.faults.items():
            print(f"  {kind}: {json.dumps(fault, ensure_ascii=False)}", flush=True)
        if arguments.first is None:
            counts = {
                k: before["counts"].get(k, 0) + found.counts.get(k, 0) for k in {**before["counts"], **found.counts}
            }
            faults = {
                k: {"number": f["number"], "case": f["case"], "times": f["times"]} for k, f in found.faults.items()
            }
            results["inputs"][surface.name] = {
                "cases": first + found.cases,
                "counts": counts,
                "faults": faults,
                "seconds": round(before["seconds"] + found.seconds, 1),
            }
            _keep(results)


def kills(arguments: Any) -> None:
    """Kill the runs at the next drawn moments."""
    from campaign.kills.campaign import Killed, kill_runs

    results = page.read(RESULTS)
    before = _without_faults(results.get("kills"), NO_KILLS)
    first = before["next"] if arguments.first is None else arguments.first
    count = arguments.count or max(0, KILLS - first)

    def keep(found: Killed) -> None:
        names = {**before["counts"], **found.counts}
        _keep(
            {
                **results,
                "kills": {
                    "counts": {name: before["counts"].get(name, 0) + found.counts.get(name, 0) for name in names},
                    "faults": found.faults,
                    "seconds": round(before["seconds"] + found.seconds, 1),
                    "next": found.following,
                },
            }
        )

    # Kept after every kill, so that an early stop leaves what was counted; the number that it broke off is tried again.
    on_kill = keep if arguments.first is None else (lambda _: None)
    found = kill_runs(first, count, seconds=arguments.seconds, only=arguments.surface, on_kill=on_kill)
    on_kill(found)
    print(
        f"kills from {first} on, {found.seconds:.0f} s: {found.counts}; {len(found.faults)} other results", flush=True
    )
    for moment, problem in found.faults.items():
        print(f"  {moment}: {problem}", flush=True)


def checked(piece: str, arguments: Any) -> None:
    """Try the topics of a piece that were not tried yet, or that had faults; all cases of each."""
    from campaign.checks import run_topic, topics

    for topic in topics(piece):
        results = page.read(RESULTS)
        before = results.setdefault(piece, {}).get(topic)
        chosen = [name for name in arguments.surface.split(",") if name]
        is_named, only = topic in chosen, [name for name in chosen if name not in topics(piece)]
        if (chosen and not is_named and not only) or (before and not before["faults"] and not chosen):
            continue
        is_whole = not only and not arguments.count and arguments.first is None and arguments.seconds == float("inf")
        found = run_topic(
            piece,
            topic,
            first=arguments.first or 0,
            count=arguments.count or None,
            only=only,
            seconds=arguments.seconds,
        )
        print(f"{piece} {topic}: {found.cases} cases, {found.seconds:.0f} s, {len(found.faults)} faults", flush=True)
        for name, problem in found.faults.items():
            print(f"  {name}: {problem}", flush=True)
        if is_whole and found.cases:
            results[piece][topic] = {"cases": found.cases, "faults": found.faults, "seconds": round(found.seconds, 1)}
            _keep(results)


def _without_faults(stored: Any, empty: Any) -> Any:
    """Return the stored results; empty ones after a fault, so that its piece is tried again from the first case."""
    return empty if stored is None or stored["faults"] else stored


def _keep(results: Any) -> None:
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
