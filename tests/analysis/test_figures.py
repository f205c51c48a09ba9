"""Figures show the numbers of the rows. Tests read the data and Vega's scene graph, not pixels."""

import itertools
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from byheart.analysis import chart, labels
from byheart.analysis.chart import _contrast, _rgb, legible_color
from byheart.core.errors import DataError
from byheart.core.types import Estimate, ScoreSet
from byheart.figures._series_style import MAX_END_LABELS
from byheart.figures.frontier import frontier
from byheart.figures.heat_map import heat_map
from byheart.figures.lora_placement import lora_placement
from byheart.figures.loss_density import loss_density
from byheart.figures.perplexity import perplexity
from byheart.figures.roc import roc
from byheart.figures.scale_study import scale_study
from byheart.figures.trajectory import trajectory
from byheart.metrics.tpr_at_fpr import tpr_at_fpr
from byheart.stats.seed_pooling import pool_seed_estimates
from testing.figure_rows import FEW, drawn, scores
from testing.made_up import scored, study


def picks(figure):
    return {p["name"]: p["value"] for p in figure.spec_without_data["params"]}


def scale(figure, channel):
    """The name and style of every series on one channel."""
    found = [
        layer["encoding"][channel]["scale"]
        for layer in figure.spec_without_data["spec"]["layer"]
        if "scale" in (layer["encoding"].get(channel) or {}) and "range" in layer["encoding"][channel]["scale"]
    ]
    return dict(zip(found[0]["domain"], found[0]["range"], strict=True))


def words(figure):
    """Every text in the picture with its position, after the translations of all groups."""
    root = ET.fromstring(figure.picture("svg"))  # noqa: S314 - our own
    found = []

    def walk(element, x, y):
        moved = re.match(r"translate\(([-\d.e]+),([-\d.e]+)\)", element.get("transform", ""))
        x, y = (x + float(moved[1]), y + float(moved[2])) if moved else (x, y)
        if element.tag.endswith("text") and element.text:
            found.append((element.text, x, y))
        for child in element:
            walk(child, x, y)

    walk(root, 0.0, 0.0)
    return found


def points(figure, **those):
    return [p for p in figure.data["points"] if all(p[k] == v for k, v in those.items())]


def test_points_contain_the_numbers_and_counts_of_rows():
    rows = study()
    figure = trajectory(rows)
    for r in rows:
        if r.attack and r.metric == "auc":
            (point,) = points(
                figure,
                data=labels.dataset_name(r.dataset),
                series=labels.method_name(r.method),
                attack=labels.attack_name(r.attack),
                metric="ROC AUC",
                epoch=r.epoch,
            )
            assert (point["value"], point["low"], point["high"]) == (r.value, r.low, r.high)
            assert (point["members"], point["nonmembers"], point["perplexity"]) == (200, 200, 20.0 - r.epoch)
            assert (point["chance"], point["last"], point["seed"]) == (0.5, 3, "")


def test_rates_are_named_with_their_fpr_which_is_the_chance_level():
    rows = [replace(r, metric_settings="fpr=0.05") if r.metric == "tpr_at_fpr" else r for r in study(**FEW)]
    (point, *_) = points(trajectory(rows), metric="TPR at 5 % FPR")
    assert point["chance"] == 0.05
    assert points(trajectory(study(**FEW)), metric="TPR at 1 % FPR")[0]["chance"] == 0.01


def test_trajectory_draws_one_point_for_each_method_and_epoch_of_each_data_set():
    rows = study()
    seen = drawn(trajectory(rows))
    assert len(seen) == 2 * 6 * 4
    last = next(
        r for r in rows if (r.dataset, r.method, r.attack, r.metric, r.epoch) == ("webnlg", "lora", "loss", "auc", 3)
    )
    assert [
        s
        for s in seen
        if "method: LoRA" in s and "data: WebNLG" in s and "epoch: 3" in s and f"value: {last.value}" in s
    ]
    assert not [s for s in seen if "Min-K%" in s]


def test_the_selected_rows_are_drawn():
    rows = study(datasets=("xsum",), seeds=(0, 1))
    for attack, metric in (("min_k", "auc"), ("loss", "tpr_at_fpr")):
        figure = trajectory(rows, attack=attack, metric=metric)
        seen = drawn(figure)
        assert len(seen) == 6 * 4
        assert all(f"attack: {labels.attack_name(attack)}" in s for s in seen)
    figure.spec_without_data["params"] = [
        p | {"value": "1"} if p["name"] == "pick_seed" else p for p in figure.spec_without_data["params"]
    ]
    of_one = [
        r.value for r in rows if (r.method, r.attack, r.metric, r.epoch, r.seed) == ("full", "loss", "tpr_at_fpr", 3, 1)
    ]
    assert [s for s in drawn(figure) if "method: full" in s and f"value: {of_one[0]:.5g}" in s and "epoch: 3" in s]


