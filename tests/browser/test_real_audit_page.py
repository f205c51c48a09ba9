"""Report page of a real audit in a browser: a fully fine-tuned model, audited from its weights and files of texts."""

import json

import pytest
from playwright.sync_api import expect

from byheart.analysis import labels
from byheart.core.types import Row
from byheart.lm.base_models import default_base
from byheart.store.store import Store
from byheart.study.plan import plan
from byheart.study.study_file import read_study
from testing.browser_page import DESK, PHONE, numbers, reads_well
from testing.stores import QUICKSTART, SMALLER
from testing.typed import byheart


def lines(texts):
    return "".join(json.dumps({"id": i, "text": s}) + "\n" for i, s in zip(texts.ids, texts.scored, strict=True))


@pytest.fixture(scope="module")
def audited(real_folder, tmp_path_factory):
    """Folder of an audit whose page contains the texts of exposed records."""
    folder = tmp_path_factory.mktemp("audited")
    store = Store.open(real_folder / "store")
    (planned,) = plan(read_study(QUICKSTART, [*SMALLER, "methods=[full]"]), store)
    split, few = planned.split, 24
    texts = {
        "members": split.train.take(split.members[:few]),
        "nonmembers": split.nonmembers.take(range(few)),
        "validation": split.validation,
    }
    for name, of in texts.items():
        (folder / f"{name}.jsonl").write_text(lines(of))
    made = byheart(
        *("audit", "--model", store.folder("training", planned.key) / "model", "--base", default_base()),
        *("--members", folder / "members.jsonl", "--nonmembers", folder / "nonmembers.jsonl"),
        *("--validation", folder / "validation.jsonl", "--max-tokens", "64", "--fpr", "0.1"),
        *("--show-text", "--annex", "edpb,aisvs,nist,aiact,atlas", "-o", folder / "audit"),
    )
    assert made.returncode == 0, made.stderr
    return folder / "audit"


def test_it_shows_rows_records_and_texts(opened, audited):
    rows = [Row(**r) for r in json.loads((audited / "rows.json").read_text())]
    page = opened(audited / "report.html")
    assert "Leaks: " in page.locator("main").inner_text()
    assert "claims no compliance" in page.locator("#annex").inner_text()
    for attack in page.locator("[data-pick=attack]").evaluate("e => [...e.options].map(o => o.value)"):
        page.select_option("[data-pick=attack]", attack)
        expect(page.locator("figure:has(.drawn[data-name=loss_density]) .picked")).to_contain_text(attack)
        (row,) = [r for r in rows if r.metric == "auc" and r.epoch and labels.attack_name(r.attack) == attack]
        (auc,) = {float(line["AUC"]) for line in numbers(page, "loss_density") if line["method"] != "base model"}
        assert auc == pytest.approx(row.value, abs=1e-5)
    texts = {r["id"]: r["text"] for r in map(json.loads, (audited.parent / "members.jsonl").open())}
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
