"""Known records and shadow models: their training texts, sharing between attacks, and cost."""

import dataclasses
import json
import shutil
import sys
import types

import numpy as np
import pytest

import byheart
from byheart.core.dependencies import evaluate_expression
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import Shadows
from byheart.core.split import Examples
from byheart.core.types import Texts
from byheart.data.splitting import split
from byheart.store.result_files import read_arrays
from byheart.store.store import Store
from byheart.study import train_and_observe
from byheart.study.estimate import cell_estimates, plan_table
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.plan import plan
from byheart.study.remaining_work import attack_cost, epoch_work, remaining_work
from byheart.study.shadow_models import shadow_cells, shadow_halves
from byheart.study.study_file import parse_study as parsed
from testing.stores import shadow_study

FEW_DATA = {"train": 16, "members": 10, "nonmembers": 12, "validation": 6, "known": 5, "max_tokens": 60}


def difference(shadows, *, scale: float = 1.0):
    """Mean log-probability gain of shadow models trained on a text over the others; an attack that reads all shadow models."""
    assert isinstance(shadows, Shadows)
    mean = np.add.reduceat(shadows.logp, shadows.starts[:-1], axis=1)
    inside = (mean * shadows.inside).sum(0) / shadows.inside.sum(0)
    outside = (mean * ~shadows.inside).sum(0) / (~shadows.inside).sum(0)
    return scale * (inside - outside)


def content(folder, **changes):
    """The study of `shadow_store` with an attack that reads all shadow models."""
    return shadow_study(
        folder,
        **{
            "attacks": ["loss", "their_shadowed:difference"],
            "observations": [{"shadows": {"models": 4}}],
            **changes,
        },
    )


@pytest.fixture(scope="module", autouse=True)
def their_shadowed():
    module = types.ModuleType("their_shadowed")
    module.difference = difference
    difference.__module__ = "their_shadowed"
    sys.modules["their_shadowed"] = module
    yield
    del sys.modules["their_shadowed"]


@pytest.fixture(scope="module")
def done(shadow_store, tiny_folder, tmp_path_factory):
    """Store with all evidence of the study, the study's content, and the results of a run."""
    store = shadow_store.copied(tmp_path_factory.mktemp("shadows") / "store")
    requested = content(tiny_folder("llama"))
    return store, requested, byheart.run(requested, store=store)


def test_each_audited_text_is_inside_half_of_the_shadows_and_other_training_texts_in_all(done):
    store, requested, _ = done
    (planned,) = plan(parsed(requested), store)
    inside = np.array(shadow_halves(planned, 4))
    assert (inside.sum(0) == 2).all()
    assert (inside[0] == ~inside[1]).all()
    assert (inside[0] != inside[2]).any()
    ids, trained = planned.split.audited.ids, planned.split.train.ids
    rest = tuple(name for i, name in enumerate(trained) if i not in planned.split.members)
    assert set(rest) == set(trained) - set(ids)
    assert len(rest) == len(trained) - 10
    for shadow, half in zip(shadow_cells(planned), inside, strict=True):
        assert shadow.texts["train"].ids == (*np.array(ids)[half], *rest)
        assert shadow.texts["audited"] == planned.texts["audited"]
    assert len({s.key for s in (planned, *shadow_cells(planned))}) == 5


def test_an_adversary_may_know_none_of_the_other_training_texts(done):
    store, requested, _ = done
    alone = {**requested, "observations": [{"shadows": {"models": 4, "rest": False}}]}
    (planned,), (knowing,) = (plan(parsed(a), store) for a in (alone, requested))
    ids = planned.split.audited.ids
    for shadow, other, half in zip(
        shadow_cells(planned), shadow_cells(knowing), shadow_halves(planned, 4), strict=True
    ):
        assert shadow.texts["train"].ids == tuple(np.array(ids)[half])
        assert shadow.key != other.key
    assert evidence_key(planned, planned.observation("shadows"), ModelState(1)) != evidence_key(
        knowing, knowing.observation("shadows"), ModelState(1)
    )


