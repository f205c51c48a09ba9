"""Actions of a reader on a page in a browser, and the resulting content."""

import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, sync_playwright

from byheart.analysis import labels
from byheart.metrics.tpr_at_fpr import tpr_at_fpr

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
STUDENT_T = 12.706204736
"""Two-sided 95 % quantile of Student's t with one degree of freedom, for two seeds."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def started():
    """A headless Chromium: the system's, else playwright's; without one, browser tests are skipped."""
    found = next((p for name in BROWSERS if (p := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            one = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"no Chromium to open pages in (apt-get install chromium): {str(error).splitlines()[0]}")
        yield one
        one.close()


@contextmanager
def opening(browser):
    """A function that opens a page and waits for it; at the end it checks for errors and requests to other hosts."""
    contexts, reported = [], []

    def opened(path, viewport=DESK, **more):
        context = browser.new_context(viewport=viewport, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: reported.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: reported.append(f"error: {error}"))
        page.on(
            "request",
            lambda request: None if request.url == path.as_uri() else reported.append(f"request: {request.url}"),
        )
        page.on("dialog", lambda dialog: reported.append(f"dialog: {dialog.message}"))
        page.goto(path.as_uri())
        if more.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready=true]", timeout=60_000)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert reported == []


def switches(page):
    """The positions of all switches."""
    return page.evaluate("[...document.querySelectorAll('[data-pick]')].map(e => [e.dataset.pick, e.value])")


def turn_back(page, positions):
    """Set the switches to these positions, and clear the record search."""
    page.evaluate(
        """positions => positions.forEach(([name, value]) => {
            const e = document.querySelector(`[data-pick=${name}]`);
            if (e.value === value) return;
            e.value = value;
            e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input', {bubbles: true}));
        })""",
        positions,
    )
    page.fill("#records-filter", "")
    settled(page)
    assert switches(page) == positions


def pick(page, what, value):
    page.select_option(f"[data-pick={what}]", value)
    settled(page)


def settled(page):
    page.wait_for_timeout(400)


def slide(page, epoch):
    page.locator("[data-pick=epoch]").evaluate(
        "(e, to) => { e.value = to; e.dispatchEvent(new Event('input', {bubbles: true})); }", str(epoch)
    )
    settled(page)


def points(page, name):
    """The accessible descriptions of a chart's points on the page, as dictionaries."""
    found = page.locator(f".drawn[data-name={name}] [aria-roledescription=point]").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )
    parts = [dict(p.split(": ", 1) for p in label.split("; ") if ": " in p) for label in found if label]
    return [p for p in parts if "method" in p]


def numbers(page, name):
    """The table of the numbers in a picture."""
    figure = page.locator("figure", has=page.locator(f".drawn[data-name={name}]"))
    details = figure.locator("details.numbers")
    if details.get_attribute("open") is None:
        details.locator("summary").click()
    return page.locator(f"figure:has(.drawn[data-name={name}]) details.numbers table").evaluate(
        "t => { const h = [...t.tHead.rows[0].cells].map(c => c.textContent);"
        " return [...t.tBodies[0].rows].map(r => Object.fromEntries([...r.cells].map((c, i) => [h[i], c.textContent]))); }"
    )


def expected(rows, *, dataset, base, attack="loss", metric="auc", seed=None):
    """Value, low and high by method and epoch, from a plain loop over the rows."""
    found = {}
    for r in rows:
        if (r.attack, r.metric, r.dataset, r.base) == (attack, metric, dataset, base) and seed in (None, r.seed):
            found.setdefault((labels.method_name(r.method), str(r.epoch)), []).append(r)
    return {key: pooled(those) for key, those in found.items()}


def pooled(rows):
    """One row's value and ends; for two seeds, ends for other texts and other seeds, of an AUC or a rate."""
    values, lows, highs = (np.array([getattr(r, n) for r in rows]) for n in ("value", "low", "high"))
    if len(rows) == 1:
        return values[0], lows[0], highs[0]
    assert len(rows) == 2
    seed_margin = STUDENT_T * np.std(values, ddof=1) / np.sqrt(2)
    below, above = (np.hypot(np.sqrt(np.mean(m**2)), seed_margin) for m in (values - lows, highs - values))
    return values.mean(), max(0, values.mean() - below), min(1, values.mean() + above)


def same(shown, rows, **those):
    want = expected(rows, **those)
    assert len(shown) == len(want) > 0
    for line in shown:
        reported = tuple(float(line[n]) for n in ("value", "interval low", "interval high"))
        assert reported == pytest.approx(want[line["method"], line["epoch"]], abs=1e-5)


def measured(rows, **which):
    """The one row of an AUC."""
    (row,) = [r for r in rows if r.metric == "auc" and all(getattr(r, n) == v for n, v in which.items())]
    return row


def checked(page, rows, scores, *, epoch, attack="loss", **where):
    """Numbers of densities and ROC equal those of the selected scores; the densities include the base model."""
    names = {labels.method_name(r.method): r.method for r in rows}
    deciles = numbers(page, "loss_density")
    assert {(line["method"], line["records"]) for line in deciles} == {
        (m, side) for m in (*(names if epoch else ()), "base model") for side in ("members", "non-members")
    }
    for line in deciles:
        if line["method"] == "base model":
            continue
        row = measured(rows, method=names[line["method"]], epoch=epoch, attack=attack, **where)
        stored = scores(row.scores)
        own = stored.scores[stored.members == (line["records"] == "members")]
        reported = [float(line[f"percentile {p}"]) for p in range(10, 100, 10)]
        assert reported == pytest.approx(np.percentile(own, range(10, 100, 10)), rel=1e-3, abs=1e-3)
        assert float(line["AUC"]) == pytest.approx(row.value, abs=1e-5)
    shares = numbers(page, "roc")
    assert {line["method"] for line in shares} == set(names)
    for line in shares:
        stored = scores(measured(rows, method=names[line["method"]], epoch=epoch, attack=attack, **where).scores)
        others = int((~stored.members).sum())
        rates = [r for r in (0.1, 1, 5, 10, 25, 50) if r * others >= 100]  # fewer texts cannot resolve this rate
        assert [n for n in line if n.startswith("TPR at")] == [f"TPR at {r:g} % FPR" for r in rates]
        for rate in rates:
            want = tpr_at_fpr(stored.scores, stored.members, stored.groups, fpr=rate / 100).value
            assert float(line[f"TPR at {rate:g} % FPR"]) == pytest.approx(want, abs=1e-4)


def fits(page, viewport):
    """With all sections open, no element is wider than the screen."""
    for details in page.locator("details").all():
        details.evaluate("d => { d.open = true }")
    page.locator("#records-list tbody button").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def is_accessible(page):
    """Check accessibility. Removes the lines after the fourth of each table, which are like those before them."""
    page.evaluate("document.querySelectorAll('tbody tr:nth-child(n+5)').forEach(row => row.remove())")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def reads_well(page, viewport, dark):
    """Check that the page fits, is accessible, turns light and dark, and prints. The page cannot be used afterwards."""
    themes = ("dark", "light") if dark else ("light", "dark")
    fits(page, viewport)
    assert page.evaluate("document.documentElement.dataset.theme") == themes[0]
    page.locator("#theme").press("Enter")
    settled(page)
    assert page.evaluate("document.documentElement.dataset.theme") == themes[1]
    assert 4 < len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) < 60
    page.locator("#theme").press("Enter")
    settled(page)
    assert page.evaluate("document.documentElement.dataset.theme") == themes[0]
    is_accessible(page)
