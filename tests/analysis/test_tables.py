"""Tables show the numbers of the rows under unique names."""

from dataclasses import replace

import numpy as np
import pytest

from byheart.analysis import labels, row_values
from byheart.core import registry
from byheart.core.errors import DataError
from byheart.tables.cells import cells
from byheart.tables.costs import costs
from byheart.tables.data_splits import data_splits
from byheart.tables.lora_placement import lora_placement
from byheart.tables.methods import methods
from byheart.tables.models import models
from testing.made_up import (
    ATTACKS,
    METHODS,
    attributed,
    canary_rows,
    drift_rows,
    everything,
    recited,
    scored,
    study,
    verbatim_rows,
)


def methods_of(rows, **settings):
    return methods(rows, scored(rows), **settings)


def called(name, rows):
    entry = registry.load_function("tables", name)
    return entry(*(everything(rows)[n] for n in registry.needs(entry)))


def found(table, *leading):
    """The one line that starts with these labels, whatever the adversary, by column."""
    columns = [i for i, title in enumerate(table.header) if title != "adversary has"]
    lines = [row for row in table.rows if tuple(row[i] for i in columns)[: len(leading)] == leading]
    assert len(lines) == 1, (leading, table.rows)
    return dict(zip(table.header, lines[0], strict=True))


def of(rows, **labeled):
    stored = [r for r in rows if all(getattr(r, name) == value for name, value in labeled.items())]
    assert len(stored) == 1, labeled
    return stored[0]


def spelled(row):
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"


def private(cell, row, *, epochs=(0, 1, 2, 3)):
    """The additional rows of a private cell."""
    facts = {"noise_multiplier": 0.54, "delta": 0.0142}
    return [
        *(replace(row, metric=m, value=v, epoch=None, cell=cell, attack="", scores="") for m, v in facts.items()),
        *(
            replace(row, metric="accountant_epsilon", value=2.0 * e, epoch=e, cell=cell, attack="", scores="")
            for e in epochs
        ),
    ]


# --- the table of methods


def test_methods_shows_every_attack_of_every_method_at_the_last_epoch():
    rows = study()
    table = methods_of(rows)
    methods = ("full", "head", "LoRA", "prefix", "prompt", "P-tuning")
    assert table.header == ("data", "adversary has", "attack", "base model", *methods)
    assert len(table.rows) == 2 * (len(ATTACKS) + 1)
    line = found(table, "WebNLG", "Min-K%++")
    expected = of(rows, dataset="webnlg", method="lora", epoch=3, attack="min_k_plus_plus", metric="auc")
    assert line["LoRA"] == spelled(expected)
    before = of(rows, dataset="webnlg", method="full", epoch=0, attack="min_k_plus_plus", metric="auc")
    assert line["base model"] == spelled(before)


def with_attack(rows, attack, adversary=""):
    """The rows with another attack's, which are copies of those of loss."""
    return [*rows, *(replace(r, attack=attack, adversary=adversary) for r in rows if r.attack == "loss")]


def test_attacks_are_grouped_by_what_their_adversary_has():
    rows = with_attack(with_attack(study(datasets=("webnlg",)), "lira"), "samia")
    table = methods_of(rows)
    assert [(row[1], row[2]) for row in table.rows] == [
        ("generated text", "SaMIA"),
        ("log-probabilities", "Loss"),
        ("log-probabilities", "Zlib"),
        ("log-probabilities", "Min-K%"),
        ("next-token distributions", "Min-K%++"),
        ("log-probabilities + base model", "Reference"),
        ("log-probabilities + shadow models + other training texts", "LiRA"),
        (row_values.MISSING, "validation perplexity"),
    ]
    assert table.note.endswith("Attacks are grouped by what their adversary has; compare them within a group.")
    assert [row[1:3] for row in costs(rows).rows] == [row[1:3] for row in table.rows[:-1]]
    gains = called("gains", rows)
    assert gains.header[2] == "adversary has"
    assert {row[2:4] for row in gains.rows} == {row[1:3] for row in table.rows[:-1]}


def test_one_adversary_is_named_below_the_table():
    table = methods_of([r for r in study() if r.attack in {"", "loss", "min_k"}])
    assert "adversary has" not in table.header
    assert table.note.endswith(" The adversary has log-probabilities.")


def test_one_attack_of_two_adversaries_has_two_names():
    strong, weak = (f"log-probabilities + shadow models{more}" for more in (" + other training texts", ""))
    rows = with_attack([r for r in study(datasets=("webnlg",)) if r.attack in {"", "loss"}], "lira", strong)
    both = [*rows, *(replace(r, adversary=weak, value=r.value / 2) for r in rows if r.attack == "lira")]
    table = methods_of(both)
    assert [row[1:3] for row in table.rows[1:3]] == [(weak, f"LiRA {weak}"), (strong, f"LiRA {strong}")]
    lira = of(rows, method="full", epoch=3, attack="lira", metric="auc")
    assert found(table, "WebNLG", f"LiRA {strong}")["full"] == spelled(lira)