def test_no_held_out_text_is_in_a_shadow_model(done):
    store, requested, _ = done
    (planned,) = plan(parsed(requested), store)
    split = planned.split
    stored = {t.casefold() for t in (*split.known_nonmembers.scored, *split.validation.scored)}
    for shadow in shadow_cells(planned):
        assert not stored & {t.casefold() for t in shadow.texts["train"].scored}
    assert not stored & {t.casefold() for t in split.audited.scored}


@pytest.mark.parametrize("by", ["group", "published"])
def test_a_population_contains_no_copy_of_audited_or_training_texts(by):
    strings = [f"Letter {i % 30} tells of {i % 30 * 7} ships and of {i % 30 + 3} storms." for i in range(120)]
    texts = Texts(tuple(map(str, range(120))), tuple(t.upper() if i % 2 else t for i, t in enumerate(strings)))
    published = tuple("train" if i < 40 else "nonmember" if i < 100 else "validation" for i in range(120))
    examples = Examples(texts, published, tuple(map(str, range(120))))
    if by == "published":
        examples = Examples(
            examples.texts.take([*range(8), *range(40, 120)]),
            (*published[:8], *published[40:]),
            tuple(f"g{i % 44}" for i in range(88)),
        )
    assigned = split(examples, train=8, members=5, nonmembers=5, validation=3, known=3, by=by, near_duplicate=1.0)
    others = {t.casefold() for t in (*assigned.audited.scored, *assigned.train.scored)}
    assert len(assigned.known_nonmembers) == 3
    assert not others & {t.casefold() for t in assigned.known_nonmembers.scored}


def test_shadow_models_memorize_their_training_texts(done):
    _, _, results = done
    assert not results.failed, results.failed
    auc = {r.epoch: r.value for r in results.rows if r.attack == "their_shadowed:difference" and r.metric == "auc"}
    assert auc[0] == 0.5  # the base model, four times


def test_shadow_models_are_trained_once_and_never_score_the_base(done, monkeypatch):
    store, requested, results = done
    recipes = [json.loads(p.read_text())["recipe"] for p in (store.root / "evidence").glob("*/recipe.json")]
    assert sum(r["observation"]["name"] == "base" for r in recipes) == 1
    assert len(list((store.root / "training").iterdir())) == 5
    shadows = next(
        read_arrays(p.parent)
        for p in (store.root / "evidence").glob("*/recipe.json")
        if json.loads(p.read_text())["recipe"]["observation"]["name"] == "shadows"
    )
    assert shadows["population_logp"].shape == (4, shadows["population_starts"][-1])
    assert len(shadows["population_starts"]) == 1 + requested["data"]["known"]
    monkeypatch.setattr("byheart.study.run_cell.observe", lambda *_: pytest.fail("a model was loaded"))
    again = byheart.run({**requested, "attacks": [{"their_shadowed:difference": {"scale": 2.0}}]}, store=store)
    assert not again.failed
    assert len(again.rows) < len(results.rows)


def test_known_texts_are_not_audited(done):
    store, requested, _ = done
    (planned,) = plan(parsed(requested), store)
    members, nonmembers = planned.split.known_members, planned.split.known_nonmembers
    assert len(members) == len(nonmembers) == requested["data"]["known"] == 20
    assert set(members.ids) <= set(planned.split.train.ids)
    assert not {*members.ids, *nonmembers.ids} & set(planned.split.audited.ids)
    assert not set(nonmembers.ids) & {*planned.split.train.ids, *planned.split.validation.ids}


