"""Plant canaries in a data set: `byheart.plant` for objects in memory, `plant_source` for files."""

from __future__ import annotations

import operator
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, cast

from byheart.auditing.canaries.writer import CanaryWriter
from byheart.core.atomic_file import draft_of
from byheart.core.errors import DataError, ModelError, SettingError
from byheart.core.setting_values import shown_setting
from byheart.data.canary_manifest import MANIFEST, PlantedSet
from byheart.data.canary_records import Record
from byheart.data.plant_settings import WRITTEN_KINDS, Kind, PlantSettings
from byheart.data.planting import plant_records
from byheart.data.record_writers import check_writable, write_records
from byheart.data.sources import read_source
from byheart.lm.load import LanguageModel, load
from byheart.lm.preserve_state import preserve_training_state

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

SEED_BITS = 64
FIELD_NAMES = ("text", "prompt", "completion", "messages")
"""Standard names in `fields`."""


class PlantedData(NamedTuple):
    """A data set with canaries, of the type that was passed, and the canaries.

    Save the canaries before training: `planted.canaries.save(folder)`.
    """

    dataset: Any
    canaries: PlantedSet


def plant(  # noqa: PLR0913 - settings come in by keyword
    dataset: Any,
    *,
    count: int = 1000,
    repetitions: Sequence[int] = (1, 4, 16),
    kinds: Sequence[Kind] = ("random_tokens", "digits", "names", "in_distribution"),
    seed: int | None = None,
    model: torch.nn.Module | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    fields: Mapping[str, str] | None = None,
    references: int = 200,
    guesses: int | None = None,
    delta: float = 1e-5,
    written_tokens: int = 32,
    temperature: float = 1.2,
    least_likely: float = 0.1,
) -> PlantedData:
    """Plant canaries in a `datasets.Dataset`, or in a list of records or of strings; a fair coin includes each canary.

    A canary is where the loss is: the text, the completion, or the last assistant message. `fields` are the data's names for `text`,
    `prompt`, `completion`, `messages`. Without a `seed` the coins come from the system's random numbers. `high_perplexity` and
    `synthetic` canaries are written by the base `model`. Raises `DataError`, `SettingError` and `ModelError`.
    """
    settings = PlantSettings(
        count=count,
        repetitions=_values("repetitions", repetitions),
        kinds=_values("kinds", kinds),
        references=references,
        guesses=guesses,
        delta=delta,
        written_tokens=written_tokens,
        temperature=temperature,
        least_likely=least_likely,
    )
    records, are_strings = _records_of(dataset)
    fields = _checked_fields(fields)
    seed = secrets.randbits(SEED_BITS) if seed is None else _whole_seed(seed)
    _check_writer(model, tokenizer)
    if model is None or tokenizer is None:
        planting = plant_records(records, settings, seed=seed, field_names=fields)
    else:
        module: Any = model
        name = str(getattr(module.config, "name_or_path", "")) or type(model).__name__
        with preserve_training_state(model):
            writer = CanaryWriter(LanguageModel(module, tokenizer, name), settings)
            planting = plant_records(records, settings, seed=seed, field_names=fields, writer=writer)
    if are_strings:
        return PlantedData([record["text"] for record in planting.records], planting.planted)
    if isinstance(dataset, list):
        return PlantedData([dict(record) for record in planting.records], planting.planted)
    try:
        data = type(dataset).from_list([dict(record) for record in planting.records], features=dataset.features)
    except (ValueError, TypeError, OverflowError) as error:  # the base classes of Arrow's errors
        raise DataError(
            f"plant: canaries do not fit the data set's features ({error}). Cast ids to int64 or string, or remove them."
        ) from error
    return PlantedData(data, planting.planted)