def test_methods_ends_each_data_set_with_its_perplexity():
    table = methods_of(study())
    assert table.rows[len(ATTACKS)][2] == "validation perplexity"
    line = found(table, "WikiText", "validation perplexity")
    assert (line["base model"], line["full"]) == ("20.00 [19.00, 21.00]", "17.00 [16.00, 18.00]")


def test_methods_at_an_epoch_and_by_another_metric():
    rows = study()
    table = methods_of(rows, epoch=1, metric="tpr_at_fpr")
    expected = of(rows, dataset="webnlg", method="full", epoch=1, attack="loss", metric="tpr_at_fpr")
    assert found(table, "WebNLG", "Loss")["full"] == spelled(expected)
    assert "after epoch 1" in table.note
    assert "fpr=0.01" in table.note, "a rate at an unnamed false-positive rate says nothing"


def test_an_epoch_that_was_never_reached_is_refused():
    with pytest.raises(DataError, match=r"epoch 9.* 3\."):
        methods_of(study(), epoch=9)


def test_several_seeds_give_their_mean_with_an_interval_for_texts_and_seeds():
    rows = study(seeds=(0, 1, 2))
    table = methods_of(rows)
    seeds = [
        r for r in rows if (r.method, r.epoch, r.attack, r.metric, r.dataset) == ("full", 3, "loss", "auc", "webnlg")
    ]
    assert len(seeds) == 3
    mean = sum(r.value for r in seeds) / 3
    of_seeds = 4.302653 * np.std([r.value for r in seeds], ddof=1) / np.sqrt(3)  # Student's t, two degrees of freedom
    low, high = mean - np.hypot(0.03, of_seeds), min(1, mean + np.hypot(0.03, of_seeds))
    assert found(table, "WebNLG", "Loss")["full"] == f"{mean:.3f} [{low:.3f}, {high:.3f}]"
    assert "95 % interval for other texts and other training seeds" in table.note
    # The base model is the same for every seed: it has its own interval, and the note states this.
    assert found(table, "WebNLG", "Loss")["base model"] == "0.500 [0.470, 0.530]"
    assert "(base model: 95 % interval)" in table.note


def test_a_seed_that_stopped_early_is_never_left_out_silently():
    rows = [r for r in study(seeds=(0, 1)) if not (r.seed == 1 and (r.epoch or 0) > 2)]
    table = methods_of(rows)
    ends = [
        of(rows, dataset="webnlg", method="full", epoch=2, attack="loss", metric="auc", seed=s).value for s in (0, 1)
    ]
    assert found(table, "WebNLG", "Loss")["full"].startswith(f"{sum(ends) / 2:.3f} [")
    assert "after epoch 2" in table.note


def test_settings_of_one_method_are_columns_of_their_own_in_numerical_order():
    rows = study(methods=("lora",), settings=("rank=16", "rank=4", "")) + study(methods=("full",))
    assert methods_of(rows).header[4:] == ("full", "LoRA", "LoRA rank=4", "LoRA rank=16")


def test_a_setting_that_no_column_spells_out_is_in_the_note():
    rows = [
        replace(r, training_settings="epochs=3", method_settings="rank=4" if r.method == "lora" else "")
        for r in study()
    ]
    rows = [replace(r, attack_settings="k=0.1") if r.attack == "min_k" else r for r in rows]
    note = methods_of(rows).note
    assert "every method epochs=3" in note
    assert "LoRA rank=4" in note
    assert "Min-K% k=0.1" in note


def test_one_attack_with_two_settings_is_two_lines():
    rows = study()
    rows += [replace(r, attack_settings="k=0.1", value=0.9) for r in rows if r.attack == "min_k"]
    names = [row[2] for row in methods_of(rows).rows if row[0] == "WebNLG"]
    assert names[2:4] == ["Min-K%", "Min-K% k=0.1"]


def test_several_bases_have_a_column_and_are_named_by_the_end_of_their_address():
    table = methods_of(study(bases=("package:llm/SmolLM2-135M.Q4_1.gguf", "openai-community/gpt2")))
    assert table.header[:3] == ("data", "model", "adversary has")
    assert {row[1] for row in table.rows} == {"SmolLM2-135M.Q4_1", "gpt2"}


def test_a_missing_measurement_is_a_dash():
    rows = [r for r in study() if not (r.method == "head" and r.attack == "loss")]
    assert found(methods_of(rows), "WebNLG", "Loss")["head"] == row_values.MISSING


# --- the other tables