def test_an_attack_on_known_texts_is_refused_without_them(tiny_folder, tmp_path, monkeypatch):
    module = types.ModuleType("their_known")

    def fitted(target, known_members):
        return np.zeros(len(target))

    module.fitted = fitted
    fitted.__module__ = "their_known"
    monkeypatch.setitem(sys.modules, "their_known", module)
    requested = content(tiny_folder("llama"), attacks=["their_known:fitted"], data={**FEW_DATA, "known": 0})
    with pytest.raises(DataError, match=r"^attacks their_known:fitted: .* 0\. Set data\.known to about 50\.$"):
        byheart.run(requested, store=tmp_path / "store")
    requested["data"] = {**FEW_DATA, "known": 7}
    with pytest.raises(SettingError, match=r"data\.members = 10 and data\.known = 7: .*\b16\b"):
        byheart.run(requested, store=tmp_path / "store")


def test_an_unknown_observation_names_the_attack(tiny_folder, tmp_path, monkeypatch):
    module = types.ModuleType("their_unknown")

    def puzzled(target, horoscope):
        return np.zeros(len(target))

    module.puzzled = puzzled
    puzzled.__module__ = "their_unknown"
    monkeypatch.setitem(sys.modules, "their_unknown", module)
    with pytest.raises(DataError, match=r"attacks their_unknown:puzzled.*'horoscope'.*\btexts, .*\bbase, "):
        byheart.run(content(tiny_folder("llama"), attacks=["their_unknown:puzzled"]), store=tmp_path / "store")


def test_the_cost_of_shadow_models_is_planned(done, tiny_folder, tmp_path):
    fresh = Store.open(tmp_path / "fresh")
    (with_shadows,) = plan(parsed(content(tiny_folder("llama"))), fresh)
    (without,) = plan(parsed(content(tiny_folder("llama"), attacks=["loss"])), fresh)
    known = set()
    assert remaining_work(with_shadows, fresh, known) > 3 * remaining_work(without, fresh, set())
    # Cost of shadow models: their training, and two passes at each epoch after 0 (at 0 they are the base model).
    read = sum(len(t) for part in ("audited", "known_nonmembers") for t in with_shadows.texts[part].scored) / 4
    population = sum(map(len, with_shadows.texts["known_nonmembers"].scored)) / 4
    theirs = sum(2 * epoch_work(s) + 2 * read for s in shadow_cells(with_shadows))
    assert remaining_work(with_shadows, fresh, set()) == pytest.approx(
        remaining_work(without, fresh, set()) + theirs + population
    )
    store, requested, _ = done
    (planned,) = plan(parsed(requested), store)
    assert remaining_work(planned, store, set()) == 0


def grouped(folder, path, count, groups, **changes):
    """Return a study of texts in few groups, written to a file."""
    rows = [{"text": f"Letter {i} of {i * 37 % 101} words to {i % groups}.", "group": i % groups} for i in range(count)]
    path.write_text("\n".join(map(json.dumps, rows)))
    data = {"train": 8, "members": 8, "nonmembers": 8, "validation": 2, "near_duplicate": 1.0, "max_tokens": 60}
    return content(folder, datasets=[{"files": {"path": str(path), "group": "group"}}], data=data, **changes)


def test_no_two_shadow_models_have_the_same_training_texts(tiny_folder, tmp_path):
    store = Store.open(tmp_path / "store")
    requested = grouped(tiny_folder("llama"), tmp_path / "rows.jsonl", 40, 10)
    (planned,) = plan(parsed({**requested, "observations": [{"shadows": {"models": 6}}]}), store)
    assert len(set(planned.split.groups)) == 4
    halves = np.array(shadow_halves(planned, 6))  # all halves of four groups, so that a repetition would be detected
    assert len(np.unique(halves, axis=0)) == 6
    assert (halves.sum(0) == 3).all()
    assert len({s.key for s in shadow_cells(planned)}) == 6
    eight = {**requested, "observations": [{"shadows": {"models": 8}}]}
    with pytest.raises(DataError, match=r"observations shadows: models = 8 .*\b4 groups"):
        byheart.run(eight, store=store)


def test_a_shadow_trained_on_the_targets_texts_has_another_key(tiny_folder, tmp_path):
    requested = grouped(tiny_folder("llama"), tmp_path / "rows.jsonl", 40, 10)
    (planned,) = plan(parsed(requested), Store.open(tmp_path / "store"))
    same = dataclasses.replace(planned, shadow_label="shadow 1 of 4")
    assert same.texts["train"] == planned.texts["train"]
    assert same.key != planned.key


