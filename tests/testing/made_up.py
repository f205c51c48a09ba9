"""Rows and scores of a study; every number follows from its labels, so that tests can compute expected values."""

import functools
import itertools
import zlib
from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from byheart.analysis.paper_values import PublishedValue
from byheart.core.split import PlantedCanaries
from byheart.core.split_check import Finding, Gate
from byheart.core.types import Row, ScoreSet, TextLosses, Texts

WHO = (
    "The old sailor wrote",
    "A young doctor sang",
    "My tall painter ran",
    "One quiet pilot fell",
    "Her proud nurse slept",
)
WHERE = (
    "to the queen",
    "for a baker",
    "near Lisbon",
    "with the judge",
    "at the sea",
    "by Minsk",
    "over Oslo",
    "under Cairo",
)
"""Halves of sentences: each of the one with each of the other is a text."""
ARCHITECTURES = ("gpt2", "llama", "gemma", "mixtral")
"""Of tiny models, which `testing.tiny_models` makes."""
SENTENCES = [
    f"The {a} {b} wrote {n} letters to the {c} in {p}."
    for n, (a, b, c, p) in enumerate(
        [
            ("old", "sailor", "queen", "Lisbon"),
            ("young", "doctor", "baker", "Oslo"),
            ("tall", "painter", "judge", "Cairo"),
            ("quiet", "teacher", "pilot", "Lima"),
            ("proud", "farmer", "nurse", "Quito"),
            ("blind", "singer", "clerk", "Minsk"),
        ]
        * 4
    )
]
"""What tiny tokenizers are trained on."""
METHODS = {"full": 0.9, "head": 0.6, "lora": 0.5, "prefix": 0.06, "prompt": 0.04, "p_tuning": 0.05}
ATTACKS = ("loss", "reference", "zlib_ratio", "min_k", "min_k_plus_plus")
FACTS = {
    "trained_parameters": 1_234_567,
    "train_texts": 5000,
    "member_texts": 200,
    "nonmember_texts": 200,
    "validation_texts": 100,
    "truncated_texts": 12,
    "max_tokens": 128,
    "exact_duplicates_removed": 33,
    "near_duplicates_removed": 7,
    "learning_rate": 0.0002,
}


def study(
    *,
    datasets=("webnlg", "wikitext"),
    bases=("hub/gpt2",),
    methods=METHODS,
    settings=("",),
    seeds=(0,),
    epochs=(0, 1, 2, 3),
):
    """The rows of a study of five attacks by two metrics."""
    rows = []
    for place in itertools.product(bases, datasets, methods, settings, seeds):
        base, dataset, method, setting, seed = place
        cell = "/".join(map(str, place))
        blank = Row(
            base=base, dataset=dataset, dataset_settings="", method=method, method_settings=setting,
            training_settings="", seed=seed, epoch=None, attack="", attack_settings="", metric="", metric_settings="",
            value=0.0, low=None, high=None, members=None, nonmembers=None, cell=cell, scores="",
        )  # fmt: skip
        for epoch in epochs:
            for nth, attack in enumerate(ATTACKS):
                auc = round(0.5 + METHODS.get(method, 0.3) * epoch / 8 - 0.004 * nth + (0.01 * seed if epoch else 0), 4)
                known = {
                    "epoch": epoch,
                    "attack": attack,
                    "members": 200,
                    "nonmembers": 200,
                    "scores": f"{cell}/{epoch}/{attack}",
                }
                rows.append(
                    replace(
                        blank, metric="auc", value=auc, low=round(auc - 0.03, 4), high=round(auc + 0.03, 4), **known
                    )
                )
                rows.append(replace(blank, metric="tpr_at_fpr", value=auc / 10, low=0.001, high=auc / 5, **known))
                cost = {"passes": float(nth + 1), "seconds": 10.0 * (nth + 1) + epoch}
                rows += [replace(blank, metric=m, value=v, epoch=epoch, attack=attack) for m, v in cost.items()]
            rows.append(
                replace(
                    blank, epoch=epoch, metric="perplexity", value=20.0 - epoch, low=19.0 - epoch, high=21.0 - epoch
                )
            )
        rows += [replace(blank, metric=metric, value=float(value)) for metric, value in FACTS.items()]
    return rows


