"""Options of `byheart audit`, in groups."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from byheart.cli.options import JsonOutput, ShowPrivate, ShowText, check_fpr, check_show_options
from byheart.cli.text_options import TextOptions, comma_separated
from byheart.core.errors import SettingError

if TYPE_CHECKING:
    from byheart.lm.placement import Placement


MAX_REQUESTS, TIMEOUT = 10_000, 600.0


class Bits(Enum):
    """Bits per weight."""

    FOUR = "4"
    EIGHT = "8"


@dataclass(frozen=True, kw_only=True)
class AttackOptions:
    """Attacks."""

    attacks: Annotated[str, typer.Option(metavar="NAMES", help="default, all, or comma-separated names.")] = "default"
    max_texts: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of texts per class (default: 1000; with --scores, all).")
    ] = None
    max_tokens: Annotated[
        int, typer.Option(min=2, help="Maximum number of tokens per text; longer texts are truncated.")
    ] = 512
    fpr: Annotated[float, typer.Option(help="False positive rate for TPR@FPR.")] = 0.01
    end_token: Annotated[
        bool, typer.Option("--end-token", help="Score EOS after every whole text, for a model trained so.")
    ] = False
    tokenization: Annotated[
        Literal["joined", "apart"], typer.Option(help="How training tokenized a prompt and its completion.")
    ] = "joined"

    def __post_init__(self) -> None:
        """Raise `SettingError` for a rate outside (0, 1)."""
        check_fpr(self.fpr)

    @property
    def names(self) -> str | list[str]:
        """`default`, `all`, or a list of names."""
        return self.attacks if self.attacks in {"default", "all"} else comma_separated(self.attacks)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Model on this machine."""

    model: Annotated[
        str | None, typer.Option(metavar="PATH_OR_ID", help="Fine-tuned model, or the folder of a peft adapter.")
    ] = None
    adapter: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Folder of an adapter for --model, which is then the base model; or the name of one of several adapters in the folder "
            "--model. With none, an adapter beside the weights is ignored.",
        ),
    ] = None
    base: Annotated[
        str | None, typer.Option(metavar="PATH_OR_ID", help="Base model that --model was fine-tuned from.")
    ] = None
    exported_from: Annotated[
        str | None,
        typer.Option(
            metavar="PATH_OR_ID",
            help="Weights that --model, such as a GGUF file, was exported from. A warning states how far their log-probabilities differ.",
        ),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto"
    device_map: Annotated[
        Literal["auto"] | None, typer.Option(help="Distribute the model over all GPUs and CPU memory.")
    ] = None
    quantize: Annotated[Bits | None, typer.Option(help="Load weights in 4 or 8 bits with bitsandbytes.")] = None
    precision: Annotated[Literal["float32", "bfloat16"], typer.Option(help="Data type of weights and scoring.")] = (
        "float32"
    )

    @property
    def placement(self) -> Placement:
        """Where and how the weights are loaded."""
        import torch

        from byheart.lm.devices import torch_device
        from byheart.lm.placement import Placement

        torch_device(self.device, where=f"--device {self.device}")
        return Placement(
            dtype=getattr(torch, self.precision),
            device=self.device,
            spread=self.device_map is not None,
            bits=cast("Literal[4, 8]", int(self.quantize.value)) if self.quantize else None,
        )


@dataclass(frozen=True, kw_only=True)
class EndpointOptions:
    """Model behind an endpoint."""

    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="URL of an OpenAI-compatible server, instead of --model.")
    ] = None
    model_name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the model at the endpoint.")] = None
    base_name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of its base model at the endpoint.")] = (
        None
    )
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="PATH_OR_ID", help="Tokenizer of the model. byheart applies its chat template."),
    ] = None
    max_requests: Annotated[
        int, typer.Option(min=1, help="Maximum number of requests to the endpoint, including retries.")
    ] = MAX_REQUESTS
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Maximum time for one answer.")] = TIMEOUT


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Output."""

    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="New folder for the report, all numbers and a model card."),
    ] = None
    fail_above: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE",
            help="Exit with code 3 if an attack's 95 % interval lies above this bound, such as auc=0.6.",
        ),
    ] = None
    show_text: ShowText = False
    show_private: ShowPrivate = False
    json: JsonOutput = False

    def __post_init__(self) -> None:
        """Raise `SettingError` for --show-private without --show-text."""
        check_show_options(show_text=self.show_text, show_private=self.show_private)

    @property
    def show(self) -> dict[str, bool]:
        """The arguments `show_text` and `show_private`."""
        return {"show_text": self.show_text, "show_private": self.show_private}


def check_one_model(model: ModelOptions, endpoint: EndpointOptions, texts: TextOptions) -> None:
    """Raise `SettingError` unless the options name exactly one model, at this machine or at an endpoint."""
    if endpoint.endpoint is None:
        if endpoint.model_name is not None or endpoint.base_name is not None or endpoint.tokenizer is not None:
            raise SettingError(
                "--model-name, --base-name, --tokenizer: these options require --endpoint. Add --endpoint URL."
            )
        if model.model is None:
            raise SettingError(
                "--model: no model is named. Add --model, or --endpoint and --model-name, or --generated with texts that it generated, "
                "or --scores with fields of the records."
            )
        return
    if any(name is not None for name in (model.model, model.adapter, model.base, model.exported_from)):
        raise SettingError(
            "--endpoint: cannot be combined with --model, --adapter, --base and --exported-from. Remove them, and name "
            "the base model at the endpoint with --base-name."
        )
    if texts.canaries is not None:
        raise SettingError(
            "--endpoint: cannot be combined with --canaries, because exposure requires the weights. Audit the files included.jsonl and "
            "held_out.jsonl beside the manifest as --members and --nonmembers, or name the weights with --model."
        )
    if not endpoint.model_name:
        raise SettingError("--endpoint: the name of the model is missing. Add --model-name NAME.")
    if model.device_map or model.quantize or texts.known_members or texts.known_nonmembers:
        raise SettingError(
            "--endpoint: cannot be combined with --device-map, --quantize, --known-members and --known-nonmembers. Remove them, or "
            "audit the weights with --model."
        )
