"""What the loop enforces: frozen is inert, trained is trained, rates and decays go where they should, stages of precision."""

import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

import zoo
from zoo import runs
from zoo.adaptation.model import AdaptedModel
from zoo.config import OptimConfig, build, resolve
from zoo.data import open_splits
from zoo.engines import precision
from zoo.errors import AuditFailed, ConfigError, RunFailed
from zoo.evaluation import metrics
from zoo.training import assembly as jobs
from zoo.training import launch, loop, optim
from zoo.training.trackers import Trackers

TINY = {"backbone": "timm/test_resnet.r160_in1k", "weights": "random", "image_size": 32, "precision": "no", "device": "cpu"}
SMALL = {**TINY, "epochs": 0.1, "batch_size": 32, "num_workers": 0, "tensorboard": False, "augment": "none"}


def job_and_run(tmp_path, **options):
    resolved = resolve([("flag", {**SMALL, **options, "out": str(tmp_path / "run")})])
    config = resolved.config
    splits = open_splits(config)
    machine = launch.accelerator(config)
    model = jobs.build_model(config, splits)
    made = jobs.make_job(config, splits, model, metrics.resolve("accuracy"), machine)
    return made, runs.create(resolved, {})[0], machine


class TestAudits:
    @pytest.mark.parametrize("kind", ["parameter", "buffer"])
    def test_a_frozen_tensor_that_moves_fails_the_run(self, tmp_path, kind):
        job, run, machine = job_and_run(tmp_path)
        net = job.model.backbone.net
        tensors = dict(net.named_parameters() if kind == "parameter" else net.named_buffers())
        name = "layer1.0.conv1.weight" if kind == "parameter" else "bn1.running_mean"

        def drift(*_):
            with torch.no_grad():
                tensors[name].add_(1e-6)

        net.register_forward_hook(drift)
        with pytest.raises(AuditFailed, match=name.replace(".", r"\.")):
            loop.train(job, run, machine, Trackers())

    def test_batch_norm_that_is_left_in_training_mode_is_caught(self, tmp_path):
        job, run, machine = job_and_run(tmp_path)
        bad = job.model.backbone.net.bn1
        job.model.backbone.net.register_forward_pre_hook(lambda *_: bad.train() and None)
        with pytest.raises(AuditFailed, match="bn1.running_mean"):
            loop.train(job, run, machine, Trackers())

    def test_a_tensor_that_never_trains_fails_the_run(self):
        class Idle(nn.Module):
            def __init__(self, width, count):
                super().__init__()
                self.used, self.unused = nn.Linear(width, count), nn.Linear(width, count)

            def forward(self, features):
                return self.used(features)

        with pytest.raises(AuditFailed, match=r"head\.unused\.weight"):
            zoo.finetune(**SMALL, head=Idle, out="r")

    def test_nothing_is_wrong_with_a_good_run(self, tmp_path):
        job, run, machine = job_and_run(tmp_path, strategy="lora:2", lr=1e-3)
        state = loop.train(job, run, machine, Trackers())
        assert state.step == job.total_steps == 4


class TestOptimiser:
    @pytest.fixture
    def model(self):
        return AdaptedModel.build(TINY["backbone"], 4, strategy="full", weights="random", image_size=32)

    def test_rates_and_decays(self, model):
        config = OptimConfig(lr=0.1, backbone_lr_scale=0.01, weight_decay=0.5)
        groups = optim.parameter_groups(model, config)
        found = {name: (group["lr"], group["weight_decay"]) for group in groups for name in group["names"]}
        assert set(found) == set(dict(model.named_parameters()))
        for name, parameter in model.named_parameters():
            rate = 0.1 if name.startswith("head.") else 0.001
            assert found[name] == (pytest.approx(rate), 0.5 if parameter.ndim > 1 else 0.0), name

    def test_lora_matrices_do_not_decay(self):
        model = AdaptedModel.build(TINY["backbone"], 4, strategy="lora:2", weights="random", image_size=32)
        groups = optim.parameter_groups(model, OptimConfig(weight_decay=0.5))
        decayed = [name for group in groups if group["weight_decay"] for name in group["names"]]
        assert decayed == ["head.weight"]

    @pytest.mark.parametrize("name", ["adamw", "sgd"])
    def test_state_by_name_comes_back(self, model, name):
        config = OptimConfig(optimizer=name, lr=0.01)
        first = optim.build_optimizer(model, config)
        model.train()(torch.randn(4, 3, 32, 32)).sum().backward()
        first.step()
        state = optim.named_state(first)
        second = optim.build_optimizer(model, config)
        optim.load_named_state(second, state)
        again = optim.named_state(second)
        assert state.keys() == again.keys()
        assert all(torch.equal(state[key], again[key]) for key in state)

    @pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
    def test_the_schedule_warms_up_and_ends(self, schedule):
        config = OptimConfig(schedule=schedule, warmup=0.1)
        factors = [optim.scale(step, 100, config) for step in range(100)]
        assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
        assert factors[10] == 1.0
        assert max(factors) == 1.0
        assert all(a >= b for a, b in pairwise(factors[10:]))
        expected = {"cosine": 0.5 * (1 + np.cos(np.pi * 89 / 90)), "linear": 1 - 89 / 90, "constant": 1.0}
        assert factors[-1] == pytest.approx(expected[schedule])