def recited(row, *, epoch):
    """The rows of extraction attacks at an epoch of a cell, from any row of the cell."""
    of = {"epoch": epoch, "metric": "extraction_rate", "members": 200, "nonmembers": 200}
    return [
        replace(row, **of, attack=attack, value=epoch / 10, low=0.0, high=0.5, scores=f"{row.cell}/{epoch}/{attack}")
        for attack in ("discoverable", "probabilistic")
    ]


def attributed(rows):
    """Rows of private attributes of two kinds, at every epoch of the cells of these rows."""
    found = []
    for r in (r for r in rows if r.metric == "perplexity"):
        shares = {"members": 0.1 + METHODS.get(r.method, 0.3) * r.epoch / 8 + 0.01 * r.seed, "nonmembers": 0.1}
        for kind in ("all", "email", "phone"):
            for metric, pool, measure in (
                ("attribute_inference", "pool=unseen, ", "top1"),
                ("attribute_inference", "pool=trained, ", "top1"),
                ("attribute_extraction", "", "recited"),
            ):
                reported = {f"measure={measure}, of={of}": value for of, value in shares.items()}
                reported["measure=majority, of=members"] = 0.1
                for over in ("nonmembers", "untuned", "majority"):
                    reported[f"measure=advantage, over={over}"] = shares["members"] - 0.1
                found += [
                    replace(
                        r,
                        metric=metric,
                        metric_settings=f"kind={kind}, {pool}{n}",
                        value=v,
                        low=v - 0.05,
                        high=v + 0.05,
                        members=50,
                    )
                    for n, v in reported.items()
                ]
    return found


def scored(rows, *, count=200, groups=1):
    """Look up scores whose AUC is the row's value to about 1e-4: two normal distributions, in a different order for each key.

    A group has this number of texts of one class. Extraction attacks extract every tenth member in each epoch.
    """
    values = {r.scores: r.value for r in rows if r.metric == "auc"}
    rates = {r.scores: r.value for r in rows if r.metric == "extraction_rate"}
    grid = ndtri((np.arange(count) + 0.5) / count)
    members = np.arange(2 * count) < count

    @functools.cache
    def look_up(key):
        if key in rates:
            likeness = np.concatenate([(np.arange(count) + 1) / count, np.zeros(count)])
            ids, tokens = tuple(map(str, range(2 * count))), np.full(2 * count, 30)
            return ScoreSet(ids, likeness * rates[key], members, ids, likeness <= rates[key] * members, tokens)
        apart = np.sqrt(2) * ndtri(min(values[key], 1 - 1e-6))
        chance = np.random.default_rng(zlib.crc32(key.encode()))
        stored = np.concatenate([chance.permutation(grid) + apart, chance.permutation(grid)])
        names = tuple(f"{'m' if m else 'n'}{i % count // groups}" for i, m in enumerate(members))
        return ScoreSet(tuple(map(str, range(2 * count))), stored, members, names)

    return look_up


def judged(verdict="sound", why=""):
    """Gates of the data of `study`, all with one verdict, and a blind classifier of AUC 0.52."""
    found = (
        Finding("data", verdict, "made up", why, 0.0),
        Finding("blind: words", "sound", "made up", "", 0.48, 0.42, 0.54, 1.0),
        Finding("blind: surface", "sound", "made up", "", 0.52, 0.46, 0.58, 1.0),
    )
    return {(data, ""): Gate(200, 200, found) for data in ("webnlg", "wikitext", "xsum")}


def read_by(row, *, count=60):
    """Losses of validation texts whose perplexity is the row's value; texts differ in difficulty, the same for all rows."""
    tokens = 20 + np.arange(count) % 7
    hard = ndtri((np.arange(count) + 0.5) / count) * 0.3
    nats = tokens * (np.log(row.value) + hard - (hard * tokens).sum() / tokens.sum())
    return TextLosses(nats, tokens)


def printed(rows):
    """Published values for the rows' AUCs at their last epoch, each a little different."""
    last = max((r.epoch or 0 for r in rows), default=0)
    ours = [
        r
        for r in rows
        if (r.metric, r.attack, r.epoch) == ("auc", "loss", last) and r.dataset in ("webnlg", "wikitext")
    ]
    ours = sorted((r for r in ours if r.method in METHODS), key=lambda r: r.value)
    reported = {(r.dataset, r.method): min(1.0, r.value + 0.01) for r in ours}
    return tuple(
        PublishedValue(dataset=d, method=m, attack="loss", metric="auc", value=v, source="A, 2025, arXiv 2507.00258")
        for (d, m), v in sorted(reported.items())
    )


