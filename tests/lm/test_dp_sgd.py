"""Private training against a plain loop: clipping, noise, sampling, the accountant, errors, resumption."""

import math
import sys

import numpy as np
import pytest
import torch

import byheart
from byheart.core import registry
from byheart.core.config import Privacy, Training
from byheart.core.errors import ModelError, SettingError
from byheart.core.types import Texts
from byheart.lm import train
from byheart.lm.dp_sgd import PrivateGradients
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import tokenize
from byheart.stats.dp_accounting import DpSgdParameters, dp_sgd_parameters
from byheart.store.store import Store
from byheart.study import train_and_observe
from byheart.study.estimate import cell_estimates, plan_table
from byheart.study.study_file import parse_study as parsed
from testing.made_up import tiny_study

KEY = "00000000000000ab"
METHODS = ("dp_lora", "dp_full")


def tokens_of(model, sentences):
    return tokenize(model.tokenizer, Texts(tuple(map(str, range(len(sentences)))), tuple(sentences)), 64)


def made(model, method, **settings):
    train.seed_rngs(KEY)
    tuned = registry.choose("methods", method, settings)(model)
    return train.with_hidden_cache(LanguageModel(tuned.module, model.tokenizer, model.name))


def run(model, tokens, training, spent, *, start=None, rate=1e-2):
    return train.train(
        model,
        tokens,
        training=training,
        learning_rate=rate,
        key=KEY,
        precision=torch.float32,
        budget=200,
        resume_from=start,
        dp_parameters=spent,
    )


def quiet(**changed):
    """Privacy parameters with almost no noise."""
    return DpSgdParameters(
        **{"noise_multiplier": 1e-9, "clip": 0.05, "delta": 1e-3, "rate": 0.4, "steps": 3, **changed}
    )


@pytest.mark.parametrize("method", METHODS)
def test_clipped_gradients_equal_a_plain_loop(tiny, architecture, method, sentences):
    model = made(tiny(architecture), method)
    tokens = tokens_of(model, sentences[:5])
    parameters = list(train.trainable_parameters(model.module).values())
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.05 * torch.randn_like(parameter))
    spent, chosen = quiet(), np.array([0, 3, 4])
    expected = [torch.zeros_like(p) for p in parameters]
    norms = []
    for i in chosen:
        ids = torch.tensor(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])
        logp = model.module(input_ids=ids[None]).logits[0].float().log_softmax(1)
        first = int(tokens.first[i])
        loss = -logp[first - 1 : -1].gather(1, ids[first:, None]).mean()
        own = torch.autograd.grad(loss, parameters, allow_unused=True)
        own = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, own, strict=True)]
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in own)))
        scale = min(1, spent.clip / norms[-1])
        expected = [total + g * scale for total, g in zip(expected, own, strict=True)]
    assert min(norms) > spent.clip, "nothing was clipped"
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    private = PrivateGradients(optimizer, spent, len(tokens))
    next(private.sampled_batches(np.random.default_rng(0)))
    dropped = [part for part in model.module.modules() if isinstance(part, torch.nn.Dropout)]
    for part in dropped:
        part.p = 0.0
    found = one_step(model, tokens, private, chosen)
    assert found[1] <= spent.clip * len(chosen) / (spent.rate * len(tokens)) + 1e-6
    for p, e in zip(parameters, expected, strict=True):
        torch.testing.assert_close(p.grad, e / (spent.rate * len(tokens)), rtol=2e-3, atol=1e-6)


def one_step(model, tokens, private, chosen):
    from accelerate import Accelerator

    from byheart.lm.loss import StepLoss

    return private.gradients(chosen, StepLoss(model, tokens, Accelerator(cpu=True), torch.float32, 200).gradients)


def test_noise_has_its_standard_deviation_even_where_no_text_is_drawn():
    weight = torch.nn.Parameter(torch.zeros(200, 500))
    spent = quiet(noise_multiplier=1.5, clip=0.2, rate=0.5)
    private = PrivateGradients(torch.optim.AdamW([weight]), spent, 8)
    next(private.sampled_batches(np.random.default_rng(0)))
    private.gradients(np.array([], dtype=int), lambda _: 0.0)
    first = weight.grad.clone()
    assert float(first.std()) == pytest.approx(1.5 * 0.2 / 4, rel=0.01)  # four texts are expected
    assert abs(float(first.mean())) < 5 * 0.075 / math.sqrt(1e5)
    weight.grad = None
    private.gradients(np.array([], dtype=int), lambda _: 0.0)
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), weight.grad.flatten()]))[0, 1])) < 0.02


