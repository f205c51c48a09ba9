"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byheart.core.errors import SettingError, StoreError

if TYPE_CHECKING:
    from byheart.store.store import Store

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
StoreFolder = Annotated[Path, typer.Option("--store", metavar="DIR", help="Folder with all results.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: --set training.epochs=5.")
]
StudyName = Annotated[
    str | None, typer.Option("--study", metavar="NAME", help="Only this study; all studies by default.")
]
DEFAULT_STORE = Path("store")
JsonOutput = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ShowText = Annotated[
    bool, typer.Option("--show-text", help="Show the texts of exposed records, with private values masked.")
]
ShowPrivate = Annotated[bool, typer.Option("--show-private", help="With --show-text: do not mask private values.")]


def check_show_options(*, show_text: bool, show_private: bool) -> None:
    """Raise `SettingError` for --show-private without --show-text."""
    if show_private and not show_text:
        raise SettingError("--show-private: this option requires --show-text. Add --show-text.")


def check_fpr(fpr: float) -> None:
    """Raise `SettingError` for a value of --fpr that is no rate above 0 and below 1."""
    if not 0 < fpr < 1:
        raise SettingError(f"--fpr {fpr:g}: must be above 0 and below 1. Write, for example, --fpr 0.01.")


def open_existing_store(store: Path) -> Store:
    """Return the store in a folder; raises `StoreError` unless the folder is a store."""
    from byheart.store.store import Store

    if store.is_file():
        raise StoreError(
            f"store {store}: this is a file. Unpack a packed study: mkdir FOLDER && tar -xf {store} -C FOLDER"
        )
    if store.is_dir() and any(store.iterdir()) and not (store / "store.json").exists():
        raise StoreError(f"store {store}: this folder is not a byheart store. Name the folder of byheart run.")
    if not (store / "store.json").exists():
        problem = (
            "the folder is empty. Write results to it" if store.is_dir() else "the folder does not exist. Create it"
        )
        raise StoreError(f"store {store}: {problem}: byheart run STUDY.yaml --store {store}")
    return Store.open(store)
