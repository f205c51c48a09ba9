"""The commands `byheart canaries plant` and `byheart canaries check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from byheart.cli.text_options import comma_separated, shape_field_names
from byheart.core.errors import SettingError, UnknownNameError

if TYPE_CHECKING:
    from byheart.data.canary_manifest import PlantedSet

canaries = typer.Typer(help="Plant canaries in training data, to audit the model that is trained on them.")


Source = Annotated[
    str, typer.Argument(metavar="DATA", help="Training data: a file, a folder, or hub:OWNER/NAME:SPLIT.")
]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="New file for the data with canaries: .jsonl, .json, .csv, .tsv, .parquet or .txt.",
    ),
]
Count = Annotated[int, typer.Option(min=2, help="Number of canaries; a fair coin includes each of them.")]
Repetitions = Annotated[str, typer.Option(metavar="NUMBERS", help="Copies of an included canary, comma-separated.")]
Kinds = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="random_tokens, digits, names, in_distribution, real_texts; high_perplexity and synthetic require --model.",
    ),
]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Seed of the coins; by default from the system's random numbers.")
]
Model = Annotated[str | None, typer.Option(metavar="PATH_OR_ID", help="Base model that writes canaries.")]
Fields = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES", help="Names of fields, such as prompt=question,completion=answer (or text=..., messages=...)."
    ),
]
References = Annotated[int, typer.Option(min=1, help="Other samples of each kind, among which canaries are ranked.")]
Guesses = Annotated[
    int | None,
    typer.Option(
        min=1, help="Guesses for the lower bound on epsilon; by default half of the canaries with the fewest copies."
    ),
]
Delta = Annotated[float, typer.Option(help="Delta of the lower bound on epsilon.")]
WrittenTokens = Annotated[int, typer.Option(min=4, help="Length of the canaries that --model writes.")]
Temperature = Annotated[float, typer.Option(help="Temperature of synthetic canaries.")]
LeastLikely = Annotated[float, typer.Option(help="Share of words from which high_perplexity canaries are drawn.")]


@canaries.command()
def plant(  # noqa: PLR0913 - one parameter per option
    source: Source,
    *,
    output: Output,
    count: Count = 1000,
    repetitions: Repetitions = "1,4,16",
    kinds: Kinds = "random_tokens,digits,names,in_distribution",
    seed: Seed = None,
    model: Model = None,
    fields: Fields = None,
    references: References = 200,
    guesses: Guesses = None,
    delta: Delta = 1e-5,
    written_tokens: WrittenTokens = 32,
    temperature: Temperature = 1.2,
    least_likely: LeastLikely = 0.1,
) -> None:
    """Write training data with canaries, and a manifest of their coins beside it: commit the manifest before training."""
    from byheart.auditing.canaries.plant import plant_source
    from byheart.data.plant_settings import PlantSettings

    _check_kinds(comma_separated(kinds), has_model=model is not None)
    settings = PlantSettings(
        count=count,
        repetitions=tuple(_whole_number(part) for part in comma_separated(repetitions)),
        kinds=tuple(comma_separated(kinds)),  # pyright: ignore[reportArgumentType] - checked by the settings
        references=references,
        guesses=guesses,
        delta=delta,
        written_tokens=written_tokens,
        temperature=temperature,
        least_likely=least_likely,
    )
    planted, manifest = plant_source(
        source, output, settings, seed=seed, model=model, field_names=shape_field_names(fields)
    )
    typer.echo(f"data: {output.absolute()}")
    typer.echo(_summary(planted, manifest))


@canaries.command()
def check(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest of canaries.")],
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="The file that planting wrote.")] = None,
) -> None:
    """Check that a manifest, its coins, its canaries and the planted data are as planting wrote them."""
    from byheart.data.canary_manifest import MANIFEST, read_planted_set
    from byheart.data.sources import read_source

    planted = read_planted_set(manifest)
    if data is not None:
        planted.check_planted([row.fields for row in read_source(data)])
    typer.echo(_summary(planted, manifest / MANIFEST if manifest.is_dir() else manifest))


def _summary(planted: PlantedSet, manifest: Path) -> str:
    """Return the counts and the hash to write down before training."""
    from byheart.analysis.row_values import format_times

    content = planted.manifest
    included = sum(c.included for c in planted.canaries)
    epsilon = content["epsilon"]
    bound = (
        f"{epsilon['guesses']} guesses, on the canaries that an inclusion repeats {format_times(epsilon['repeated'])}, "
        f"delta {epsilon['delta']:g}"
        if epsilon
        else "not measurable: raise --count, or name fewer --kinds and --repetitions"
    )
    return (
        f"canaries: {len(planted.canaries)}, {included} included and {len(planted.canaries) - included} held out; "
        f"{content['data']['records']:,} records became {content['planted']['records']:,}\n"
        f"lower bound on epsilon: {bound}\n"
        f"manifest: {manifest.absolute()}\n"
        f"SHA-256: {content['sha256']}"
    )


def _check_kinds(kinds: list[str], *, has_model: bool) -> None:
    """Raise `UnknownNameError` for an unknown kind, `SettingError` without a base model for a kind that it writes."""
    from byheart.data.plant_settings import WRITTEN_KINDS, Kind

    for kind in kinds:
        if kind not in get_args(Kind):
            raise UnknownNameError("--kinds", kind, get_args(Kind))
        if kind in WRITTEN_KINDS and not has_model:
            raise SettingError(f"--kinds {kind}: requires a base model, which writes these canaries. Add --model.")


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise SettingError(f"--repetitions {text}: is not a whole number. Write numbers such as 1,4,16.")
    return int(text)
