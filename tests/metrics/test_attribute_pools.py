"""Simulated models on the complete path, from the data set to the marks of the table, for each pool of candidates."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from byheart.core.evidence import Candidates, Variants
from byheart.core.types import Texts
from byheart.data.private_attributes import other_values
from byheart.data.splitting import split
from byheart.datasets.records import records
from byheart.lm.tokens import tokenize
from byheart.metrics._candidate_pools import candidate_pools, top1_and_reciprocal_rank
from byheart.metrics.attribute_inference import attribute_inference
from byheart.observations.candidates import candidates
from byheart.tables.attributes import attributes
from testing.evidence import alone
from testing.made_up import study
from testing.reading import scorer


@pytest.fixture(scope="module")
def assigned():
    return split(records(count=200), train=80, members=48, nonmembers=48, validation=32, seed=1)


@pytest.fixture(scope="module")
def read(assigned, tiny_folder):
    """Candidates of synthetic records, as a study makes them."""
    from byheart.lm.load import load

    model = load(str(tiny_folder("llama")))
    tokens = tokenize(model.tokenizer, assigned.audited, 128)
    return candidates(scorer(model), tokens, assigned.attributes, assigned.validation_attributes)


def planted(made, assigned, *, trained=0.0, bound=0.0):
    """Log-probabilities under a model that adds these numbers to trained values and to a member's true value."""
    chance = np.random.default_rng(5)
    lengths = np.diff(made.offsets) - made.first
    base = -60 + chance.normal(size=len(made.values))
    text = "\n".join(assigned.training_texts.scored)
    seen = np.array([v in text for v in made.values])
    is_true = np.isin(np.arange(len(made.values)), made.starts[:-1])
    own = is_true & np.repeat(assigned.membership[made.text], np.diff(made.starts))
    tuned = base + trained * seen + bound * own + 0.1 * chance.normal(size=len(base))
    return (Variants(loglik=x / lengths, starts=made.starts) for x in (tuned, base))


def measure(made, assigned, **effects):
    found = attribute_inference(
        made, *planted(made, assigned, **effects), assigned.membership, assigned.groups, assigned.training_texts
    )
    rows = [
        replace(
            study(methods=("full",), epochs=(1,))[0], attack="", attack_settings="", metric="attribute_inference",
            metric_settings=n, value=e.value, low=e.low, high=e.high, members=e.members, nonmembers=e.nonmembers,
        )
        for n, e in found.items()
    ]  # fmt: skip
    table = attributes(rows)
    return found, {row[3]: "*" in row[4] for row in table.rows if row[2] == "all"}


def test_a_preference_for_trained_values_is_no_inference_of_whose_they_are(read, assigned):
    found, marked = measure(read, assigned, trained=50.0)
    unseen, trained = (
        {
            n: found[f"kind=account, pool={pool}, measure={n}"]
            for n in ("top1, of=members", "advantage, over=nonmembers")
        }
        for pool in ("unseen", "trained")
    )
    assert unseen["top1, of=members"].value == 1
    assert unseen["advantage, over=nonmembers"].value > 0.7
    assert trained["top1, of=members"].value < 0.35
    for over in ("nonmembers", "untuned", "majority"):
        lead = found[f"kind=all, pool=trained, measure=advantage, over={over}"]
        assert lead.low < 0 < lead.high
        assert abs(lead.value) < 0.08
    assert marked == {"inferred among unseen values": True, "inferred among trained values": False}


def test_a_model_that_associates_values_with_persons_has_an_advantage_in_both_pools(read, assigned):
    found, marked = measure(read, assigned, trained=50.0, bound=10.0)
    for over in ("nonmembers", "untuned", "majority"):
        assert found[f"kind=all, pool=trained, measure=advantage, over={over}"].low > 0.5
    assert set(marked.values()) == {True}


def test_a_model_that_learned_nothing_has_no_advantage(read, assigned):
    found, marked = measure(read, assigned)
    for pool in ("unseen", "trained"):
        assert found[f"kind=all, pool={pool}, measure=advantage, over=nonmembers"].low < 0
    assert set(marked.values()) == {False}


