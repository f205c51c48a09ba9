"""The page of a real audit in a browser: a pre-trained model, tuned on the spot by plain transformers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from byheart.analysis import labels
from byheart.core.types import Row
from testing.browser_page import DESK, PHONE, numbers, reads_well
from testing.typed import byheart

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The folder of an audit, with the texts of exposed records on its page."""
    folder = tmp_path_factory.mktemp("audited")
    data = folder / "finetuned"
    tuned = [sys.executable, ROOT / "examples" / "finetune.py", "full", "--texts", "40", "--output", data]
    subprocess.run(tuned, check=True)
    made = byheart(
        *("audit", "--model", data / "full", "--base", data / "base", "--members", data / "members.jsonl"),
        *("--nonmembers", data / "nonmembers.jsonl", "--validation", data / "validation.jsonl", "--fpr", "0.1"),
        *("--show-text", "-o", folder / "audit"),
    )
    assert made.returncode == 0, made.stderr
    return folder / "audit"


def test_it_shows_its_rows_its_records_and_their_texts(opened, audited):
    rows = [Row(**r) for r in json.loads((audited / "rows.json").read_text())]
    page = opened(audited / "report.html")
    assert "Leaks: " in page.locator("main").inner_text()
    for attack in page.locator("[data-pick=attack]").evaluate("e => [...e.options].map(o => o.value)"):
        page.select_option("[data-pick=attack]", attack)
        expect(page.locator("figure:has(.drawn[data-name=loss_density]) .picked")).to_contain_text(attack)
        (row,) = [r for r in rows if r.metric == "auc" and r.epoch and labels.attack_name(r.attack) == attack]
        (told,) = {float(line["AUC"]) for line in numbers(page, "loss_density") if line["method"] != "untuned"}
        assert told == pytest.approx(row.value, abs=1e-5)
    texts = {r["id"]: r["text"] for r in map(json.loads, (audited.parent / "finetuned" / "members.jsonl").open())}
    lines = page.locator("#records-list > table > tbody > tr")
    best = lines.first.locator("th").inner_text()
    lines.first.get_by_role("button").click()
    shown = " ".join(page.locator("tr.drill").inner_text().split())
    assert " ".join(texts[best].split())[-60:] in shown, (
        "its first token follows nothing, so that nothing is surprised by it"
    )
    page.fill("#records-filter", "no such record")
    expect(lines.locator("th")).to_have_count(0)


@pytest.mark.parametrize(("viewport", "dark"), [(DESK, False), (PHONE, True)])
def test_it_is_accessible_fits_turns_dark_and_prints(opened, audited, viewport, dark):
    page = opened(audited / "report.html", viewport, color_scheme="dark" if dark else "light")
    reads_well(page, viewport, dark)
