"""Export of tables, figures and all results to files."""

import pytest

from byheart.core.errors import SettingError
from byheart.core.registry import choose
from byheart.figures.trajectory import trajectory
from byheart.report.export import export, save_figure
from testing.made_up import scored, study
from testing.pages import shown


def test_saving_by_suffix_makes_equal_files(tmp_path):
    for suffix, head in ((".svg", b"<svg"), (".png", b"\x89PNG"), (".PDF", b"%PDF")):
        made = []
        for nth in (0, 1):
            path = tmp_path / f"{nth}{suffix}"
            save_figure(trajectory(study(datasets=("xsum",))), path)
            made.append(path.read_bytes())
        assert made[0].startswith(head)
        # The order of resources in a PDF is random, and the PDF contains their positions.
        assert len(made[0]) == len(made[1]) if suffix == ".PDF" else made[0] == made[1]
    with pytest.raises(SettingError, match=r"x\.gif.*\.svg, \.png, \.pdf"):
        save_figure(trajectory(study()), tmp_path / "x.gif")


def test_an_export_contains_every_table_and_figure_and_all_rows_as_parquet(tmp_path):
    import pyarrow.parquet as pq

    rows = study(datasets=("xsum",), methods=("full",))
    written = {p.name for p in export(tmp_path, shown(rows), [choose("tables", "cells")], [choose("figures", "roc")])}
    assert written == {
        *(f"cells.{e}" for e in ("txt", "md", "tex", "csv", "json")),
        *(f"roc.{e}" for e in ("svg", "png", "pdf")),
        "rows.parquet",
        "scores.parquet",
    }
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == len(rows)
    stored = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    row = next(r for r in rows if r.scores and r.epoch == 3)
    own = [h for h in stored if h["scores"] == row.scores]
    assert [h["score"] for h in own] == scored(rows)(row.scores).scores.tolist()
    assert sum(h["member"] for h in own) == 200