def test_texts_are_sampled_independently():
    weight = torch.nn.Parameter(torch.zeros(1))
    private = PrivateGradients(torch.optim.AdamW([weight]), quiet(rate=0.1, steps=4000), 30)
    drawn = list(private.sampled_batches(np.random.default_rng(3)))
    assert len(drawn) == 4000
    inside = np.array([np.isin(np.arange(30), d) for d in drawn])
    np.testing.assert_allclose(inside.mean(0), 0.1, atol=5 * math.sqrt(0.09 / 4000))
    # The number per step is that of thirty coins, and coins of different texts are independent.
    assert inside.sum(1).var() == pytest.approx(30 * 0.09, rel=0.1)
    assert np.abs(np.corrcoef(inside.T) - np.eye(30)).max() < 0.09


def test_epsilon_equals_the_accountants():
    from opacus.accountants import PRVAccountant

    spent = dp_sgd_parameters(
        Privacy(epsilon=None, noise_multiplier=1.1, delta=None, clip=1.0), 200, Training(batch_size=16)
    )
    assert (spent.rate, spent.steps, spent.delta) == (0.08, 13, 200**-1.1)
    accountant = PRVAccountant()
    for _ in range(26):
        accountant.step(noise_multiplier=1.1, sample_rate=16 / 200)
    assert spent.epsilon(2) == pytest.approx(accountant.get_epsilon(200**-1.1))
    assert spent.epsilon(0) == 0.0
    assert spent.epsilon(1) < spent.epsilon(2)


@pytest.mark.parametrize("epsilon", [1.0, 8.0, 100.0])
def test_a_target_epsilon_is_reached_at_the_last_epoch_and_not_exceeded(epsilon):
    training = Training(epochs=4, batch_size=10)
    spent = dp_sgd_parameters(Privacy(epsilon=epsilon, noise_multiplier=None, delta=1e-4, clip=1.0), 100, training)
    assert 0.85 * epsilon < spent.epsilon(4) <= epsilon


def test_a_batch_larger_than_the_data_contains_all_texts():
    spent = dp_sgd_parameters(
        Privacy(epsilon=None, noise_multiplier=1.0, delta=None, clip=1.0), 50, Training(batch_size=80)
    )
    assert (spent.rate, spent.steps) == (1.0, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delta": 0.01}, "delta = 0.01: publishing one of 100 training texts"),
        ({"noise_multiplier": 1.0}, "epsilon = 8.0 and noise_multiplier = 1.0"),
        ({"epsilon": None}, "epsilon = None and noise_multiplier = None"),
    ],
)
def test_meaningless_privacy_settings_raise_an_error(settings, message):
    requested = Privacy(**{"epsilon": 8.0, "noise_multiplier": None, "delta": None, "clip": 1.0, **settings})
    with pytest.raises(SettingError, match=message):
        dp_sgd_parameters(requested, 100, Training())


@pytest.mark.parametrize("method", METHODS)
def test_a_model_with_batch_statistics_raises_an_error(tiny, method):
    class Centred(torch.nn.BatchNorm1d):
        def forward(self, hidden):
            return super().forward(hidden.transpose(1, 2)).transpose(1, 2)

    model = tiny("llama")
    model.module.model.norm = Centred(32)
    with pytest.raises(ModelError, match=r"model\.norm\.running_mean \(Centred\)"):
        made(model, method)


@pytest.mark.parametrize("method", METHODS)
def test_resumed_private_training_takes_the_same_steps(tiny, method, sentences):
    training = Training(epochs=3, batch_size=4)
    spent = dp_sgd_parameters(Privacy(epsilon=8.0, noise_multiplier=None, delta=None, clip=0.1), 12, training)
    complete = made(tiny("gpt2"), method)
    tokens = tokens_of(complete, sentences[:12])
    state = next(e.state() for e in run(complete, tokens, training, spent) if e.number == 1)
    complete = made(tiny("gpt2"), method)
    losses = [e.loss for e in run(complete, tokens, training, spent)]
    resumed = made(tiny("gpt2"), method)
    epochs = [(e.number, e.loss) for e in run(resumed, tokens, training, spent, start=(1, state))]
    assert epochs[1:] == [(2, losses[1]), (3, losses[2])]
    assert epochs[0][0] == 1
    for (name, a), b in zip(
        train.trainable_parameters(complete.module).items(),
        train.trainable_parameters(resumed.module).values(),
        strict=True,
    ):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("method", METHODS)
def test_private_training_with_little_noise_learns(tiny, architecture, method, sentences):
    model = made(tiny(architecture), method)
    tokens = tokens_of(model, sentences[:12])
    training = Training(epochs=4, batch_size=4, schedule="constant")
    spent = quiet(noise_multiplier=0.01, rate=1 / 3)
    losses = [e.loss for e in run(model, tokens, training, spent)]
    assert losses[-1] < losses[0] - 0.02
    assert not model.module.training
    assert all(getattr(p, "grad_sample", None) is None for p in model.module.parameters())


# --- from a study file to rows


