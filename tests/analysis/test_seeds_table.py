"""The table over seeds and splits: means of the runs, with intervals that hold the truth for other texts, seeds and splits."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from byheart.analysis.pooled_estimates import pooled_over_splits
from byheart.core.errors import DataError
from byheart.core.types import ScoreSet
from byheart.stats.seed_pooling import auc_over_seeds, pool_seed_estimates
from byheart.tables.seeds import seeds
from testing.made_up import scored, study

SEEDS = (0, 1, 2)


def with_splits(rows, splits=("source=x", "source=x, seed=1")):
    """The rows of every split; a split's cells and scores have their own keys."""
    return [
        replace(r, dataset_settings=split, cell=f"{r.cell}/{i}", scores=f"{r.scores}" and f"{r.scores}/{i}")
        for i, split in enumerate(splits)
        for r in rows
    ]


ROWS = with_splits(study(datasets=("webnlg",), methods=("full", "prompt"), seeds=SEEDS))


def line(table, attack):
    (found,) = [dict(zip(table.header, row, strict=True)) for row in table.rows if attack in row]
    return found


def printed(value, ends):
    return f"{value:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"


def test_auc_is_pooled_over_seeds_in_each_split_and_averaged_over_splits():
    scores = scored(ROWS)
    of_split = []
    for split in range(2):
        keys = [f"hub/gpt2/webnlg/full//{seed}/3/loss/{split}" for seed in SEEDS]
        sets = [scores(k) for k in keys]
        of_split.append(
            auc_over_seeds(np.array([s.scores for s in sets]), sets[0].members, sets[0].groups or sets[0].ids)
        )
    ends = np.mean([e for _, e in of_split], axis=0)
    assert line(seeds(ROWS, scores), "Loss")["full"] == printed(np.mean([v for v, _ in of_split]), ends)


def test_other_metrics_are_pooled_from_their_intervals():
    rows = [r for r in ROWS if r.metric == "tpr_at_fpr" and r.epoch == 3 and r.method == "full" and r.attack == "loss"]
    assert len(rows) == 6
    expected = pool_seed_estimates(rows[:3], within=(0, 1))
    shown = line(seeds(ROWS, scored(ROWS), metric="tpr_at_fpr"), "Loss")["full"]
    assert shown == printed(expected.value, (expected.low, expected.high))


def test_perplexity_has_its_own_line_and_the_note_counts_the_runs():
    table = seeds(ROWS, scored(ROWS))
    assert line(table, "validation perplexity")["full"].startswith("17.00 [")
    assert "Mean over 3 seeds and 2 splits of each data set." in table.note
    assert "source=x, seed" not in str(table.rows)


def test_an_epoch_can_be_chosen_and_the_base_model_counts_once_in_each_split():
    table = seeds(ROWS, scored(ROWS), epoch=1)
    assert line(table, "validation perplexity")["full"].startswith("19.00 [")
    assert line(table, "validation perplexity")["base model"] == "20.00 [19.00, 21.00]"


def test_one_run_is_refused():
    rows = study(datasets=("webnlg",), methods=("full",))
    with pytest.raises(DataError, match="one seed and one split"):
        seeds(rows, scored(rows))


@pytest.mark.parametrize("is_shared", [False, True])
def test_intervals_cover_the_true_auc_for_splits_with_and_without_common_texts(is_shared):
    rng, texts, truth, covered, studies = np.random.default_rng(0), 100, 0.7, 0, 300
    rows = [r for r in ROWS if r.metric == "auc" and r.epoch == 3 and r.method == "full" and r.attack == "loss"]
    members, distance = np.arange(2 * texts) < texts, np.sqrt(2) * ndtri(truth)
    for _ in range(studies):
        texts_of = [rng.normal(size=2 * texts) for _ in range(2)]
        sets = {}
        for i, row in enumerate(rows):
            of_text, of_seed = texts_of[0 if is_shared else i // 3], 0.1 * rng.normal()
            noise = np.sqrt(0.5) * rng.normal(size=2 * texts)
            drawn = np.sqrt(0.5) * of_text + noise + members * (distance + of_seed)
            sets[row.scores] = ScoreSet(tuple(map(str, range(2 * texts))), drawn, members)
        estimate = pooled_over_splits(rows, {r.cell: r.dataset_settings for r in rows}, sets.__getitem__)
        covered += estimate.low <= truth <= estimate.high
    assert covered >= 0.94 * studies