def test_seeds_are_averaged_and_the_figure_explains_the_band():
    rows = study(datasets=("xsum",), methods=("full",), seeds=(0, 1))
    figure = trajectory(rows)
    seeds = [r for r in rows if (r.epoch, r.attack, r.metric) == (3, "loss", "auc")]
    wanted = pool_seed_estimates([Estimate(r.value, r.low, r.high) for r in seeds], within=(0, 1))
    (pooled,) = points(figure, epoch=3, attack="Loss", metric="ROC AUC", seed="")
    assert [pooled[n] for n in ("value", "low", "high")] == pytest.approx([wanted.value, wanted.low, wanted.high])
    assert "95 % interval for other texts and other training seeds" in figure.words
    assert len(points(figure, epoch=3, attack="Loss", metric="ROC AUC")) == 3


def test_methods_have_the_same_colors_and_families_the_same_dashes_in_every_selection():
    everything_, two = trajectory(study()), trajectory(study(methods=("lora", "prefix")))
    for name in ("LoRA", "prefix"):
        assert scale(everything_, "color")[name] == scale(two, "color")[name]
    assert (scale(two, "strokeDash")["LoRA"], scale(two, "strokeDash")["prefix"]) == ([1, 0], [5, 3])


def test_every_line_has_contrast_on_light_and_dark_backgrounds():
    names = scale(trajectory(study(settings=("", "rank=4", "rank=8"))), "color")
    assert len(set(names.values())) == 18
    for color in (*names.values(), "#ffffff", "#000000"):
        for ground in (chart.LIGHT_BACKGROUND, chart.DARK_BACKGROUND):
            assert _contrast(_rgb(legible_color(color, ground)), _rgb(ground)) >= chart.MIN_CONTRAST
    assert _contrast(_rgb("#ffffff"), _rgb("#000000")) == pytest.approx(21)


def test_settings_of_one_method_are_separate_distinguishable_lines():
    figure = trajectory(study(methods=("lora",), settings=("", "rank=4", "rank=64")))
    colors, shapes = scale(figure, "color"), scale(figure, "shape")
    assert list(colors) == ["LoRA", "LoRA rank=4", "LoRA rank=64"]
    assert len({(colors[n], shapes[n]) for n in colors}) == 3


@pytest.mark.parametrize("kind", [trajectory, perplexity, frontier])
def test_names_at_the_ends_keep_their_order_and_do_not_overlap(kind):
    named = [
        w
        for w in words(kind(study(datasets=("xsum",))))
        if w[0] in {"full", "head", "LoRA", "prefix", "prompt", "P-tuning"}
    ]
    assert {w[0] for w in named} == {"full", "head", "LoRA", "prefix", "prompt", "P-tuning"}
    heights = sorted({(round(y, 3), name) for name, _, y in named})
    for (above, _), (below, _) in itertools.pairwise(heights):
        assert below - above >= 10.9
    if kind is trajectory:
        assert [name for _, name in heights] == ["full", "head", "LoRA", "prefix", "P-tuning", "prompt"]


def test_too_many_lines_go_into_a_legend_and_long_names_leave_room():
    many = study(
        datasets=("xsum",), methods=("lora",), settings=tuple(f"rank={n}" for n in range(1, MAX_END_LABELS + 2))
    )
    long = study(datasets=("xsum",), methods=("lora",), settings=tuple(f"text={'long ' * 40}{n}" for n in (1, 2)))
    for rows, count in ((many, MAX_END_LABELS + 1), (long, 2)):
        figure = trajectory(rows)
        assert len(scale(figure, "color")) == count
        assert len([w for w in words(figure) if "=" in w[0] or w[0].startswith("LoRA")]) == count, (
            "each once: in the legend"
        )
        width = float(re.search(rb'width="(\d+)"', figure.picture("svg"))[1])
        assert width < 900


def test_an_unmeasured_attack_is_refused_with_the_measured_ones():
    with pytest.raises(DataError, match=r"'ghost' .*loss, min_k"):
        trajectory(study(), attack="ghost")
    with pytest.raises(DataError, match=r"'ghost' .*'loss'"):
        trajectory(study(), metric="ghost")


