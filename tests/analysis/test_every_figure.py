"""Properties of every figure on the shelf: names are escaped, empty input is refused, one epoch suffices, pictures are reproducible."""

import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from byheart.analysis.chart import PICTURE_FORMATS
from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.figures.frontier import frontier
from byheart.figures.perplexity import perplexity
from byheart.figures.trajectory import trajectory
from testing.figure_rows import FEW, scores
from testing.made_up import canary_rows, drift_rows, everything, fit_rows, study

HOSTILE = "</svg><script>alert(1)</script>$\\frac{\x07\u202e' + datum.x + '"


@pytest.mark.parametrize("name", registry.entry_names("figures"))
def test_a_name_is_never_read_as_markup_or_as_an_expression(name):
    rows = [
        replace(r, base=f"x/{HOSTILE}{n}", dataset=HOSTILE, attack=r.attack and {"loss": "loss"}.get(r.attack, HOSTILE))
        for n in (1, 2)
        for r in study(datasets=("xsum",), methods=("lora",), settings=("", "targets=mlp"))
        if r.attack in {"", "loss", "min_k"}
    ]
    rows += [*canary_rows(rows), *drift_rows(rows), *fit_rows(rows)]
    entry = registry.load_function("figures", name)
    data = {"rows": rows, "scores": scores}
    figure = entry(*(data[n] for n in registry.needs(entry)))
    root = ET.fromstring(figure.picture("svg"))  # noqa: S314 - our own
    assert not [e for e in root.iter() if "script" in e.tag]
    assert any("frac" in (e.text or "") for e in root.iter() if e.tag.endswith("text"))


@pytest.mark.parametrize("name", registry.entry_names("figures"))
def test_a_figure_without_rows_is_refused(name):
    entry = registry.load_function("figures", name)
    with pytest.raises(DataError):
        entry(*({"rows": [], "scores": scores}[n] for n in registry.needs(entry)))


@pytest.mark.parametrize("name", registry.entry_names("figures"))
def test_a_chart_is_valid_vega_lite(name):
    entry = registry.load_function("figures", name)
    sides = {"bases": ("x/one", "x/two"), "settings": ("", "targets=attention")}
    rows = study(datasets=("xsum",), methods=("full", "lora"), seeds=(0, 1), **sides)
    data = everything([*rows, *canary_rows(rows), *drift_rows(rows), *fit_rows(rows)])
    entry(*(data[n] for n in registry.needs(entry))).chart.to_dict(validate=True)


HEADS = {"svg": b"<svg", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-"}
"""What a file of a format begins with."""


@pytest.mark.parametrize(
    "name",
    sorted({*registry.entry_names("figures")} - {"scale_study", "lora_placement", "risks", "drift", "leakage_by_fit"}),
)
def test_one_epoch_suffices(name):
    entry = registry.load_function("figures", name)
    data = everything(study(datasets=("xsum",), methods=("full",), epochs=(0,)))
    figure = entry(*(data[n] for n in registry.needs(entry)))
    assert any(figure.data.values())
    picture = figure.picture("svg")
    assert picture.startswith(HEADS["svg"])
    drawn = [e.tag.rpartition("}")[2] for e in ET.fromstring(picture).iter()]  # noqa: S314 - our own
    assert {"path", "text"} <= set(drawn)


def test_a_picture_fits_a_column_or_a_page_and_is_the_same_every_time():
    for rows, most in ((study(datasets=("xsum",)), 3.6), (study(), 7.1)):
        for kind in (trajectory, perplexity, frontier):
            figure = kind(rows)
            complete = [float(v) for v in re.search(rb"MediaBox ?\[([^\]]*)\]", figure.picture("pdf"))[1].split()]
            assert complete[2] / 72 < most, "inches"
            assert figure.picture("svg") == kind(rows).picture("svg")
    assert set(HEADS) == set(PICTURE_FORMATS)
    for form, head in HEADS.items():
        assert figure.picture(form).startswith(head)
    with pytest.raises(SettingError, match=r"'gif'.* svg, png, pdf"):
        figure.picture("gif")


def test_a_notebook_shows_a_figure():
    bundle = trajectory(study(**FEW))._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.vegalite.v6+json", "image/png"}
    assert "points" in bundle["application/vnd.vegalite.v6+json"]["datasets"]


def test_listing_figures_imports_no_plotting_package():
    code = (
        "import sys, byheart.report.page, byheart.core.registry as s\n"
        "[s.load_function('figures', n) for n in s.entry_names('figures')]\n"
        "print([m for m in ('torch', 'altair', 'vl_convert') if m in sys.modules])"
    )
    reported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert reported.stdout.strip() == "[]"