def plant_source(
    source: str,
    output: Path,
    settings: PlantSettings,
    *,
    seed: int | None = None,
    model: str | None = None,
    field_names: Mapping[str, str] | None = None,
) -> tuple[PlantedSet, Path]:
    """Write a source's records with canaries to `output`, and the canaries into a folder beside it.

    Returns the canaries and the path of their manifest. Raises `DataError` for a source that cannot be read, an output that exists or
    cannot be written, and as `plant_records` does.
    """
    check_writable(output)
    folder = canary_folder(output)
    draft_of(output)  # removes what a killed command left
    if folder.exists():
        alone = ", and its data do not, as after an interruption" if (folder / MANIFEST).exists() else ""
        raise DataError(f"{folder}: the path already exists{alone}. Choose another output, or remove it.")
    records = [dict(row.fields) for row in read_source(source)]
    writer = None
    if model is not None and set(settings.kinds) & set(WRITTEN_KINDS):
        writer = CanaryWriter(load(model), settings)
    seed = secrets.randbits(SEED_BITS) if seed is None else seed
    planting = plant_records(records, settings, seed=seed, field_names=field_names, writer=writer)
    manifest = planting.planted.save(folder)
    try:
        write_records(output, planting.records, lambda draft: _check_written(draft, output, planting.planted))
    except BaseException:  # also an interruption: a manifest without data is of no use
        shutil.rmtree(folder)
        raise
    return planting.planted, manifest


def _check_written(draft: Path, output: Path, planted: PlantedSet) -> None:
    """Raise `DataError` if a file does not hold the records exactly: for example, Parquet adds fields that some records lack."""
    try:
        planted.check_planted([row.fields for row in read_source(str(draft.absolute()))])
    except DataError as error:
        raise DataError(
            f"{output}: a {output.suffix} file does not hold these records exactly (missing fields, or white space around texts). "
            "Write a .jsonl file."
        ) from error


def _values(name: str, values: Any) -> tuple[Any, ...]:
    """Return the values of a setting. Raises `SettingError` for one value that is not in a list."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise SettingError(
            f"canaries.{name} = {shown_setting(values)}: is not a list. Write [{shown_setting(values)}]."
        )
    return tuple(cast("Sequence[Any]", values))


def _checked_fields(fields: Any) -> Mapping[str, str] | None:
    """Return names of fields; raises `SettingError` for anything but a mapping from standard names to the data's names."""
    if fields is None:
        return None
    if not isinstance(fields, Mapping):
        raise SettingError(
            f"plant(fields={shown_setting(fields)}): is not a mapping. Write the data's names by standard name, such as {{'text': 'body'}}."
        )
    names = cast("Mapping[Any, Any]", fields)
    for standard, name in names.items():
        if standard not in FIELD_NAMES or not isinstance(name, str):
            raise SettingError(
                f"plant(fields=...): {shown_setting(standard)}: {shown_setting(name)} is not a field and its name. "
                f"Choose from {', '.join(FIELD_NAMES)}."
            )
    return cast("Mapping[str, str]", fields)


def _check_writer(model: object, tokenizer: object) -> None:
    """Raise `ModelError` for a base model that cannot write canaries: no PyTorch module, or without its tokenizer."""
    import torch

    if model is None:
        return
    if tokenizer is None:
        raise ModelError("plant(model=...): the model's tokenizer is missing. Pass tokenizer=.")
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "config"):
        raise ModelError(
            f"plant(model=...): {type(model).__name__} is not a transformers model. Pass a model of AutoModelForCausalLM."
        )
    if not callable(tokenizer) or not hasattr(tokenizer, "decode"):
        raise ModelError(
            f"plant(tokenizer=...): {type(tokenizer).__name__} is not a tokenizer. Pass the model's, of AutoTokenizer."
        )


def _whole_seed(seed: object) -> int:
    """Return a seed as a plain integer. Raises `SettingError` for another value, and below 0."""
    try:
        number = -1 if isinstance(seed, bool) else operator.index(cast("SupportsIndex", seed))
    except TypeError:
        number = -1
    if number < 0:
        raise SettingError(
            f"canaries.seed = {shown_setting(seed)}: is not a whole number from 0. Write one, or leave it out."
        )
    return number


def canary_folder(output: Path) -> Path:
    """Return the folder with the canaries of a planted file: planted.canaries beside planted.jsonl."""
    return output.with_name(f"{output.stem}.canaries")


def _records_of(dataset: Any) -> tuple[list[Record], bool]:
    """Return the records of a data set, and whether they were strings."""
    if isinstance(dataset, list):
        items = cast("list[Any]", dataset)
        if items and all(isinstance(item, str) for item in items):
            return [{"text": item} for item in items], True
        if all(isinstance(item, Mapping) for item in items):
            return items, False
    elif hasattr(dataset, "features") and hasattr(dataset, "from_list") and hasattr(dataset, "__len__"):
        return [dict(record) for record in dataset], False
    raise DataError(
        f"plant: the data are {type(dataset).__name__}. Pass a datasets.Dataset (one split, not a stream), or a list of records or of "
        "strings."
    )