def test_models_are_ordered_by_size_if_full_tuning_reports_it():
    rows = study(bases=("hub/b", "hub/a"))
    rows = [replace(r, value=9.0) if (r.metric, r.base) == ("trained_parameters", "hub/b") else r for r in rows]
    table = models(rows)
    assert [row[:2] for row in table.rows] == [("WebNLG", "b"), ("WebNLG", "a"), ("WikiText", "b"), ("WikiText", "a")]
    expected = of(rows, base="hub/a", dataset="wikitext", method="prefix", epoch=3, attack="loss", metric="auc")
    assert found(table, "WikiText", "a")["prefix"] == spelled(expected)


def test_models_requires_two_bases_and_a_measured_attack():
    with pytest.raises(DataError, match="table models"):
        models(study())
    with pytest.raises(DataError, match=r"attack 'ghost'.*loss auc"):
        models(study(bases=("a", "b")), attack="ghost")


def test_lora_placement_names_the_default_placement_too():
    rows = study(methods=("lora",), settings=("", "targets=attention", "rank=4, targets=projection"))
    table = lora_placement(rows)
    default = registry.default_settings(registry.load_function("methods", "lora"))["targets"]
    assert [row[1] for row in table.rows if row[0] == "WebNLG"] == [
        "base model",
        *sorted([default, "attention", "projection"]),
    ]
    assert table.header[2:] == ("Loss", "Zlib", "Min-K%", "Min-K%++", "Reference")
    assert "projection rank=4" in table.note, "another setting that differs between placements must be said"
    expected = of(rows, dataset="webnlg", method_settings="targets=attention", epoch=3, attack="min_k", metric="auc")
    assert found(table, "WebNLG", "attention")["Min-K%"] == spelled(expected)


def test_lora_placement_needs_two_placements():
    with pytest.raises(DataError, match="two values of `targets`"):
        lora_placement(study(settings=("", "rank=4")))


def test_data_splits_counts_each_part_once_and_shows_a_range_where_cells_differ():
    rows = study(bases=("a", "b"))
    rows = [replace(r, value=40.0) if (r.metric, r.base) == ("truncated_texts", "b") else r for r in rows]
    line = found(data_splits(rows), "WebNLG")
    assert (line["fine-tuning"], line["members"], line["near duplicates removed"]) == ("5,000", "200", "7")
    assert line["truncated"] == "12 to 40"
    assert "range" in data_splits(rows).note
    assert "range" not in data_splits(study()).note


def test_cells_gives_every_seed_its_own_line():
    rows = study(datasets=("xsum",), seeds=(0, 1))
    table = cells(rows)
    assert len(table.rows) == 2 * len(METHODS)
    line = dict(zip(table.header, next(r for r in table.rows if r[1] == "LoRA" and r[3] == "1"), strict=True))
    expected = of(rows, method="lora", seed=1, epoch=3, attack="reference", metric="auc")
    assert line["Reference AUC"] == spelled(expected)
    assert (line["trained parameters"], line["learning rate"]) == ("1,234,567", "0.0002")
    assert line["perplexity"] == "20.00 → 17.00"


@pytest.mark.parametrize("name", registry.entry_names("tables"))
def test_a_table_without_rows_is_refused(name):
    with pytest.raises(DataError):
        called(name, [])


def test_capacity_multiplies_bits_by_parameters():
    rows = study(datasets=("xsum",), methods=("lora",))
    made = called("capacity", [*rows, *drift_rows(rows)])
    assert made.rows == ((*made.rows[0][:-4], "1,234,567", "1,481 [-1.23, 1,235]", "1.20e-03 [-1.0e-06, 1.0e-03]", "3.00e-04 [-1.0e-06, 1.0e-03]"),)  # fmt: skip