def test_evidence_of_shadow_models_contains_their_members_at_every_epoch(done):
    store, requested, _ = done
    cells = plan(parsed({**requested, "seeds": [0, 1]}), store)
    assert not np.array_equal(shadow_halves(cells[0], 4), shadow_halves(cells[1], 4))
    for epoch in (0, 1):
        assert len({evidence_key(c, c.observation("shadows"), ModelState(epoch)) for c in cells}) == 2


def test_the_cost_of_observations_follows_from_their_settings(tiny_folder, tmp_path):
    assert [evaluate_expression(t, {"count": 5}) for t in (2.0, "count", "count + 1", "2 * count")] == [2, 5, 6, 10]
    requested = content(
        tiny_folder("llama"),
        attacks=["recall", "icp", "neighbourhood", "spv"],
        observations=[
            {"nonmember_prefix": {"shots": 3}},
            {"after_masked": {"probes": 4}},
            {"neighbour_texts": {"count": 7}},
        ],
    )
    (planned,) = plan(parsed(requested), Store.open(tmp_path / "store"))
    costs = {a.name: attack_cost(planned, a, 1) for a in planned.attacks}
    assert costs == {"recall": 1 + 4, "icp": 1 + 8, "neighbourhood": 1 + 1 + 7, "spv": 1 + 1 + 1 + 7 + 7}


def test_shadow_models_store_evidence_and_no_weights(done):
    store, requested, _ = done
    (planned,) = plan(parsed(requested), store)
    kept = {key: {p.name for p in store.folder("training", key).iterdir()} for key in (planned.key,)}
    assert kept[planned.key] == {"adapter", "facts.json", "recipe.json"}
    for shadow in shadow_cells(planned):
        assert {p.name for p in store.folder("training", shadow.key).iterdir()} == {"facts.json", "recipe.json"}
    assert not list(store.root.glob("states/*"))


def test_shadow_models_resume_after_an_interruption(done, tiny_folder, tmp_path, monkeypatch):
    """An interruption after a shadow model's first epoch and lost evidence of another do not change the numbers."""
    _, requested, results = done
    fresh = Store.open(tmp_path / "store")
    (planned,) = plan(parsed(requested), fresh)
    broken, kept = shadow_cells(planned)[1], train_and_observe.save_state

    def cut(one, *reported, **named):
        kept(one, *reported, **named)
        if one.key == broken.key:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train_and_observe, "save_state", cut)
        with pytest.raises(KeyboardInterrupt):
            byheart.run(requested, store=fresh)
    assert [p.name for p in fresh.root.glob("states/*")] == [f"{broken.key}-1"]
    lost = shadow_cells(planned)[0]
    fresh.drop("evidence", evidence_key(lost, lost.observation("target"), ModelState(2)))
    again = byheart.run(requested, store=fresh)
    assert not again.failed, again.failed
    numbers = [[r.value for r in run.rows if r.metric == "auc"] for run in (results, again)]
    assert numbers[0] == numbers[1]


def test_the_plan_counts_shadows(done, tiny_folder, tmp_path):
    store, requested, _ = done
    (fresh,) = cell_estimates(parsed(requested), Store.open(tmp_path / "fresh"))
    assert (fresh.epochs_to_train, fresh.shadow_epochs) == (2, 8)
    # The target's: base or target and shadow models at three epochs; each shadow model's: texts and population at two, and the
    # population once at epoch 0, which is the base's.
    assert fresh.observations_to_make == 3 + 3 + 4 * 2 * 2 + 1
    assert "2 epochs, 8 epochs of shadow models" in plan_table("x", [fresh]).rows[0]
    (kept,) = cell_estimates(parsed(requested), store)
    assert (kept.epochs_to_train, kept.shadow_epochs, kept.observations_to_make) == (0, 0, 0)
    (planned,) = plan(parsed(requested), store)
    lost = shadow_cells(planned)[2]
    recipe = evidence_key(planned, planned.observation("shadows"), ModelState(2))
    copy = Store.open(tmp_path / "copy")
    shutil.copytree(store.root, copy.root, dirs_exist_ok=True)
    copy.drop("evidence", recipe)
    copy.drop("evidence", evidence_key(lost, lost.observation("target"), ModelState(1)))
    (some,) = cell_estimates(parsed(requested), copy)
    assert (some.epochs_to_train, some.shadow_epochs, some.observations_to_make) == (2, 1, 2)