def content(folder, **changes):
    return tiny_study(folder, **{"methods": ["lora", {"dp_lora": {"epsilon": 4}}], **changes})


@pytest.fixture(scope="module")
def spent(tiny_folder, tmp_path_factory):
    """A finished study: its content, store, and results."""
    written, store = content(tiny_folder("llama")), Store.open(tmp_path_factory.mktemp("spent"))
    return written, store, byheart.run(written, store=store)


def test_plans_and_rows_report_epsilon(spent, tmp_path):
    written, _, results = spent
    store = Store.open(tmp_path)
    free, private = cell_estimates(parsed(written), store)
    assert free.epsilon is None
    assert 3.9 < private.epsilon <= 4
    table = plan_table("tiny", [free, private])
    assert [row[-1] for row in table.rows] == ["no bound", f"{private.epsilon:.2f}"]
    assert not results.failed
    rows = [r for r in results.rows if r.method == "dp_lora"]
    reported = {r.epoch: r.value for r in rows if r.metric == "accountant_epsilon"}
    assert reported[0] == 0 < reported[1] < reported[2] == private.epsilon
    facts = {r.metric: r.value for r in rows if r.epoch is None}
    assert facts["delta"] == pytest.approx(12**-1.1)
    assert facts["noise_multiplier"] > 0.3
    assert not [r for r in results.rows if r.method == "lora" and r.metric in {"accountant_epsilon", "delta"}]


@pytest.mark.slow
def test_a_private_study_killed_between_epochs_ends_with_equal_rows(tiny_folder, tmp_path, monkeypatch):
    written = content(tiny_folder("llama"), methods=[{"dp_lora": {"rank": 2}}], training={"epochs": 3, "batch_size": 4})
    complete = byheart.run(written, store=tmp_path / "whole")
    kept = train_and_observe.save_state

    def stopped(planned, store, epoch, facts, **reported):
        kept(planned, store, epoch, facts, **reported)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_and_observe, "save_state", stopped)
    with pytest.raises(KeyboardInterrupt):
        byheart.run(written, store=tmp_path / "killed")
    monkeypatch.undo()
    resumed = byheart.run(written, store=tmp_path / "killed")
    strip = [[r for r in found.rows if r.metric != "seconds"] for found in (complete, resumed)]
    assert strip[0] == strip[1]


def test_a_meaningless_privacy_setting_raises_an_error_before_any_work(tiny_folder, tmp_path):
    written = content(tiny_folder("llama"), methods=[{"dp_full": {"delta": 0.2}}])
    with pytest.raises(SettingError, match=r"methods dp_full: delta = 0\.2: publishing one of 12 training texts"):
        byheart.run(written, store=tmp_path)
    assert not (tmp_path / "training").exists()


def test_without_opacus_the_error_names_the_fix(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(SettingError, match=r"methods dp_lora: .*pip install 'byheart\[dp\]'"):
        byheart.run(content(tiny_folder("llama")), store=tmp_path)
    assert not (tmp_path / "training").exists()


def test_a_plan_runs_without_opacus_and_reports_that_a_run_requires_it(tiny_folder, tmp_path, monkeypatch):
    store, written = Store.open(tmp_path), content(tiny_folder("llama"))
    known = cell_estimates(parsed(written), store)
    monkeypatch.setitem(sys.modules, "opacus", None)
    free, private = cell_estimates(parsed(written), store)
    assert (free.lacks, private.epsilon, private.private) == ("", None, True)
    assert [c.epochs_to_train for c in known] == [2, 2] == [free.epochs_to_train, private.epochs_to_train]
    table = plan_table("tiny", [free, private])
    assert [row[-1] for row in table.rows] == ["no bound", "unknown"]
    assert table.note.endswith("Before byheart run: " + private.lacks + ".")
    assert private.lacks.endswith("pip install 'byheart[dp]'")
    assert not any(c.lacks for c in known)
    assert "Before" not in plan_table("tiny", known).note
    senseless = content(tiny_folder("llama"), methods=[{"dp_full": {"delta": 0.2}}])
    with pytest.raises(SettingError, match=r"methods dp_full: delta = 0\.2"):
        cell_estimates(parsed(senseless), store)


def test_stored_results_are_read_without_opacus(spent, monkeypatch):
    written, store, results = spent
    monkeypatch.setitem(sys.modules, "opacus", None)
    assert byheart.run(written, store=store).rows == results.rows
    (_, kept) = cell_estimates(parsed(written), store)
    assert (kept.lacks, kept.epsilon) == ("", None)


def test_a_method_with_undeclared_privacy_settings_raises_an_error(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("byheart.methods.dp_lora.PRIVATE", False)
    results = byheart.run(content(tiny_folder("llama"), methods=["dp_lora"]), store=tmp_path)
    assert "PRIVATE = True" in results.failed[0].error
