"""The callback in training by several processes: the same steps, one verdict, sharded weights."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import byheart
from byheart.auditing.training.callback import MemorizationWarning
from byheart.core.errors import ModelError
from byheart.lm.sharding import check_not_sharded
from testing import processes
from testing.training import FOLDERS, gpt2, plain, watched

pytestmark = pytest.mark.usefixtures("training_folders")


def test_sharded_weights_raise_an_error(monkeypatch):
    from torch.distributed.fsdp import fully_shard

    model = gpt2()
    check_not_sharded(model)
    with monkeypatch.context() as patched:
        patched.setattr("transformers.integrations.deepspeed.is_deepspeed_zero3_enabled", lambda: True)
        with pytest.raises(ModelError, match="ZeRO-3"):
            check_not_sharded(model)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(ModelError, match="FSDP2"):
            check_not_sharded(fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (1,))))
    finally:
        torch.distributed.destroy_process_group()


HEAD = """
import sys, warnings, torch
sys.path.insert(0, sys.argv[1])
from testing import training as t
from byheart.auditing.training.monitor import TrainingMonitor
TrainingMonitor.gate = None  # places separate members from non-members, so nothing would stop
t.FOLDERS["gpt2"] = sys.argv[3]
rank = int(__import__("os").environ.get("RANK", 0))
"""
ALIKE = """
made = []
for callbacks in ([], [t.watched(every=2)], [t.watched(stop_above=0.5, every=2)]):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = t.plain(sys.argv[2], t.gpt2(), callbacks, ddp_backend="gloo", num_train_epochs=6)
        trainer.train()
    assert torch.distributed.get_world_size() == 2
    assert not callbacks or bool(callbacks[0].rows) == (rank == 0)
    made.append((trainer.state.global_step, [p.detach().clone() for p in trainer.model.parameters()]))
assert all(torch.equal(a, b) for a, b in zip(made[0][1], made[1][1], strict=True))
said = [made[1][0], made[2][0]]
class Broken(t.MemorizationCallback):
    def _evaluate_and_warn(self, *_):
        raise KeyError("mine")
try:
    t.plain(sys.argv[2], t.gpt2(), [Broken(t.MEMBERS, t.NONMEMBERS)], ddp_backend="gloo").train()
except Exception as error:
    said.append(type(error).__name__)
"""
SHARED = '''
import byheart
from torch.distributed.fsdp import fully_shard
from byheart.attacks.loss import loss
def shared(model, trainer):
    """Share the weights out by hand: on processors without a GPU accelerate would take DistributedDataParallel instead."""
    mesh = torch.distributed.init_device_mesh("cpu", (2,))
    for layer in (model.get_base_model() if hasattr(model, "peft_config") else model).transformer.h:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    trainer.accelerator.prepare_model = lambda model, **_: model
said, weights = [], []
stopping = t.watched(stop_above=0.5, every=2)
for wrap, watches in ((t.gpt2, (None, t.watched(), stopping)), (lambda: t.lora(t.gpt2()), (None, t.watched()))):
    for watch in watches:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = wrap()
            trainer = t.plain(sys.argv[2], model, [watch] if watch else [], num_train_epochs=3, ddp_backend="gloo")
            shared(model, trainer)
            trainer.train()
        whole = {n: p.full_tensor().detach() for n, p in trainer.model.named_parameters()}
        assert any(isinstance(p, torch.distributed.tensor.DTensor) for p in trainer.model.parameters())
        if watch is None:
            weights = whole
        elif watch.stop_above is None:
            assert all(torch.equal(p, weights[n]) for n, p in whole.items())
            assert bool(watch.evaluations) == (rank == 0)
            own = wrap().eval()
            own.load_state_dict(whole, strict=False)
            stats = byheart.token_stats(own, t.tokenizer(), [*t.MEMBERS, *t.NONMEMBERS])
            for look in watch.evaluations[-1:]:
                assert abs(look.scores["loss"] - loss(stats)).max() < 1e-4
            base = byheart.token_stats(t.gpt2().eval(), t.tokenizer(), [*t.MEMBERS, *t.NONMEMBERS])
            for look in watch.evaluations[:1]:
                assert abs(look.scores["loss"] - loss(base)).max() < 1e-4
        else:
            said.append(trainer.state.global_step)
'''
SCRIPTS = {"shared": SHARED, "alike": ALIKE}
"""The one that ends in a failure comes last."""


@pytest.fixture(scope="module")
def two_processes(training_folders, tmp_path_factory):
    """The report of each of two processes at the end of each script. One launch runs both, because torch loads slowly."""
    folder = tmp_path_factory.mktemp("processes")
    for name, code in SCRIPTS.items():
        (folder / f"{name}.py").write_text(HEAD + code + f'open(f"{folder}/{name}.{{rank}}", "w").write(repr(said))\n')
    (folder / "all.py").write_text(
        "".join(f"import runpy\nrunpy.run_path({str(folder / name)!r} + '.py')\n" for name in SCRIPTS)
    )
    words = [Path(__file__).parents[1], folder / "out", FOLDERS["gpt2"]]
    processes.ranks(folder / "all.py", words, folder, ACCELERATE_USE_CPU="1")
    return {n: [ast.literal_eval((folder / f"{n}.{rank}").read_text()) for rank in (0, 1)] for n in SCRIPTS}


def test_two_processes_train_unchanged_stop_together_and_never_deadlock(two_processes):
    first, second = two_processes["alike"]
    assert first[:2] == second[:2]
    assert first[1] < first[0] == 18
    assert (first[2], second[2]) == ("KeyError", "ModelError")


def test_sharded_weights_are_evaluated_by_all_processes(two_processes):
    """FSDP2, full and LoRA: unchanged weights, the scores of the complete model, a common stop."""
    stated = two_processes["shared"]
    assert stated[0] == stated[1]
    assert stated[0][0] < 9


@pytest.mark.parametrize("how", ["FSDP1", "DeepSpeed ZeRO-3", "tensor parallelism"])
def test_other_shardings_warn_and_recommend_an_audit_after_training(tmp_path, monkeypatch, how):
    monkeypatch.setattr("byheart.auditing.training.callback.sharding_kind", lambda _: how)
    trained = plain(tmp_path, gpt2(), [watch := watched()])
    with pytest.warns(MemorizationWarning) as stated:
        trained.train()
    (message,) = [str(w.message) for w in stated if w.category is MemorizationWarning]
    assert how in message
    assert "byheart audit --model" in message
    assert watch.rows == []
    assert trained.state.global_step > 0
    with pytest.raises(ModelError, match=f"{how}.*stop_above and stop_when_leakage_rises"):
        plain(tmp_path, gpt2(), [watched(stop_above=0.6)]).train()


def test_importing_byheart_loads_neither_torch_nor_transformers():
    code = "import sys, byheart; assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    assert "MemorizationCallback" in byheart.__all__
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