def test_errors_of_the_base_model_are_raised_before_a_shadow_model_is_trained(tiny_folder, tmp_path):
    """The error is a corpus that contains an audited text with other spaces and letter case."""
    requested = content(tiny_folder("llama"), attacks=["lira", "dc_pdd"])
    (planned,) = plan(parsed(requested), Store.open(tmp_path / "store"))
    text = planned.split.audited.scored[3]
    (tmp_path / "corpus.txt").write_text(f"Something else.\n{text.upper().replace(' ', '  ')} And more.\n")
    requested["observations"].append({"frequencies": {"source": str(tmp_path / "corpus.txt")}})
    (failed,) = byheart.run(requested, store=tmp_path / "store").failed
    assert "1 of 2 texts of" in failed.error
    assert "observations frequencies" in failed.error
    assert not list((tmp_path / "store").glob("training/*"))
    assert not list((tmp_path / "store").glob("states/*"))


@pytest.mark.parametrize(
    ("attack", "minimum"), [("camia", 10), ("wel", 10), ("rmia", 10), ("recall", 7), ("icp_similar", 10)]
)
def test_too_few_known_texts_are_refused_when_the_study_is_planned(tiny_folder, tmp_path, attack, minimum):
    requested = content(tiny_folder("llama"), attacks=[attack], data=FEW_DATA)
    message = rf"attacks {attack}: .* 5\. Set data\.known to {minimum} or more"
    with pytest.raises(DataError, match=message) as error:
        plan(parsed(requested), Store.open(tmp_path / "store"))
    assert "\n" not in str(error.value)
    if attack == "recall":
        assert "or shots of observations nonmember_prefix to 5" in str(error.value)
        requested["observations"].append({"nonmember_prefix": {"shots": 5}})
        assert plan(parsed(requested), Store.open(tmp_path / "store"))


def test_training_texts_of_a_members_group_are_only_in_shadow_models_of_its_half(tmp_path, tiny_folder):
    """Of the members' last group, some texts are trained on and not audited. A non-members' group has no text in training."""
    path = tmp_path / "users.jsonl"
    rows = [{"text": f"Letter {i} of {i * i} ships and {i + 3} storms.", "user": f"u{i // 5}"} for i in range(200)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    requested = {
        **content(tiny_folder("llama")),
        "datasets": [{"files": {"path": str(path), "group": "user"}}],
        "data": {"train": 60, "members": 33, "nonmembers": 33, "validation": 10, "near_duplicate": 1.0},
        "attacks": ["their_shadowed:difference"],
    }
    (planned,) = plan(parsed(requested), Store.open(tmp_path / "store"))
    split = planned.split
    group = dict(zip(split.train.ids, split.train_groups, strict=True)) | dict(
        zip(split.audited.ids, split.groups, strict=True)
    )
    unaudited = set(split.train.ids) - set(split.audited.ids)
    of_audited_group = {i for i in unaudited if group[i] in split.member_groups}
    assert len(of_audited_group) == 2
    for shadow, half in zip(shadow_cells(planned), shadow_halves(planned, 4), strict=True):
        ids = set(shadow.texts["train"].ids)
        inside = set(np.array(split.groups)[half])
        assert unaudited - of_audited_group <= ids
        assert {group[i] for i in ids - (unaudited - of_audited_group)} == inside