class TestPrecision:
    def test_fp16_on_a_cpu_is_an_error(self):
        with pytest.raises(ConfigError, match="needs a GPU"):
            precision.resolve_precision("fp16", torch.device("cpu"))

    def test_auto_is_what_the_hardware_does(self, caplog):
        chosen = precision.resolve_precision("auto", torch.device("cpu"))
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        has = "avx512_bf16" in flags or "amx_tile" in flags
        assert chosen == ("bf16" if has else "no")
        with caplog.at_level(logging.WARNING):
            assert precision.resolve_precision("bf16", torch.device("cpu")) == "bf16"
        assert bool(caplog.records) is not has

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_gpu_that_is_not_there(self):
        with pytest.raises(ConfigError, match="no GPU"):
            precision.resolve_device("cuda")


def test_as_many_processes_as_asked_or_an_error():
    with pytest.raises(ConfigError, match="1 processes are running and 2 were asked for"):
        launch.accelerator(build({"processes": 2, "device": "cpu", "precision": "no"}))


def test_two_processes_evaluate_every_picture_once_and_one_writes(tmp_path):
    """269 images do not divide by two; batches of 17 leave a ragged end. Batch-norm rests, so both see the same network."""
    options = {**SMALL, "strategy": "partial:1", "batch_size": 34, "lr": 1e-3}
    one = zoo.finetune(**options, out=str(tmp_path / "one"))
    two = zoo.finetune(**options, processes=2, out=str(tmp_path / "two"))
    first, second = one.metrics()[-1]["metrics"], two.metrics()[-1]["metrics"]
    assert first == pytest.approx(second, abs=1e-4)
    assert len(two.metrics()) == len(one.metrics()) == 1
    assert sorted(path.name for path in one.path.iterdir()) == sorted(path.name for path in two.path.iterdir())


def test_the_last_line_of_metrics_is_what_scikit_learn_measures(tmp_path):
    run = zoo.finetune(**{**SMALL, "lr": 0.5}, refit="train", out=str(tmp_path / "run"))
    splits = open_splits(run.resolved().config)
    pictures = [splits.val.item(index) for index in range(len(splits.val))]
    said = zoo.load(run.best).predict(pictures)
    rows = [[one.probabilities[name] for name in splits.labels.names] for one in said]
    expected = log_loss(splits.val.targets, rows, labels=list(range(10)))
    best = next(line for line in run.metrics() if line["step"] == run.result()["best_step"])
    assert best["metrics"]["log_loss"] == pytest.approx(expected, rel=1e-4)


def test_a_best_model_is_checkpointed_before_it_is_put_into_best(tmp_path):
    """Else a kill between the two leaves a `best/` of a step that no checkpoint knows."""
    job, run, machine = job_and_run(tmp_path)
    state = loop.train(job, run, machine, Trackers())
    checkpointed = run.checkpoints / f"step-{state.best.step:08d}" / "manifest.json"
    assert checkpointed.stat().st_mtime_ns < (run.best / "manifest.json").stat().st_mtime_ns


def test_what_the_compiler_fails_on_is_told_in_one_line(tmp_path):
    with (
        torch.compiler.set_stance("fail_on_recompile"),
        pytest.raises(RunFailed, match=r"the compiled step failed .*leave out --compile"),
    ):
        zoo.finetune(**SMALL, strategy="full", compile=True, out=str(tmp_path / "run"), cache=str(tmp_path / "cache"))