def test_perplexity_of_each_data_set_and_base_has_its_panel():
    figure = perplexity(study(bases=("a/gpt2", "a/gpt2-medium")))
    assert figure.spec_without_data["facet"]["sort"] == [
        "WebNLG · gpt2",
        "WebNLG · gpt2-medium",
        "WikiText · gpt2",
        "WikiText · gpt2-medium",
    ]
    values = [p["value"] for p in points(figure, panel="WebNLG · gpt2", series="head", metric="perplexity", attack="")]
    assert values == [20.0, 19.0, 18.0, 17.0]


def test_a_perplexity_that_overflowed_leaves_a_gap():
    rows = [
        replace(r, value=float("inf"), high=float("inf"))
        if (r.metric, r.epoch, r.method) == ("perplexity", 3, "full")
        else r
        for r in study(datasets=("xsum",))
    ]
    assert not points(perplexity(rows), metric="perplexity", epoch=3, series="full")
    assert len(drawn(perplexity(rows))) == 6 * 4 - 1


def test_densities_are_those_of_the_scores_by_model_and_epoch():
    rows = study(datasets=("xsum",))
    requested = []
    figure = loss_density(rows, lambda key: requested.append(key) or scores(key))
    assert {r.scores for r in rows if r.scores} == set(requested)
    stored = figure.data["densities"]
    assert len(stored) == 2 * 5 * (1 + 6 * 3), (
        "two sides, five attacks, the untuned model once, six methods at three epochs"
    )
    one = {p["side"]: p for p in stored if (p["series"], p["epoch"], p["attack"]) == ("full", 3, "Loss")}
    peaks = {side: p["at"][int(np.argmax(p["height"]))] for side, p in one.items()}
    assert peaks == pytest.approx({"members": -2.0, "non-members": -3.0}, abs=0.25)
    for p in one.values():
        assert np.trapezoid(p["height"], p["at"]) == pytest.approx(1, abs=0.03)
    auc = next(r.value for r in rows if (r.method, r.epoch, r.attack, r.metric) == ("full", 3, "loss", "auc"))
    assert f"AUC {auc:.3f}" in [w[0] for w in words(figure)]


def test_densities_of_chosen_methods_at_an_epoch():
    rows = study(datasets=("xsum",), seeds=(3, 5))
    figure = loss_density(rows, scores, epoch=1, methods=("lora", "prefix"))
    assert {p["multiple"] for p in figure.data["densities"]} == {"base model", "LoRA", "prefix"}
    assert picks(figure)["pick_epoch"] == 1
    assert {p["seed"] for p in figure.data["densities"] if p["first"] and p["series"] != "base model"} == {"3"}
    assert "seed 3" in figure.words, "of several seeds one is drawn, and the figure must say which"
    with pytest.raises(DataError, match="at epoch 9"):
        loss_density(rows, scores, epoch=9)


def test_equal_scores_are_drawn_as_a_peak():
    def constant(_):
        return ScoreSet(("a", "b", "c", "d"), np.zeros(4), np.array([True, True, False, False]))

    figure = loss_density(study(datasets=("xsum",), methods=("full",)), constant)
    for p in figure.data["densities"]:
        assert abs(p["at"][int(np.argmax(p["height"]))]) < 0.1
    assert figure.picture("svg")


def test_a_roc_has_the_metrics_rates_and_area():
    rows = study(**FEW)
    look_up = scored(rows)
    figure = roc(rows, look_up)
    row = next(r for r in rows if (r.method, r.epoch, r.attack, r.metric) == ("full", 3, "loss", "auc"))
    (curve,) = [p for p in figure.data["rocs"] if (p["series"], p["epoch"], p["attack"]) == ("full", 3, "Loss")]
    stored = look_up(row.scores)
    for fpr, tpr in zip(curve["fpr"], curve["tpr"], strict=True):
        if fpr < 1:
            assert tpr == pytest.approx(
                tpr_at_fpr(stored.scores, stored.members, stored.groups, fpr=fpr + 1e-9).value, abs=1e-3
            )
    assert curve["fpr"][0] == 1 / 200
    assert curve["tpr"][-1] == 1
    area = np.trapezoid([0, *curve["tpr"]], [0, *curve["fpr"]])
    assert area == pytest.approx(roc_auc_score(stored.members, stored.scores), abs=0.02)


