"""Report page in a browser: every switch shows the numbers of the rows; the page sends nothing and runs no injected script."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest
from playwright.sync_api import expect

from byheart.analysis import labels
from byheart.core.registry import choose
from byheart.report.exhibits import ReportContent
from byheart.report.page import report
from testing.browser_page import (
    DESK,
    PHONE,
    checked,
    expected,
    fits,
    is_accessible,
    measured,
    numbers,
    pick,
    points,
    same,
    slide,
)
from testing.made_up import judged, printed, read_by, scored, study

FIRST = {"dataset": "webnlg", "base": "x/small"}
MANY = {"bases": ("x/small", "x/large"), "methods": ("full", "lora", "prompt"), "seeds": (0, 1), "epochs": (0, 1, 2)}


def written(folder, rows, **more):
    path = folder / "page.html"
    shown = ReportContent(rows, more.pop("scores", scored(rows)), more.pop("gates", judged()), read_by)
    path.write_text(
        report(shown, title=more.pop("title", "A study"), provenance={"command": "byheart run"}, **more),
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def rows():
    return [replace(r, metric_settings="fpr=0.05") if r.metric == "tpr_at_fpr" else r for r in study(**MANY)]


@pytest.fixture(scope="module")
def path(tmp_path_factory, rows):
    return written(tmp_path_factory.mktemp("page"), rows)


def test_every_switch_changes_every_picture_to_the_rows_of_that_selection(page, rows):
    chosen = dict(FIRST)
    same(points(page, "trajectory"), rows, **FIRST)
    for what, value, meant in (
        ("attack", "Min-K%", {"attack": "min_k"}),
        ("data", "WikiText", {"dataset": "wikitext"}),
        ("base", "large", {"base": "x/large"}),
        ("metric", "TPR at 5 % FPR", {"metric": "tpr_at_fpr"}),
        ("seed", "1", {"seed": 1}),
    ):
        pick(page, what, value)
        chosen |= meant
        for name in ("trajectory", "frontier"):
            same(points(page, name), rows, **chosen)
            same(numbers(page, name), rows, **chosen)
    assert page.locator("figure:has(.drawn[data-name=trajectory]) .picked").inner_text() == (
        "Min-K% · TPR at 5 % FPR · WikiText · large · seed 1"
    )
    shown = numbers(page, "perplexity")
    assert {float(line["value"]) for line in shown} == {20.0, 19.0, 18.0}
    label = page.locator(".drawn[data-name=trajectory] .chart").get_attribute("aria-label")
    assert "Min-K% · TPR at 5 % FPR · WikiText · large · seed 1" in label


def test_the_epochs_slider_moves_the_heat_map_the_scores_and_the_roc(page, rows):
    for epoch in (1, 0, 2):
        slide(page, epoch)
        expect(page.locator("[data-told=epoch]")).to_have_text(str(epoch))
        for line in numbers(page, "heat_map"):
            attack = next(a for a in labels.ATTACK_LABELS if labels.attack_name(a) == line["attack"])
            value, low, high = expected(rows, attack=attack, **FIRST)[line["method"], str(epoch)]
            assert float(line["value"]) == pytest.approx(value, abs=1e-5)
            assert (float(line["interval low"]), float(line["interval high"])) == pytest.approx((low, high), abs=1e-5)
        aucs = page.locator(".drawn[data-name=loss_density] text").all_text_contents()
        of_lowest = [v for (_, e), (v, _, _) in expected(rows, seed=0, **FIRST).items() if e == str(epoch)]
        for value in of_lowest if epoch else of_lowest[:1]:
            assert any(abs(float(t[4:]) - value) < 6e-4 for t in aucs if t.startswith("AUC ")), (value, aucs)
        assert f"after epoch {epoch}" in page.locator("figure:has(.drawn[data-name=roc]) .picked").inner_text()


def test_curves_have_numbers_that_follow_the_switches(page, rows):
    checked(page, rows, scored(rows), epoch=2, **FIRST, seed=0)
    for what, value in (("attack", "Min-K%"), ("data", "WikiText"), ("base", "large"), ("seed", "1")):
        pick(page, what, value)
    where = {"attack": "min_k", "dataset": "wikitext", "base": "x/large", "seed": 1}
    checked(page, rows, scored(rows), epoch=2, **where)
    slide(page, 1)
    checked(page, rows, scored(rows), epoch=1, **where)
    for name in ("loss_density", "roc"):
        label = page.locator(f".drawn[data-name={name}] .chart").get_attribute("aria-label")
        row = measured(rows, method="full", epoch=1, **where)
        assert f"full: AUC {row.value:.5g} ({row.low:.5g} to {row.high:.5g})" in label


def test_the_page_shows_published_values_and_reusable_settings(opened, rows, tmp_path):
    few = [r for r in rows if (r.base, r.seed) == ("x/small", 0)]
    place = tmp_path / "page.html"
    shown = ReportContent(few, scored(few), judged(), read_by, printed(few))
    made = {
        "command (a)": "byheart run a.yaml --set 'x=[1]'",
        "settings as given (a)": "name: a\ntraining: {epochs: 2}\n",
    }
    place.write_text(report(shown, title="A study", provenance=made), encoding="utf-8")
    page = opened(place, PHONE)
    section = page.locator("section", has=page.get_by_role("heading", name="Published values beside this study"))
    assert section.locator("tbody tr").count() == len(printed(few))
    assert page.locator("#made dd").nth(1).inner_text() == made["settings as given (a)"]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_tooltips_show_the_exact_number_and_its_counts(page, rows):
    dot = page.locator(
        ".drawn[data-name=trajectory] [aria-roledescription=point][aria-label*='method: full'][aria-label*='epoch: 2']"
    )
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator("#vg-tooltip-element")
    expect(tip).to_contain_text("full")
    value = expected(rows, **FIRST)["full", "2"][0]
    stated = dict(tip.locator("tr").evaluate_all("all => all.map(r => [...r.cells].map(c => c.textContent))"))
    assert float(stated["value"]) == pytest.approx(value, abs=1e-5)
    assert (stated["members"], stated["non-members"], stated["epoch"]) == ("200", "200", "2")


def test_records_are_filtered_sorted_and_opened(page, rows):
    row = next(
        r
        for r in rows
        if (r.dataset, r.base, r.method, r.seed, r.attack, r.metric, r.epoch)
        == ("webnlg", "x/large", "full", 0, "loss", "auc", 2)
    )
    stored = scored(rows)(row.scores)
    lines = page.locator("#records-list > table > tbody > tr")
    best = str(int(np.argmax(np.where(stored.members, stored.scores, -np.inf))))
    expect(lines.first.locator("th")).to_have_text(best)
    shown = float(lines.first.locator("td").nth(1).inner_text())
    assert shown == pytest.approx(stored.scores[int(best)], rel=1e-3)
    below = (stored.scores[~stored.members] < stored.scores[int(best)]).mean()
    assert lines.first.locator("td").first.inner_text() == f"{int(1000 * below) / 10:.1f} %"
    count = lines.count()
    page.locator("#records-more").click()
    assert lines.count() > count
    page.fill("#records-filter", best)
    ids = lines.locator("th").all_inner_texts()
    assert best in ids
    assert all(best in i for i in ids)
    page.fill("#records-filter", "")
    page.click("[data-sort=id]")
    ids = lines.locator("th").all_inner_texts()
    assert ids == sorted(ids)
    expect(page.locator("#records-list th[aria-sort=ascending]")).to_contain_text("record")
    opening = lines.first.get_by_role("button")
    opening.press("Enter")
    expect(opening).to_have_attribute("aria-expanded", "true")
    drilled = page.locator("tr.drill table tbody tr")
    assert drilled.locator("th").all_inner_texts() == ["Loss", "Zlib", "Min-K%", "Min-K%++", "Reference"]
    opening.press("Enter")
    expect(page.locator("tr.drill")).to_have_count(0)
    page.select_option("#records-method", "prompt")
    expect(page.locator("#records-note")).to_contain_text("may be random")


# test_real_study_page.py tests the other two combinations.
@pytest.mark.parametrize(("viewport", "dark"), [pytest.param(DESK, True, marks=pytest.mark.slow), (PHONE, False)])
def test_it_is_accessible_and_fits_light_and_dark_wide_and_narrow(opened, path, viewport, dark):
    page = opened(path, viewport, color_scheme="dark" if dark else "light")
    assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    fits(page, viewport)
    for box in page.locator(".drawn, .drawn:not(.wide) svg.marks").all():
        assert box.bounding_box()["width"] <= viewport["width"]
    is_accessible(page)


def test_the_theme_button_turns_charts_too(page):
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = page.locator(".drawn[data-name=trajectory] svg text").first.get_attribute("fill")
    page.get_by_role("button", name="Dark").press("Enter")
    page.wait_for_function(
        f"document.querySelector('.drawn[data-name=trajectory] svg text').getAttribute('fill') !== '{ink}'"
    )
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Dark").press("Enter")
    page.wait_for_function(
        f"document.querySelector('.drawn[data-name=trajectory] svg text').getAttribute('fill') === '{ink}'"
    )


def test_it_prints(opened, path):
    page = opened(path, color_scheme="dark")
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 4 < len(re.findall(rb"/Type\s*/Page\b", printed)) < 60
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator(".switches")).to_be_hidden()
    page.set_viewport_size({"width": 700, "height": 1000})
    page.wait_for_timeout(1500)
    assert page.locator(".drawn svg.marks").first.bounding_box()["width"] <= 700


def test_without_scripts_the_page_has_text_tables_and_pictures(opened, path):
    page = opened(path, java_script_enabled=False)
    expect(page.locator(".drawn img")).to_have_count(7)
    assert page.locator(".drawn img").first.evaluate("e => e.naturalWidth") > 200
    expect(page.locator(".switches")).to_be_hidden()
    expect(page.get_by_role("heading", name="ROC AUC by attack and fine-tuning method")).to_be_visible()


LONG = "x" * 100_000
HOSTILE = "'\"></script><script>alert(1)</script><img src=http://e.vil/x onerror=alert(2)>\u202egnp.exe\x07\x00\r\n{{7*7}} =1+1"


def test_names_and_ids_cannot_inject_scripts_or_break_the_page(opened, tmp_path):
    rows = [
        replace(
            r,
            base=f"x/{HOSTILE}",
            dataset=HOSTILE,
            method_settings=f"a={HOSTILE}",
            method=HOSTILE,
            attack=r.attack and f"{HOSTILE}{r.attack}",
        )
        for r in study(datasets=("xsum",), methods=("lora",))
        if r.attack in {"", "loss", "min_k"}
    ]
    look_up = scored(rows)

    def hostile(key):
        stored = look_up(key)
        return stored._replace(ids=tuple(f"{LONG if i % 10 == 3 else HOSTILE}{i}" for i in range(len(stored.ids))))

    page = opened(written(tmp_path, rows, scores=hostile, title=HOSTILE), PHONE)
    page.fill("#records-filter", "xxx")
    page.locator("#records-list tbody button").first.click()
    page.fill("#records-filter", "alert")
    shown = page.locator("#records-list tbody th").first.inner_text()
    assert "<script>alert(1)</script>" in shown
    assert "\u202e" not in page.locator("#records").inner_text()
    pick(page, "attack", page.locator("[data-pick=attack] option").nth(1).get_attribute("value"))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate("document.querySelectorAll('script').length") == 3


def test_a_study_of_ten_thousand_texts_stays_small_and_opens_soon(opened, tmp_path):
    rows = study(datasets=("webnlg",), epochs=(0, 1, 4))
    tables = [choose("tables", "methods")]  # other tests cover the rendering of thousands of texts
    path = written(tmp_path, rows, scores=scored(rows, count=5000), tables=tables)
    assert path.stat().st_size < 5_000_000
    began = time.monotonic()
    opened(path)
    assert time.monotonic() - began < 30
