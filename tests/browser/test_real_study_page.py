"""Report page of a real study in a browser: every switch in every position shows the numbers of the rows.

The study is that of docs/results/attacks: a pre-trained model, six methods, two data sets, all membership inference
attacks.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from byheart.analysis import labels
from byheart.core import registry
from byheart.store.rows import score_reader, study_rows
from byheart.store.store import Store
from testing.browser_page import (
    DESK,
    PHONE,
    checked,
    expected,
    measured,
    numbers,
    points,
    reads_well,
    same,
    slide,
)
from testing.doc_pages import blocks

ROOT = Path(__file__).parents[2]
METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page that the first commands of docs/report.md create."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "docs").symlink_to(ROOT / "docs")
    commands = blocks(ROOT / "docs" / "report.md", "sh")[0].text
    found = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-ec", commands], cwd=folder, env=found, check=True)
    return folder / "real.html"


@pytest.fixture(scope="module")
def store(path):
    return Store.open(path.with_name("real"))


@pytest.fixture(scope="module")
def rows(store):
    return study_rows(store, "attacks")


def options(page, what):
    return page.locator(f"[data-pick={what}]").evaluate("e => [...e.options].map(o => o.value)")


def turned(page, what, value):
    """Set a switch, and wait until the trajectory shows the selection."""
    if page.locator(f"[data-pick={what}]").input_value() == value:
        return
    page.select_option(f"[data-pick={what}]", value)
    expect(page.locator("figure:has(.drawn[data-name=trajectory]) .picked")).to_contain_text(value)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_the_study_has_six_methods_two_data_sets_and_every_ranking_attack(rows):
    ranking = {r.attack for r in rows if r.metric == "auc"}
    assert len(ranking) == 25
    assert ranking <= set(registry.entry_names("attacks"))
    assert {(r.dataset, r.method, r.epoch, r.attack) for r in rows if r.metric == "auc"} == set(
        itertools.product(("records", "wikipedia"), METHODS, (0, 1, 2), ranking)
    )


@pytest.mark.slow
def test_every_attack_every_data_set_and_every_metric_shows_its_rows(page, rows):
    attacks = {labels.attack_name(r.attack): r.attack for r in rows if r.metric == "auc"}
    data = {labels.datasets(rows)(r): r.dataset for r in rows}
    metrics = dict(zip(options(page, "metric"), ("auc", "tpr_at_fpr"), strict=True))
    assert set(options(page, "attack")) == set(attacks)
    assert set(options(page, "data")) == set(data)
    switches = list(itertools.product(metrics.items(), data.items()))
    assert len(switches) == 4
    # Each attack in one position of the other switches, which take turns; one attack in all of them.
    positions = [(*switches[nth % 4], attack) for nth, attack in enumerate(attacks.items())]
    positions += [(*others, next(iter(attacks.items()))) for others in switches[1:]]
    for (metric, of), (where, dataset), (attack, by) in positions:
        for what, value in (("metric", metric), ("data", where), ("attack", attack)):
            turned(page, what, value)
        stated = page.locator("figure:has(.drawn[data-name=trajectory]) .picked").inner_text()
        assert stated == f"{attack} · {metric} · {where}"
        for shown in (points(page, "trajectory"), points(page, "frontier"), numbers(page, "trajectory")):
            same(shown, rows, attack=by, metric=of, dataset=dataset, base=rows[0].base)


def test_the_slider_shows_every_attack_and_method_of_that_epoch(page, rows):
    attacks = {labels.attack_name(r.attack): r.attack for r in rows if r.metric == "auc"}
    for where in options(page, "data"):
        turned(page, "data", where)
        dataset = next(r.dataset for r in rows if labels.datasets(rows)(r) == where)
        for epoch in (0, 1, 2):
            slide(page, epoch)
            shown = numbers(page, "heat_map")
            assert len(shown) == len(attacks) * (len(METHODS) if epoch else len({line["method"] for line in shown}))
            for line in shown:
                want = expected(rows, attack=attacks[line["attack"]], dataset=dataset, base=rows[0].base)
                value = want[line["method"], str(epoch)][0]
                assert float(line["value"]) == pytest.approx(value, abs=1e-5)


def test_densities_and_roc_show_the_scores_of_the_selected_attack(page, rows, store):
    for attack, epoch in (("LiRA", 2), ("Loss", 1)):
        turned(page, "attack", attack)
        slide(page, epoch)
        by = next(r.attack for r in rows if r.attack and labels.attack_name(r.attack) == attack)
        checked(page, rows, score_reader(store), epoch=epoch, attack=by, dataset=dataset_shown(page, rows))


def dataset_shown(page, rows):
    where = page.locator("[data-pick=data]").input_value()
    return next(r.dataset for r in rows if labels.datasets(rows)(r) == where)


def test_records_are_ordered_filtered_and_opened_by_their_scores(page, rows, store):
    turned(page, "attack", "Loss")
    page.select_option("#records-method", "full")
    stored = score_reader(store)(
        measured(rows, method="full", epoch=2, attack="loss", dataset=dataset_shown(page, rows)).scores
    )
    lines = page.locator("#records-list > table > tbody > tr")
    best = stored.ids[int(np.argmax(np.where(stored.members, stored.scores, -np.inf)))]
    expect(lines.first.locator("th")).to_have_text(best)
    shown = float(lines.first.locator("td").nth(1).inner_text())
    assert shown == pytest.approx(stored.scores[stored.members].max(), rel=1e-3)
    lines.first.get_by_role("button").press("Enter")
    assert page.locator("tr.drill table tbody tr").count() == 25
    page.fill("#records-filter", best)
    assert best in lines.locator("th").all_inner_texts()
    page.fill("#records-filter", "no such record")
    expect(lines.locator("th")).to_have_count(0)


@pytest.mark.slow
def test_on_a_dark_phone_it_is_accessible_fits_turns_light_and_prints(opened, path):
    assert path.stat().st_size < 5_000_000
    reads_well(opened(path, PHONE, color_scheme="dark"), PHONE, dark=True)


def test_on_a_desk_it_is_accessible_fits_turns_dark_and_prints(page):
    """Runs last, because it removes parts of the page."""
    reads_well(page, DESK, dark=False)
