"""Numbers and names in tables of pages equal those of results and shelves."""

import re
from types import SimpleNamespace

import numpy as np

from byheart.auditing.fail_bounds import Bound, crossed_bounds
from byheart.auditing.verdict import ruling
from byheart.cli.progress import outcome_line
from byheart.core import registry
from byheart.core.dependencies import INITIAL_INPUTS, is_by_epoch, required_observations
from byheart.core.split_check import Finding, Gate
from byheart.core.types import Row
from byheart.stats.leakage_tests import RecordLabels
from byheart.study.run_cells import CellOutcome
from byheart.study.study_file import read_study
from testing.doc_pages import DOCS, ROOT, blocks, load_page_script, table

CHOOSE_PAGE = load_page_script("choose_page")
METHODS, results = CHOOSE_PAGE.METHODS, CHOOSE_PAGE.results


def of(rows, metric, **reported):
    (row,) = (r for r in rows if r["metric"] == metric and all(r[k] == str(v) for k, v in reported.items()))
    return row


def short(value):
    """An AUC as the text prints it: ".97", "1.00"."""
    return f"{float(value):.2f}".replace("0.", ".", 1) if abs(float(value)) < 1 else f"{float(value):.2f}"


CHOOSE, THREATS = DOCS / "choose.md", DOCS / "threat_models.md"
DATA = {
    "WebNLG": "replication_webnlg",
    "WikiText-2": "replication_wikitext",
    "DialogSum": "replication_dialogsum",
}


def mean(study, metric, method, epoch, attack="", **reported):
    """A metric's mean over the training seeds of a packed study."""
    wanted = {"metric": metric, "method": method, "epoch": epoch, "attack": attack, "initialized": False, **reported}
    found = {
        r.seed: r.value for r in CHOOSE_PAGE.packed(study).rows if all(getattr(r, k) == v for k, v in wanted.items())
    }
    assert len(found) == (3 if study in DATA.values() else 1)
    return sum(found.values()) / len(found)


def test_leakage_of_methods_equals_the_rows():
    *found, of_base = table(CHOOSE, "results: methods")
    assert [row[0] for row in found] == list(METHODS)
    for name, parameters, *cells in found:
        method = METHODS[name]
        assert parameters == f"{mean('thousand_texts', 'trained_parameters', method, None):,.0f}"
        wanted = []
        for study in ("thousand_texts", "replication_wikitext"):
            attacks = ("loss", "reference", "error_zone")
            wanted += [short(mean(study, "auc", method, 3, attack)) for attack in attacks]
            wanted.append(f"{mean(study, 'perplexity', method, 3):.2f}")
        assert cells == wanted
    assert of_base[5] == f"{mean('thousand_texts', 'perplexity', 'full', 0):.2f}"


