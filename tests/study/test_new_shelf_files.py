"""One new file extends a shelf: a study, its rows, its report and the shelf lists know the new entry."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import byheart
from testing.stores import lora_study

DROPPED = {
    "attacks": '''
"""A made-up attack, "On dropping files", arXiv 0000.00000."""
import numpy as np
def dropped(target, *, power: float = 1.0):
    """Sum of log-probabilities to a power; higher means member."""
    return np.add.reduceat(target.logp.astype(float), target.starts[:-1]) * power
''',
    "methods": '''
"""Trains the last normalisation only."""
from byheart.lm.load import TrainableModel
def dropped(model, *, learning_rate: float = 0.01):
    """Train what has one dimension."""
    for weight in model.module.parameters():
        weight.requires_grad_(weight.ndim == 1)
    return TrainableModel(model.module, learning_rate)
''',
    "datasets": '''
"""Sixty numbered sentences."""
from byheart.core import Examples, Texts
def dropped(*, count: int = 60):
    """Sentences that count."""
    texts = Texts(tuple(f"n{i}" for i in range(count)), tuple(f"Sentence number {i} speaks of {i * i} things and {i + 7} more." for i in range(count)))
    return Examples(texts, ("pool",) * count, texts.ids)
''',
    "metrics": '''
"""The highest score among members."""
from byheart.core.types import Estimate
def dropped(scores, membership):
    """Highest score of a member."""
    return Estimate(float(scores[membership].max()))
''',
    "figures": '''
"""An empty frame."""
import altair as alt
from byheart.analysis.chart import Figure
def dropped(rows):
    """A figure with a title that says how many rows there are."""
    return Figure(f"dropped figure of {len(rows)} rows", alt.Chart(alt.NamedData(name="one")).mark_point(), {"one": [{"n": 1}]})
''',
}


BETWEEN = "--- next ---\n"
TYPED = f"""
import sys
from byheart.cli.main import main
place = sys.argv[1]
for words in (
    ["run", f"{{place}}/s.yaml", "--store", f"{{place}}/st"],
    ["rows", "--store", f"{{place}}/st", "--format", "json"],
    ["report", "--store", f"{{place}}/st", "-o", f"{{place}}/r.html"],
    ["shelf", "attacks"],
):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
    print({BETWEEN!r}, end="")
"""


def test_each_shelf_grows_by_one_file_and_no_other_edit(tiny_folder, tmp_path):
    package = Path(byheart.__file__).parent
    shutil.copytree(package, tmp_path / "lib" / "byheart", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in DROPPED.items():
        (tmp_path / "lib" / "byheart" / name / "dropped.py").write_text(text)
    study_path = tmp_path / "s.yaml"
    study_path.write_text(
        json.dumps(
            lora_study(
                tiny_folder("llama"),
                methods=["dropped"],
                datasets=["dropped"],
                attacks=["loss", {"dropped": {"power": 2}}],
                metrics=["auc", "dropped"],
            )
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "lib"), "OMP_NUM_THREADS": "1"}
    made = subprocess.run(
        [sys.executable, "-c", TYPED, tmp_path], env=environment, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    _, rows, _, listed, _ = made.stdout.split(BETWEEN)
    rows = json.loads(rows)
    assert {r["method"] for r in rows} == {r["dataset"] for r in rows} == {"dropped"}
    assert {(r["attack"], r["attack_settings"]) for r in rows if r["metric"] == "dropped"} == {
        ("loss", ""),
        ("dropped", "power=2.0"),
    }
    assert f"dropped figure of {len(rows)} rows" in (tmp_path / "r.html").read_text()
    assert "dropped" in listed