def test_a_diagnosis_of_many_records_has_trained_candidates_for_nonmembers_too(read, assigned):
    found, _ = measure(read, assigned, trained=50.0)
    lead = found["kind=diagnosis, pool=trained, measure=advantage, over=nonmembers"]
    assert lead.low < 0 < lead.high
    patients = sum("diagnosis" in a for a in assigned.attributes[48:])
    assert lead.nonmembers == patients
    control = found.get("kind=diagnosis, pool=unseen, measure=top1, of=nonmembers")
    assert control is None or control.nonmembers < patients, "a trained diagnosis is no control for unseen ones"


def test_evidence_does_not_depend_on_membership(read, assigned):
    """Candidates are the same when members and non-members trade places; only their order in the texts differs."""
    strings = assigned.audited.scored
    for a in (0, len(read.text) // 2, len(read.text) - 1):
        kind, truth = read.kinds[read.kind[a]], read.values[read.starts[a]]
        pools = (
            sorted({x[kind] for x in named if kind in x})
            for named in (assigned.validation_attributes, assigned.attributes)
        )
        others = other_values(*pools, kind=kind, truth=truth, text=strings[read.text[a]], limit=9)
        assert read.values[read.starts[a] : read.starts[a + 1]] == (truth, *others)
        assert len(others) == 27 or kind == "diagnosis"


def made_by_hand(values, limit=2):
    """One kind; each attribute's values, its own first."""
    flat = tuple(v for own in values for v in own)
    counts = Counter(flat)
    return Candidates(
        kinds=("k",), kind=np.zeros(len(values), int), text=np.arange(len(values)), left_out=np.zeros(1, int),
        starts=np.cumsum([0, *map(len, values)]), ids=np.zeros(2 * len(flat), int), values=flat,
        offsets=2 * np.arange(len(flat) + 1), first=np.ones(len(flat), int), limit=np.array(limit),
        common=np.array([counts[v] for v in flat]),
    )  # fmt: skip


def test_pools_by_hand():
    made = made_by_hand(
        [["a", "x", "b", "y", "c"], ["b", "x", "y", "a", "z"], ["n", "x", "a", "y"], ["c", "x", "y", "b"]]
    )
    membership = np.array([True, True, False, False])
    unseen, trained = candidate_pools(made, membership, ["It is a.", "It is b, and c again: c.", "xy"])
    assert [made.values[r] for r in np.flatnonzero(unseen.chosen)] == [*"xy", *"xyz", *"xy", *"xy"]
    assert unseen.has_candidates.tolist() == [True, True, True, False], "c was trained on, so it is no control"
    assert [made.values[r] for r in np.flatnonzero(trained.chosen)] == [*"bc", *"a", *"xy", *"b"]
    assert trained.texts_with_value[made.starts[:-1]].tolist() == [1, 1, 0, 1], "texts count, not occurrences"
    # Members have two candidates and one: a non-member with two has the mean share.
    scores = np.array([*(0, 9, -1, 9, -1), *(0, 9, 9, 1, 9), *(0, -1, 9, 1), *(0, 9, 9, -1)], dtype=float)
    top1, reciprocal = top1_and_reciprocal_rank(scores, made, trained)
    assert top1.tolist() == [1, 0, 0.5, 1]
    assert reciprocal.tolist() == [1, 0.5, 0.75, 1]


def test_a_value_inside_a_longer_word_or_number_does_not_count():
    made = made_by_hand([["33", "44"], ["55", "66"]])
    _, trained = candidate_pools(made, np.array([True, False]), ["133 and 44a and 55. 66"])
    assert (trained.texts_with_value > 0).tolist() == [True, False, True, True]


def test_values_of_unaudited_training_texts_count():
    made = made_by_hand([["a", "b"], ["c", "d"]])
    found = attribute_inference(
        made, *(Variants(loglik=np.array([0.0, x, 0, -1]), starts=made.starts) for x in (-1.0, -2.0)),
        np.array([True, False]), alone(2), Texts(("t",), ("d",), ("b was the prompt",)),
    )  # fmt: skip
    assert found["kind=k, pool=trained, measure=top1, of=members"].value == 1
    assert "kind=k, pool=unseen, measure=top1, of=members" not in found