def test_the_numbers_under_the_first_figure_equal_the_rows():
    caption = " ".join(
        re.search(r"^\*SmolLM2.*?\*$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)[0].split()
    )
    rows = [r for r in CHOOSE_PAGE.packed("thousand_texts").rows if r.attack and r.epoch == 3]
    aucs = {(r.attack, r.method): r.value for r in rows if r.metric == "auc"}
    full, lora, prefix = (short(aucs["reference", m]) for m in ("full", "lora", "prefix"))
    early = short(mean("thousand_texts", "auc", "lora", 1, "reference"))
    assert f"leak (AUC {full} and {lora})" in caption
    assert f"similar AUCs ({early} and {prefix})" in caption
    assert f"no attack exceeds {short(max(v for (_, m), v in aucs.items() if m in {'prompt', 'p_tuning'}))}." in caption
    assert "each attack identifies a tenth of the members or less" in caption
    assert max(r.value for r in rows if r.metric == "tpr_at_fpr" and not r.metric_settings) < 0.105


def test_leakage_at_equal_perplexity_equals_the_table():
    found = table(CHOOSE, "results: equal")
    assert len(found) == 6
    for reported, *cells in found:
        data, perplexity = reported.split(", ")
        lines = (DOCS / "results" / DATA[data] / "matched_utility.md").read_text().splitlines()
        (line,) = (c for x in lines if (c := [y.strip() for y in x.split("|")])[2:4] == [perplexity, "Reference"])
        for cell, exported in zip(cells, line[-7:-1], strict=True):
            numbers = [float(n) for n in re.findall(r"\d\.\d+", exported)]
            assert cell == ("{} [{}, {}]".format(*map(short, numbers)) if numbers else exported)


def test_effects_of_epochs_equal_the_rows():
    found = table(CHOOSE, "results: epochs")
    assert len(found) == 6
    for data, name, *cells in found:
        for epoch, cell in zip((0.5, 1, 2, 3), cells, strict=True):
            at = METHODS[name], epoch
            auc = short(mean(DATA[data], "auc", *at, "reference"))
            assert cell == f"{mean(DATA[data], 'perplexity', *at):.2f}, {auc}"


def test_the_four_risks_equal_the_rows():
    found = {row[0].split(":")[0].split(",")[0]: row[1:] for row in table(CHOOSE, "results: risks")}
    advantage = "kind=all, pool=trained, measure=advantage, over=nonmembers"
    for place, method in enumerate(METHODS.values()):
        cells = {risk: row[place] for risk, row in found.items()}

        def both(metric, form, method=method, **reported):
            return ", ".join(form(mean("risks", metric, method, 3, seed=seed, **reported)) for seed in (0, 1))

        def two_decimals(value):
            return f"{value:.2f}"

        assert cells == {
            "membership": both("auc", short, attack="loss"),
            "extraction": both("extraction_rate", short, attack="probabilistic"),
            "private attributes": both("attribute_inference", short, metric_settings=advantage),
            "canaries trained on sixteen times": both("exposure", two_decimals, metric_settings="repeated=16"),
            "validation perplexity": both("perplexity", two_decimals),
        }


def test_both_candidate_pools_equal_the_rows():
    rows = [r for r in results("pools") if r["epoch"] == "3"]
    numbers = (
        "top1, of=members",
        "top1, of=nonmembers",
        *(f"advantage, over={o}" for o in ("nonmembers", "untuned", "majority")),
    )
    found = table(DOCS / "results" / "earlier.md", "results: pools")
    assert len(found) == 12
    for reported, *cells in found:
        kind, pool = re.fullmatch(r"(\w+), among (\w+) values", reported).groups()
        named = (f"kind={kind}, pool={pool}, measure={n}" for n in numbers)
        wanted = [of(rows, "attribute_inference", metric_settings=n) for n in named]
        assert cells == [f"{short(r['value'])} [{short(r['low'])}, {short(r['high'])}]" for r in wanted]


def test_gains_from_access_equal_the_rows():
    rows = results("attacks")
    attacks = {"SaMIA": "samia", "LOSS": "loss", "Reference": "reference", "LiRA": "lira"}
    for reported, *cells in table(THREATS, "results: access"):
        attack = attacks[re.search(r"\((\w+)\)", reported)[1]]
        for dataset, cell in zip(("records", "wikipedia"), cells, strict=True):
            row = of(rows, "auc", attack=attack, dataset=dataset, method="lora", epoch=2)
            assert cell == f"{short(row['value'])} [{short(row['low'])}, {short(row['high'])}]"


def test_the_line_of_a_finished_cell_equals_the_printed_one():
    kinds = {"seed": int, "epoch": int, "value": float, "low": float, "high": float, "members": int, "nonmembers": int}
    own = [r for r in results("six_methods") if r["method"] == "lora"]
    rows = tuple(Row(**{k: (kinds[k](v) if v else None) if k in kinds else v for k, v in r.items()}) for r in own)
    cells = read_study(ROOT / "studies" / "six_methods.yaml", [f"models={rows[0].base}"]).cells
    (label,) = (c.label for c in cells if c.method.name == "lora")
    (reported,) = blocks(DOCS / "start.md", "text")
    assert reported.text.strip() == outcome_line(CellOutcome(label, "", rows))


def test_the_table_of_access_equals_the_attacks_parameters():
    reported = {row[:-1]: set(re.findall(r"`(\w+)`", row[-1])) for row in table(THREATS, "signatures")}
    requested = {}
    for attack in registry.entry_names("attacks"):
        requested.setdefault(access(attack), set()).add(attack)
    assert reported == requested


OTHER_MODELS = ("reference_model", "reference_trainer", "shadow_passes")


def access(attack):
    """What an attack reads from the model and what its adversary has, as in the table of the page."""
    function = registry.load_function("attacks", attack)
    needs = registry.needs(function)
    kinds = {function.__annotations__[n] for n in needs}
    has_path = any(map(is_by_epoch, needs))
    if {"alignment", "gradients", "initial_alignment"} & set(needs):
        reads = "weights"
    elif {"continuations", "greedy_continuation", "synthetic_texts"} & set(needs):
        reads = "text"
    elif "TokenStats" in kinds or {"contrastive_samples", "sampling_logprobs"} & set(needs):
        reads = "all tokens"
    else:
        reads = "own tokens"
    behind = required_observations(needs, attack)
    inputs = {n for o in behind for n in o.needs}
    # Token frequencies use only the tokenizer of the base.
    based = {n for o in behind if o.name != "frequencies" for n in o.needs}
    owned = (
        has_path or bool({"base_model", *OTHER_MODELS, *INITIAL_INPUTS} & based),
        "known_nonmember_tokens" in inputs,
        "reference_trainer" in inputs,
        "known_member_tokens" in inputs,
        has_path,
        "shadow_passes" in inputs,
    )
    return (reads, *("yes" if own else "" for own in owned))


def test_tables_group_attacks_as_the_table_of_access_does():
    from byheart.core.adversary import default_adversary_label

    words = {"text": "generated text", "own tokens": "log-probabilities", "all tokens": "next-token distributions"}
    for attack in registry.entry_names("attacks"):
        reads, base, nonmembers, settings, members, path, shadows = access(attack)
        owned = {
            words.get(reads, ""): reads in words,
            "similar texts": nonmembers,
            "base model": base and not shadows,
            "training settings": settings,
            "known members": members,
            "weights": reads == "weights",
            "model after every epoch": path,
            "shadow models": shadows,
            "other training texts": shadows,
        }
        assert default_adversary_label(attack) == " + ".join(name for name, has in owned.items() if has)


def test_counts_of_attacks_in_words_equal_the_shelf():
    from byheart.core.attack_output import is_extraction_attack

    judging = [n for n in registry.entry_names("attacks") if not is_extraction_attack(registry.choose("attacks", n))]
    (reported,) = re.findall(r"\| (\d+) attacks,", (DOCS / "index.md").read_text())
    assert int(reported) == len(judging)


def test_the_audit_tutorial_quotes_what_an_audit_prints():
    """Sentences of every verdict that has non-members, and of both kinds of bounds; their numbers are examples."""

    def row(metric, value, low, high):
        texts = (
            "base",
            "dataset",
            "dataset_settings",
            "method",
            "method_settings",
            "training_settings",
            "cell",
            "scores",
        )
        named = {**dict.fromkeys(texts, ""), "attack": "loss", "attack_settings": "", "metric_settings": ""}
        return Row(**named, seed=0, epoch=1, metric=metric, value=value, low=low, high=high, members=60, nonmembers=60)

    rng = np.random.default_rng(0)
    membership = np.arange(120) < 60
    noise, apart = rng.normal(size=120), rng.normal(size=120) + 2 * membership
    rows = [row("auc", 0.84, 0.76, 0.89), row("tpr_at_fpr", 0.23, 0.18, 0.29)]
    all_labels = RecordLabels(membership, tuple(map(str, range(120))))
    few = RecordLabels(membership[50:70], tuple(map(str, range(20))))
    broken = Gate(60, 60, (Finding("words", "broken", "", "...", 0.0),))
    sentences = [
        ruling({"loss": apart}, {"loss": noise}, rows, all_labels, None).sentence,
        ruling({"loss": apart}, {"loss": apart}, rows, all_labels, None).sentence,
        ruling({"loss": noise}, {"loss": noise}, rows, all_labels, None).sentence,
        ruling({"loss": -apart}, {"loss": noise}, rows, all_labels, None).sentence,
        ruling({"loss": apart}, {"loss": noise}, rows, all_labels, broken).sentence,
        ruling({"loss": noise[50:70]}, {}, rows, few, None).sentence,
    ]
    measured = [rows[0], row("auc", 0.64, 0.54, 0.73)]
    audit = SimpleNamespace(rows=measured, ruling=SimpleNamespace(word="leaks"))
    (exceeded,), (undecided,) = crossed_bounds(audit, [Bound("auc", 0.6)])
    sentences += [f"byheart: bound exceeded: {exceeded}", f"note: {undecided}"]

    def without_numbers(text):
        return re.sub(r"\d+(\.\d+)?", "N", text)

    page = (DOCS / "tutorials" / "audit.md").read_text()
    quoted = {without_numbers(quote) for quote in re.findall(r"`([^`\n]+)`", page)}
    assert {without_numbers(s) for s in sentences} <= quoted
