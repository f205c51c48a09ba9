"""How rows are called, ordered and pooled for a reader; every table, figure and report says it the same way.

A `Naming` gives each row the shortest name that still tells it from the others: settings are spelled out where, and
only where, the same method (attack, data set) occurs with several. Two different things never share a name, so
nothing is mixed by being shown under one.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from byheart.analysis.row_values import split_settings
from byheart.core.types import Row

Key = tuple[str, ...]


BASE_LABEL = "untuned"
"""What the base model at epoch 0 is called."""


# Parameter-based methods are warm and prompt-based ones cold, from Okabe and Ito's colour-blind-safe set.
METHOD_STYLES = {
    "full": ("full", "#D55E00"),
    "head": ("head", "#E69F00"),
    "lora": ("LoRA", "#CC79A7"),
    "dp_full": ("DP full", "#661100"),
    "dp_lora": ("DP LoRA", "#882255"),
    "prefix": ("prefix", "#0072B2"),
    "prompt": ("prompt", "#56B4E9"),
    "p_tuning": ("P-tuning", "#009E73"),
}
PROMPT_BASED = frozenset({"prefix", "prompt", "p_tuning"})
FALLBACK_COLORS = ("#332288", "#999933", "#117733", "#44AA99", "#AA4499")

ATTACK_LABELS = {
    "loss": "Loss",
    "reference": "Reference",
    "zlib_ratio": "Zlib",
    "min_k": "Min-K%",
    "min_k_plus_plus": "Min-K%++",
    "min_k_plus_plus_calibrated": "Min-K%++ calibrated",
    "lowercase": "Lowercase",
    "surp": "SURP",
    "error_zone": "EZ-MIA",
    "wbc": "WBC",
    "dc_pdd": "DC-PDD",
    "camia": "CAMIA",
    "wel": "WEL-MIA",
    "recall": "ReCaLL",
    "con_recall": "Con-ReCall",
    "icp": "ICP-MIA",
    "icp_similar": "ICP-MIA (similar texts)",
    "neighbourhood": "Neighbourhood",
    "spv": "SPV-MIA",
    "lira": "LiRA",
    "rmia": "RMIA",
    "info_rmia": "InfoRMIA",
    "grad_norm": "GradNorm",
    "samia": "SaMIA",
    "ensemble": "Ensemble",
    "discoverable": "Discoverable",
    "approximate": "Approximate",
    "probabilistic": "(n, p)-discoverable",
}
DATASET_LABELS = {"webnlg": "WebNLG", "wikitext": "WikiText", "xsum": "XSum"}
METRIC_LABELS = {
    "auc": "ROC AUC",
    "group_auc": "ROC AUC over groups",
    "tpr_at_fpr": "TPR at low FPR",
    "perplexity": "validation perplexity",
    "train_perplexity": "training perplexity",
    "generalisation_gap": "generalisation gap (nats per token)",
    "extraction_rate": "share of members extracted",
    "extraction_rate_nonmembers": "share of non-members extracted",
    "extraction_excess": "members extracted beyond non-members",
    "exposure": "exposure (bits)",
    "held_out_exposure": "exposure of held-out canaries (bits)",
    "epsilon_lower_bound": "epsilon, lower bound",
    "canary_guess": "guess that a canary was trained on",
    "accountant_epsilon": "epsilon by the accountant, an upper bound",
    "attribute_inference": "private attributes picked among others",
    "attribute_extraction": "private attributes recited",
    "passes": "forward passes over the audited texts",
    "seconds": "seconds",
}


@dataclass(frozen=True)
class DisplayNames:
    """Names of one kind of thing, in reading order. `key` says which thing a row is about.

    `shared` holds, by display name, the settings that all things of that name share and that no name spells out.
    """

    key: Callable[[Row], Key]
    names: Mapping[Key, str]
    shared_settings: Mapping[str, str]

    def __call__(self, row: Row) -> str:
        """Return what the row's thing is called."""
        return self.names[self.key(row)]

    def split(self, rows: Iterable[Row]) -> dict[str, list[Row]]:
        """Return the rows under each name, in reading order; names without a row are left out."""
        kept: defaultdict[Key, list[Row]] = defaultdict(list)
        for row in rows:
            kept[self.key(row)].append(row)
        return {name: kept[key] for key, name in self.names.items() if key in kept}


def variants(rows: Sequence[Row]) -> DisplayNames:
    """Name what was trained: the method, with the settings of method and training that tell its cells apart."""
    return _display_names(
        rows, lambda r: (r.method, r.method_settings, r.training_settings), method_name, tuple(METHOD_STYLES)
    )


