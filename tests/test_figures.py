"""Figures draw the rows' own numbers: inspected as axes and lines, not as pixels."""

import itertools
import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.text import Text

from byheart import labels, shelf
from byheart.errors import DataError
from byheart.figures._panels import MOST_NAMED
from byheart.figures.loss_density import loss_density
from byheart.figures.perplexity import perplexity
from byheart.figures.trajectory import trajectory
from byheart.types import ScoreSet
from made_up import study


def scores(_):
    rng = np.random.default_rng(0)
    held = np.concatenate([rng.normal(-2.0, 0.3, 50), rng.normal(-3.0, 0.3, 50)])
    return ScoreSet(tuple(map(str, range(100))), held, np.arange(100) < 50)


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def titles(figure):
    return [title for axes in figure.axes if (title := axes.get_title(loc="left"))]


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_trajectory_has_a_panel_for_each_data_set_and_a_line_for_each_method():
    rows = study()
    figure = trajectory(rows)
    assert titles(figure) == ["WebNLG", "WikiText"]
    lines = lines_of(figure.axes[0])
    assert list(lines) == ["full", "head", "LoRA", "prefix", "prompt", "P-tuning", "chance"]
    expected = [r.value for r in rows if (r.dataset, r.method, r.attack, r.metric) == ("webnlg", "lora", "loss", "auc")]
    assert list(lines["LoRA"].get_xdata()) == [0, 1, 2, 3]
    assert list(lines["LoRA"].get_ydata()) == expected
    assert set(lines["chance"].get_ydata()) == {0.5}


def test_trajectory_bands_are_the_rows_intervals():
    rows = study(datasets=("xsum",), methods=("full",))
    (band,) = trajectory(rows).axes[0].collections
    ends = band.get_paths()[0].vertices[:, 1]
    last = next(r for r in rows if (r.epoch, r.attack, r.metric) == (3, "loss", "auc"))
    assert (ends.min(), ends.max()) == pytest.approx((0.47, last.high))


def test_trajectory_of_seeds_is_their_mean_and_says_what_the_band_is():
    rows = study(datasets=("xsum",), methods=("full",), seeds=(0, 1))
    figure = trajectory(rows)
    ends = [r.value for r in rows if (r.epoch, r.attack, r.metric) == (3, "loss", "auc")]
    assert lines_of(figure.axes[0])["full"].get_ydata()[-1] == pytest.approx(sum(ends) / 2)
    assert "lowest and highest of 2 seeds" in figure.get_supxlabel()


def test_methods_keep_their_colour_and_families_their_dashes_whatever_is_shown():
    everything, two = (
        lines_of(trajectory(study()).axes[0]),
        lines_of(trajectory(study(methods=("lora", "prefix"))).axes[0]),
    )
    for name in ("LoRA", "prefix"):
        assert everything[name].get_color() == two[name].get_color()
    assert (two["LoRA"].get_linestyle(), two["prefix"].get_linestyle()) == ("-", "--")


def test_settings_of_one_method_are_lines_of_their_own_that_can_be_told_apart():
    lines = lines_of(trajectory(study(methods=("lora",), settings=("", "rank=4", "rank=64"))).axes[0])
    assert list(lines)[:3] == ["LoRA", "LoRA rank=4", "LoRA rank=64"]
    assert len({(line.get_color(), line.get_marker()) for line in list(lines.values())[:3]}) == 3


def test_names_at_the_ends_do_not_overlap():
    figure = trajectory(study(datasets=("xsum",)))
    figure.savefig("/dev/null", format="png")
    axes = figure.axes[0]
    assert sorted(words(axes)) == sorted(["full", "head", "LoRA", "prefix", "prompt", "P-tuning", "chance"])
    boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)
    for below, above in itertools.pairwise(boxes):
        assert above.y0 >= below.y0 + 0.9 * below.height


def test_too_many_lines_go_into_a_legend():
    rows = study(datasets=("xsum",), methods=("lora",), settings=tuple(f"rank={n}" for n in range(1, MOST_NAMED + 2)))
    figure = trajectory(rows)
    assert words(figure.axes[0]) == []
    assert len(figure.legends[0].get_texts()) == MOST_NAMED + 2  # and chance


def test_trajectory_of_another_metric_has_no_level_of_chance():
    figure = trajectory(study(), attack="min_k", metric="tpr_at_fpr")
    assert "chance" not in lines_of(figure.axes[0])
    assert "TPR" in figure.get_suptitle()
    assert "Min-K%" in figure.get_suptitle()


def test_an_attack_that_was_not_measured_is_refused_with_those_that_were():
    with pytest.raises(DataError, match="'ghost' by epoch; attacks: loss, min_k"):
        trajectory(study(), attack="ghost")


def test_perplexity_draws_the_untuned_level():
    rows = study(bases=("a/gpt2", "a/gpt2-medium"))
    figure = perplexity(rows)
    assert titles(figure) == ["WebNLG · gpt2", "WebNLG · gpt2-medium", "WikiText · gpt2", "WikiText · gpt2-medium"]
    lines = lines_of(figure.axes[0])
    assert list(lines["head"].get_ydata()) == [20.0, 19.0, 18.0, 17.0]
    assert set(lines[labels.UNTUNED].get_ydata()) == {20.0}