def test_the_heat_map_shows_every_attack_on_every_method_and_the_base_model_once():
    rows = study(datasets=("xsum",))
    shown = [w[0] for w in words(heat_map(rows))]
    assert shown.count("base model") == 1
    last = [r for r in rows if r.metric == "auc" and r.epoch == 3]
    firsts = [r.value for r in rows if (r.metric, r.epoch, r.method) == ("auc", 0, "full")]

    def numbers(reported):
        return [float(w) for w in reported if re.fullmatch(r"\d\.\d{3}", w)]

    assert sorted(numbers(shown)) == pytest.approx(sorted([r.value for r in last] + firsts), abs=6e-4)
    assert len([w for w in shown if re.fullmatch(r"\d\.\d\d\W\d\.\d\d", w)]) == 5 * 7
    first = [r.value for r in rows if r.metric == "auc" and r.epoch == 1]
    assert sorted(numbers([w[0] for w in words(heat_map(rows, epoch=1))])) == pytest.approx(
        sorted(first + firsts), abs=6e-4
    )
    with pytest.raises(DataError, match="figure heat_map"):
        heat_map([r for r in rows if r.attack == "loss"])


def test_long_names_of_columns_are_at_an_angle_so_that_they_do_not_overlap():
    for settings, is_angled in (("",), False), (("", "learning_rate=0.003"), True):
        picture = heat_map(study(**FEW, settings=settings)).picture("svg").decode()
        assert ("rotate(325)" in picture) == is_angled  # Vega counts -35 degrees as 325


def test_the_heat_map_groups_attacks_by_what_their_adversary_has():
    rows = study(datasets=("xsum",))
    rows += [replace(r, attack="lira") for r in rows if r.attack == "loss"]
    rows += [
        replace(r, attack="discoverable", metric="extraction_rate")
        for r in rows
        if (r.attack, r.metric) == ("loss", "auc")
    ]
    lines = ["log-probabilities:", "Loss", "Zlib", "Min-K%", "next-token distributions:", "Min-K%++"]
    lines += [
        "log-probabilities + base model:",
        "Reference",
        "log-probabilities + shadow models + other training texts:",
        "LiRA",
    ]
    shown = [w[0] for w in words(heat_map(rows))]
    assert [w for w in shown if w in lines] == lines
    assert "Discoverable" not in shown  # it has no AUC, so it has no line
    assert not [
        w for w in (w[0] for w in words(heat_map([r for r in rows if r.attack in {"loss", "min_k"}]))) if ":" in w
    ]


def test_chance_level_is_pale_in_every_selection():
    """An AUC far below 0.5 does not change the color of 0.5; a metric other than AUC uses its own range."""

    def shades(rows, metric):
        svg = heat_map(rows, metric=metric).picture("svg").decode()
        reported = re.findall(r'aria-label="[^"]*value: (\S+);[^"]*"[^>]*fill="([^"]+)"', svg)
        return {float(value.replace("\N{MINUS SIGN}", "-")): shade for value, shade in reported}

    rows = [
        replace(r, value={"loss": 0.5, "reference": 1.0}.get(r.attack, 0.7), low=None, high=None)
        for r in study(datasets=("xsum",))
    ]
    below = [replace(r, value=0.2) if r.attack == "min_k" else r for r in rows]
    plain, lower = shades(rows, "auc"), shades(below, "auc")
    assert plain[0.5] == lower[0.5] == lower[0.2] != plain[0.7]
    assert lower[0.7] == plain[0.7]
    others = shades(below, "tpr_at_fpr")
    assert others[0.2] != others[0.5]
    assert {others[0.2], others[1.0]} == {lower[0.5], lower[1.0]}


def test_single_bases_and_placements_are_not_compared():
    rows = study(**FEW, bases=("x/small", "x/large"), settings=("", "targets=attention"))
    sized = [replace(r, value=9e9) if (r.metric, r.base) == ("trained_parameters", "x/large") else r for r in rows]
    across = [
        layer["encoding"]["x"]
        for layer in scale_study(sized).spec_without_data["spec"]["layer"]
        if "x" in layer["encoding"]
    ]
    assert across[0]["sort"] == ["small", "large"]
    stored = lora_placement(rows).data["placements"]
    assert {p["series"] for p in stored} == {"all", "attention"}
    assert {p["metric"] for p in stored} == {"ROC AUC", "TPR at 1 % FPR"}
    with pytest.raises(DataError, match="figure scale_study"):
        scale_study(study(**FEW))
    with pytest.raises(DataError, match="two values of `targets`"):
        lora_placement(study(**FEW))