def series(rows: Sequence[Row]) -> DisplayNames:
    """Name what was trained and how it was measured: as `variants`, with the settings of attack and metric."""
    return _display_names(
        rows,
        lambda r: (r.method, r.method_settings, r.training_settings, r.attack_settings, r.metric_settings),
        method_name,
        tuple(METHOD_STYLES),
    )


def attacks(rows: Sequence[Row]) -> DisplayNames:
    """Name the attack, with the settings of attack and metric that tell its rows apart."""
    return _display_names(
        rows, lambda r: (r.attack, r.attack_settings, r.metric_settings), attack_name, tuple(ATTACK_LABELS)
    )


def datasets(rows: Sequence[Row]) -> DisplayNames:
    """Name the data set."""
    return _display_names(rows, lambda r: (r.dataset, r.dataset_settings), dataset_name, ())


def bases(rows: Sequence[Row]) -> DisplayNames:
    """Name the base model by the end of its address, the smallest first where full fine-tuning tells its size."""
    sizes = {r.base: r.value for r in rows if r.method == "full" and r.metric == "trained_parameters"}
    by_size = tuple(sorted(sizes, key=lambda base: (sizes[base], base)))
    return _display_names(rows, lambda r: (r.base,), base_name, by_size)


def panels(rows: Sequence[Row]) -> DisplayNames:
    """Name the data set, and the base model too where there are several: one panel of a figure each."""
    data, base = datasets(rows), bases(rows)
    present = {(r.dataset, r.dataset_settings, r.base) for r in rows}
    names = {
        (*d, *b): f"{data_name} · {base_name_}" if len(base.names) > 1 else data_name
        for d, data_name in data.names.items()
        for b, base_name_ in base.names.items()
        if (*d, *b) in present
    }
    return DisplayNames(lambda r: (r.dataset, r.dataset_settings, r.base), names, data.shared_settings)


def method_name(method: str) -> str:
    """Return a method's display name."""
    return METHOD_STYLES[method][0] if method in METHOD_STYLES else _underscores_to_spaces(method)


def attack_name(attack: str) -> str:
    """Return an attack's display name."""
    return ATTACK_LABELS.get(attack) or _underscores_to_spaces(attack)


def dataset_name(dataset: str) -> str:
    """Return a data set's display name."""
    return DATASET_LABELS.get(dataset) or _underscores_to_spaces(dataset)


def metric_name(metric: str) -> str:
    """Return a metric's display name."""
    return METRIC_LABELS.get(metric) or _underscores_to_spaces(metric)


def base_name(base: str) -> str:
    """Return the last part of a base model's address, without the ending of its file."""
    return re.split(r"[/\\]", base.rstrip("/\\"))[-1].removesuffix(".gguf") or base


def method_color(method: str) -> str:
    """Return the method's colour, the same in every figure; one that byheart does not know draws from the spares."""
    return (
        METHOD_STYLES[method][1]
        if method in METHOD_STYLES
        else FALLBACK_COLORS[zlib.crc32(method.encode()) % len(FALLBACK_COLORS)]
    )


def _display_names(
    rows: Iterable[Row], key: Callable[[Row], Key], display_name: Callable[[str], str], known_order: Key
) -> DisplayNames:
    def order(k: Key) -> tuple[int, list[tuple[int, str]]]:
        return (known_order.index(k[0]) if k[0] in known_order else len(known_order)), _natural_sort_key(" ".join(k))

    spelled = {k: split_settings(*k[1:]) for k in sorted({key(r) for r in rows}, key=order)}
    shared: dict[str, list[str]] = {}
    for (thing, *_), own in spelled.items():
        shared[thing] = [p for p in shared.get(thing, own) if p in own]
    short = {
        k: " ".join([display_name(k[0]), ", ".join(p for p in own if p not in shared[k[0]])]).strip()
        for k, own in spelled.items()
    }
    used = Counter(short.values())
    told = {k: name if used[name] == 1 else " | ".join(k) for k, name in short.items()}
    # A control character in a name would break a picture's XML, or steer a terminal.
    names = {k: "".join(c if c.isprintable() else " " for c in name) for k, name in told.items()}
    return DisplayNames(
        key, names, {display_name(thing): ", ".join(common) for thing, common in shared.items() if common}
    )


def _natural_sort_key(text: str) -> list[tuple[int, str]]:
    # rank=4 before rank=16, and a number before a word.
    return [(int(p), "") if p.isdecimal() else (2**63, p.lower()) for p in re.split(r"(\d+)", text) if p]


def _underscores_to_spaces(name: str) -> str:
    return name.replace("_", " ")


def attack_label(row: Row) -> str:
    """Return a row's attack with its changed settings, as the look's scores name it."""
    return f"{row.attack}({row.attack_settings})" if row.attack_settings else row.attack