def test_verbatim_compares_members_with_nonmembers_and_with_the_base_model():
    rows = study(datasets=("xsum",), methods=("lora",), seeds=(0,), epochs=(0, 1, 2))
    made = called("verbatim", list(verbatim_rows(rows)))
    assert [row[-6:] for row in made.rows] == [
        ("exact memorization", "0.300 [0.290, 0.310]", "0.500 [0.490, 0.510]", "0.340 [0.330, 0.350]", "0.160 [0.150, 0.170]", "0.000 [-0.010, 0.010]"),
        ("extraction strength", "0.010 [0.000, 0.020]", "0.210 [0.200, 0.220]", "0.050 [0.040, 0.060]", "0.160 [0.150, 0.170]", "0.000 [-0.010, 0.010]"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="Add the metric exact_memorization"):
        called("verbatim", rows)


def test_costs_are_of_tuned_epochs():
    table = costs(study(datasets=("webnlg",), methods={"full": 1, "lora": 1}))
    assert table.header == ("data", "adversary has", "attack", "passes", "full, seconds", "LoRA, seconds")
    line = ("WebNLG", "log-probabilities + base model", labels.attack_name(ATTACKS[1]), "2.00", "22.00", "22.00")
    assert table.rows[-1] == line
    with pytest.raises(DataError, match="table costs"):
        costs([r for r in study() if not r.epoch])


@pytest.mark.parametrize("name", registry.entry_names("tables"))
def test_a_table_is_the_same_whatever_the_order_of_rows(name):
    few = {"datasets": ("webnlg",), "methods": ("full", "lora"), "epochs": (0, 1)}
    rows = study(bases=("a", "b"), settings=("", "targets=attention"), seeds=(1, 0), **few)
    rows += [r for row in {r.cell: r for r in rows}.values() for r in private(row.cell, row, epochs=(0, 1))]
    rows += [*canary_rows(rows), *drift_rows(rows), *verbatim_rows(rows)]
    rows += [replace(r, metric=m) for r in rows if r.metric == "perplexity" for m in ("chrf", "rouge")]
    rows += [r for row in {r.cell: r for r in rows}.values() for epoch in (0, 1) for r in recited(row, epoch=epoch)]
    rows += attributed(rows)
    table = called(name, rows)
    assert called(name, rows[::-1]) == table
    assert all(len(row) == len(table.header) for row in table.rows)


# --- names


def test_two_different_things_never_share_a_name():
    rows = study(datasets=("webnlg",), methods=("lora",), epochs=(0, 1))
    twins = [*rows, *(replace(r, base="other/gpt2") for r in rows)]
    assert sorted(labels.bases(twins).names.values()) == ["hub/gpt2", "other/gpt2"]
    twisted = (
        [replace(r, method_settings="x=1") for r in rows] + [replace(r, training_settings="x=1") for r in rows] + rows
    )
    assert len(set(labels.variants(twisted).names.values())) == 3


def test_a_list_in_a_setting_is_one_setting():
    assert row_values.split_settings('layers=[1, 2], name="a, b"', "", "k=0.1") == [
        "layers=[1, 2]",
        'name="a, b"',
        "k=0.1",
    ]


def test_a_method_has_the_same_color_in_every_selection():
    assert labels.method_color("lora") == "#CC79A7"
    assert labels.method_color("their.module:mine") == labels.method_color("their.module:mine")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.85249, "0.852"),
        (1.0, "1.000"),
        (17.4321, "17.43"),
        (12345.6, "12,346"),
        (float("inf"), "∞"),
        (-0.25, "-0.250"),
        (-0.0001, "0.000"),
    ],
)
def test_numbers(value, shown):
    assert row_values.format_number(value) == shown


# --- epsilon of private training


def test_the_accountants_epsilon_is_shown_with_the_lower_bound():
    rows = study(datasets=("webnlg",), methods=("full", "dp_lora"), seeds=(0, 1))
    own = [next(r for r in rows if r.method == "dp_lora" and r.seed == seed) for seed in (0, 1)]
    rows += private(own[0].cell, own[0]) + private(own[1].cell, own[1])
    shown = replace(own[1], metric="epsilon_lower_bound", metric_settings="delta=0.0142", epoch=3, value=0.7, attack="")
    rows += [shown, replace(shown, epoch=0, value=9.0)]
    table = called("privacy_spent", rows)
    assert len(table.rows) == 2
    first, second = found(table, "WebNLG", "DP LoRA", "0"), found(table, "WebNLG", "DP LoRA", "1")
    assert (first["noise multiplier"], first["delta"], first["epoch"]) == ("0.540", "0.014", "3")
    assert first["epsilon at most"] == second["epsilon at most"] == "6.00"
    assert first["epsilon at least"] == row_values.MISSING
    assert second["epsilon at least"] == "0.700 (delta=0.0142)"


def test_without_private_training_there_is_no_accountants_epsilon():
    with pytest.raises(DataError, match=r"table privacy_spent.* dp_lora or dp_full"):
        called("privacy_spent", study())


def test_an_exposure_that_is_a_lower_bound_is_shown_as_one():
    row = replace(
        study()[0], metric="exposure", metric_settings="estimate=extrapolation", attack="", attack_settings=""
    )
    bound = replace(row, epoch=1, value=7.65, low=5.76, high=None)
    fitted = replace(row, epoch=2, value=9.0, low=6.5, high=12.0)
    base = replace(row, epoch=0, value=1.5, low=1.0, high=2.0)
    (line,) = registry.load_function("tables", "exposure")([base, bound, fitted]).rows
    assert line[-5:] == (
        "extrapolation (\N{GREATER-THAN OR EQUAL TO}: no fit)",
        "once",
        "1.50 [1.000, 2.00]",
        "\N{GREATER-THAN OR EQUAL TO} 5.76",
        "9.00 [6.50, 12.00]",
    )
    (line,) = registry.load_function("tables", "exposure")([bound]).rows
    assert line[-4] == "sampling (no fit)"