def test_perplexity_that_explodes_gets_a_logarithmic_scale():
    rows = study(datasets=("xsum",))
    assert perplexity(rows).axes[0].get_yscale() == "linear"
    rows = [replace(r, value=900.0) if (r.metric, r.epoch, r.method) == ("perplexity", 3, "full") else r for r in rows]
    figure = perplexity(rows)
    figure.draw_without_rendering()
    assert figure.axes[0].get_yscale() == "log"
    shown = [tick.get_text() for tick in figure.axes[0].get_yticklabels(which="both")]
    assert "100" in shown
    assert not any("$" in tick for tick in shown)


def test_densities_show_the_untuned_model_and_each_method_with_its_auc():
    rows = study(datasets=("xsum",))
    asked = []
    figure = loss_density(rows, lambda key: asked.append(key) or scores(key))
    assert titles(figure) == ["untuned", "full", "head", "LoRA", "prefix", "prompt", "P-tuning"]
    last = next(r for r in rows if (r.method, r.epoch, r.attack, r.metric) == ("full", 3, "loss", "auc"))
    assert last.scores in asked
    assert f"AUC {last.value:.3f}" in words(figure.axes[1])
    lines = lines_of(figure.axes[1])
    peaks = {name: line.get_xdata()[np.argmax(line.get_ydata())] for name, line in lines.items()}
    assert peaks == pytest.approx({"members": -2.0, "non-members": -3.0}, abs=0.25)


def test_densities_of_chosen_methods_at_an_epoch():
    rows = study(datasets=("xsum",), seeds=(3, 5))
    asked = []
    figure = loss_density(rows, lambda key: asked.append(key) or scores(key), epoch=1, methods=("lora", "prefix"))
    assert titles(figure) == ["untuned", "LoRA", "prefix"]
    assert {key.split("/")[-2] for key in asked} == {"0", "1"}
    assert "seed 3" in figure.get_supxlabel(), "of several seeds one is drawn, and the figure must say which"
    with pytest.raises(DataError, match="at epoch 9"):
        loss_density(rows, scores, epoch=9)


def test_scores_that_are_all_equal_are_a_line_and_no_failure():
    def constant(_):
        return ScoreSet(("a", "b", "c", "d"), np.zeros(4), np.array([True, True, False, False]))

    figure = loss_density(study(datasets=("xsum",), methods=("full",)), constant)
    assert [list(line.get_xdata()) for line in figure.axes[0].get_lines()] == [[0, 0], [0, 0]]


def test_a_name_is_never_read_as_a_formula():
    rows = [replace(r, base=f"x/{name}") for r in study(datasets=("$\\frac{$",)) for name in ("a", "<script>")]
    for figure in (trajectory(rows), loss_density(rows, scores), perplexity(rows)):
        figure.savefig("/dev/null", format="svg")
        assert any("$\\frac{$" in text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))


@pytest.mark.parametrize("name", shelf.names("figures"))
def test_a_figure_of_nothing_is_refused(name):
    entry = shelf.find("figures", name)
    with pytest.raises(DataError):
        entry(*({"rows": [], "scores": scores}[n] for n in shelf.needs(entry)))


@pytest.mark.parametrize("name", shelf.names("figures"))
def test_one_epoch_is_enough(name):
    entry = shelf.find("figures", name)
    data = {"rows": study(datasets=("xsum",), methods=("full",), epochs=(0,)), "scores": scores}
    entry(*(data[n] for n in shelf.needs(entry))).savefig("/dev/null", format="png")


def test_pyplot_is_never_imported_and_the_readers_look_is_put_back():
    mpl.rcParams["font.size"] = 31
    try:
        figure = trajectory(study())
        assert mpl.rcParams["font.size"] == 31
        assert figure.axes[0].title.get_fontsize() < 31
    finally:
        mpl.rcParams["font.size"] = mpl.rcParamsDefault["font.size"]
    assert "matplotlib.pyplot" not in sys.modules


def test_long_names_go_into_a_legend_and_leave_room_for_the_picture(recwarn):
    long = [f"learning_rate=0.00{n}, rank=4, alpha=8, targets=attention, text={'long ' * 40}{n}" for n in (1, 2)]
    rows = [replace(r, dataset="a_data_set_of_many_words_" * 4) for r in study(methods=("lora",), settings=tuple(long))]
    for figure in (trajectory(rows), perplexity(rows), loss_density(rows, scores)):
        figure.savefig("/dev/null", format="png")
    assert not [w for w in recwarn if "constrained_layout" in str(w.message)]
    assert words(trajectory(rows).axes[0]) == []


def test_a_perplexity_that_overflowed_leaves_a_gap():
    rows = [
        replace(r, value=float("inf"), high=float("inf"))
        if (r.metric, r.epoch, r.method) == ("perplexity", 3, "full")
        else r
        for r in study(datasets=("xsum",))
    ]
    perplexity(rows).savefig("/dev/null", format="png")