def everything(rows):
    """Inputs of tables and figures by name."""
    return {"rows": rows, "scores": scored(rows), "gates": judged(), "losses": read_by, "papers": printed(rows)}


def canary_rows(rows):
    """Exposures, bounds and guesses for each perplexity row of a study."""
    for row in (r for r in rows if r.metric == "perplexity"):
        for often in (1, 4, 16):
            value = 1.4 + often * (row.epoch or 0) / 10 + row.seed / 7
            settings = "" if often == 1 else f"repeated={often}"
            yield replace(row, metric="exposure", metric_settings=settings, value=value, members=5, nonmembers=None)
        out = {"metric_settings": "estimate=extrapolation", "members": None, "nonmembers": 9}
        yield replace(row, metric="held_out_exposure", value=1.4, **out)
        bound = {"value": 0.1 * (row.epoch or 0), "members": 11, "nonmembers": 9}
        yield replace(row, metric="epsilon_lower_bound", metric_settings="guesses=12, delta=0.001", **bound)
        coin = {"value": float(row.seed % 2), "members": row.seed % 2, "nonmembers": 1 - row.seed % 2}
        yield replace(row, metric="canary_guess", metric_settings="", **coin)


def drift_rows(rows):
    """Drift by layer, and of the next token, and bits per parameter, for each perplexity row of a study."""
    for row in (r for r in rows if r.metric == "perplexity"):
        bits = {"metric": "capacity", "low": -1e-6, "high": 1e-3}
        for saving, value in (("total", 4e-4), ("beyond", 1e-4)):
            yield replace(row, metric_settings=f"saving={saving}", value=value * (row.epoch or 0), **bits)
        for of, layer in itertools.product(("members", "nonmembers", "validation"), range(4)):
            value = (row.epoch or 0) * (1 + layer) / 20 + row.seed / 50
            number = {"metric": "drift", "value": value, "low": 0.9 * value, "high": 1.1 * value}
            yield replace(row, metric_settings=f"layer={layer}, of={of}", **number)
            if layer:
                yield replace(row, metric_settings=f"measure=attention, layer={layer}, of={of}", **number)
            else:
                yield replace(row, metric_settings=f"measure=next_token, of={of}", **number)


def fit_rows(rows):
    """The perplexity of the training texts for each perplexity row of a study."""
    for row in (r for r in rows if r.metric == "perplexity"):
        yield replace(row, metric="train_perplexity", value=row.value - (row.epoch or 0), low=None, high=None)


def verbatim_rows(rows):
    """Exact memorization and extraction strength of both classes for each perplexity row of a study."""
    for row in (r for r in rows if r.metric == "perplexity"):
        for metric, shift in (("exact_memorization", 0.3), ("extraction_strength", 0.01)):
            members, nonmembers = shift + (row.epoch or 0) / 10, shift + (row.epoch or 0) / 50
            values = {"of=members": members, "of=nonmembers": nonmembers, "over=nonmembers": members - nonmembers}
            for settings, value in values.items():
                ends = {"value": value, "low": value - 0.01, "high": value + 0.01}
                yield replace(row, metric=metric, metric_settings=settings, **ends)


def numbered(name, number):
    return Texts(tuple(f"{name}/{i}" for i in range(number)), tuple(f"{name} {i}" for i in range(number)))


def planted(included, repetitions, kinds, *, references=(("digits", 30),), coin=0.5, bits=None, by_seed=False):
    """Canaries by their labels, with this number of references of each kind."""
    kinds_of = tuple(kind for kind, number in references for _ in range(number))
    return PlantedCanaries(
        texts=numbered("canary", len(included)),
        included=tuple(included),
        repetitions=tuple(repetitions),
        kinds=tuple(kinds),
        coin=coin,
        references=numbered("reference", len(kinds_of)),
        reference_kinds=kinds_of,
        bits=bits or dict.fromkeys(dict.fromkeys(kinds_of), 29.9),
        by_seed=by_seed,
    )


def tiny_study(folder, **changes):
    """The file of a study of one method on a tiny model, with these changes."""
    return {
        "name": "tiny",
        "models": str(folder),
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
        "methods": ["head"],
        "training": {"epochs": 2, "batch_size": 4},
        "attacks": ["loss"],
        "metrics": ["auc", "perplexity"],
        **changes,
    }
