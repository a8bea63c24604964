"""What a step is made of, each promise by itself: weights, masks, smoothing, clipping, rates, precision, what is skipped; and what a
resumed run remembers."""

import itertools
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from closeness import assert_close
from torch import nn

import zoo
from zoo import api, folders, runs
from zoo.adaptation.model import AdaptedModel
from zoo.config import OptimConfig, resolve
from zoo.data import open_splits
from zoo.data.loading.loaders import Batch
from zoo.evaluation import metrics
from zoo.scale import Scale
from zoo.training import assembly as jobs
from zoo.training import launch, loop, optim
from zoo.training.collect import collect, prepare
from zoo.training.optim import losses
from zoo.training.probe import solved_head
from zoo.training.probe.sweep import Candidate
from zoo.training.trackers import Trackers
from zoo.types import Task

VIT = "timm/test_vit.r160_in1k"
SMALL = {
    "backbone": VIT, "weights": "random", "image_size": 32, "precision": "no", "device": "cpu", "drop_path": 0.0, "augment": "none",
    "num_workers": 0, "tensorboard": False, "engine": "torch", "batch_size": 16, "head": "cosine", "strategy": "full",
}  # fmt: skip
"""With a head whose first outputs are not zero."""


@pytest.fixture
def made(tmp_path):
    """A job, its run and its machine, by options of `finetune`; one run a test, however often it is opened."""

    def make(**options):
        resolved = resolve([("flag", {**SMALL, **options, "out": str(tmp_path / "run")})])
        splits = open_splits(resolved.config)
        machine = launch.accelerator(resolved.config)
        model = jobs.build_model(resolved.config, splits)
        job = jobs.make_job(resolved.config, splits, model, metrics.resolve("accuracy"), machine)
        run = runs.open_run(tmp_path / "run") if (tmp_path / "run").exists() else runs.create(resolved, {})[0]
        return job, run, machine

    return make


def one_step(job, machine, batch=None):
    """The loss of a first step, the gradients that it leaves, and its batch, logits included."""
    model = prepare(job.model, machine.device)
    ((_, (drawn,)),) = job.train.steps(0, 1)
    batch = batch or drawn
    wrapped, prepared = machine.prepare(model, optim.build_optimizer(model, job.config.optim))
    wrapped.train()
    with torch.no_grad():
        logits = AdaptedModel.forward(model, batch.inputs)
    loss, _ = loop.train_step(job, machine, wrapped, prepared, [batch], 0)
    return loss, {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}, batch, logits


class TestLoss:
    def test_a_sample_that_fills_a_place_does_not_count(self, made):
        job, _, machine = made()
        ((_, (batch,)),) = job.train.steps(0, 1)
        filled = Batch(*(torch.cat([part, part[:3]]) for part in (batch.inputs, batch.targets, batch.weights, batch.indices)))
        filled.weights[-3:] = 0
        loss, gradients, *_ = one_step(job, machine, batch)
        job, _, machine = made()
        other, others, *_ = one_step(job, machine, filled)
        assert_close(other, loss)
        assert gradients.keys() == others.keys()
        for name, gradient in gradients.items():
            assert_close(others[name], gradient)

    def test_it_is_the_mean_over_the_step(self, made):
        loss, _, batch, logits = one_step(*made()[::2])
        assert_close(loss, F.cross_entropy(logits, batch.targets))

    def test_balanced_classes_weigh_by_their_size(self, made):
        loss, _, batch, logits = one_step(*made(class_weights="balanced")[::2])
        counts = np.bincount(open_splits(resolve([]).config).train.targets)
        weights = torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32)[batch.targets]
        each = F.cross_entropy(logits, batch.targets, reduction="none")
        assert_close(loss, (weights * each).mean())
        assert abs(loss - each.mean().item()) > 1e-3

    def test_labels_are_smoothed(self, made):
        loss, _, batch, logits = one_step(*made(label_smoothing=0.4)[::2])
        assert_close(loss, F.cross_entropy(logits, batch.targets, label_smoothing=0.4))
        assert abs(loss - F.cross_entropy(logits, batch.targets).item()) > 1e-2

    def test_several_labels_are_smoothed_each(self):
        logits, targets = (
            torch.randn(6, 4, generator=torch.Generator().manual_seed(0)),
            (torch.arange(24).reshape(6, 4) % 3 == 0).float(),
        )
        found = losses(Task.MULTILABEL, logits, targets, label_smoothing=0.2)
        said = torch.where(targets == 1, 0.9, 0.1)
        expected = -(said * F.logsigmoid(logits) + (1 - said) * F.logsigmoid(-logits)).mean(dim=1)
        assert_close(found, expected)

    def test_values_are_in_units_of_their_spread(self):
        outputs, targets = torch.tensor([[3.0, 10.0]]), np.array([[1.7e9 + 4.0, 30.0]])
        learnt = torch.from_numpy(Scale((1.7e9, 10.0), (2.0, 5.0)).standardised(targets))
        assert_close(losses(Task.REGRESSION, outputs, learnt), [(1.0 + 36.0) / 2])

    @pytest.mark.parametrize("clip", [0.05, 1e9])
    def test_gradients_are_clipped_where_they_are_longer(self, made, clip):
        _, gradients, *_ = one_step(*made(clip=clip)[::2])
        norm = torch.stack([one.norm() for one in gradients.values()]).norm()
        assert norm == pytest.approx(0.05, rel=1e-3) if clip == 0.05 else norm > 0.1


class TestRates:
    def test_each_stage_before_the_last_learns_more_slowly(self):
        model = AdaptedModel.build(VIT, 4, strategy="full", weights="random", image_size=32)
        groups = optim.parameter_groups(model, OptimConfig(lr=0.1, backbone_lr_scale=0.5, stage_decay=0.5))
        rates = {name: group["lr"] for group in groups for name in group["names"]}
        stages = model.backbone.stages
        for number, stage in enumerate(stages):
            found = [rates[f"backbone.net.{name}"] for name in stage.parameters]
            assert found == pytest.approx([0.1 * 0.5 * 0.5 ** (len(stages) - 1 - number)] * len(found))
        assert rates["head.weight"] == 0.1


class TestSeeds:
    def test_every_forward_has_one_of_its_own(self):
        seeds = set()
        for key in itertools.product(range(2), range(3), range(3), range(3)):
            for _ in range(2):
                loop.seed_forward(*key)
                seeds.add(torch.initial_seed())
        assert len(seeds) == 2 * 3 * 3 * 3

    def test_each_micro_batch_of_each_step_is_seeded(self, tmp_path):
        seen = []

        class Watching(nn.Linear):
            def forward(self, features):
                if self.training:
                    seen.append(torch.initial_seed())
                return super().forward(features)

        zoo.finetune(**{**SMALL, "head": Watching, "accumulate": 2, "epochs": 3 / 79}, out=str(tmp_path / "run"))
        expected = []
        for step, part in itertools.product(range(3), range(2)):
            loop.seed_forward(0, step, part, 0)
            expected.append(torch.initial_seed())
        assert seen[-6:] == expected


class TestPrecision:
    def test_validation_is_in_fp32_whatever_training_is_in(self, made):
        job, _, machine = made(precision="bf16")
        model = prepare(job.model, machine.device)
        machine.prepare(model, optim.build_optimizer(model, job.config.optim))
        (batch, *_) = job.val
        with torch.no_grad():
            exact = AdaptedModel.forward(model.eval(), batch.inputs)
            rough = model(batch.inputs)  # as Accelerate runs the steps
        logits, _ = collect(model, job.val, machine.device)
        assert_close(logits[: len(exact)], exact)
        with pytest.raises(AssertionError):
            assert_close(logits[: len(exact)], rough.float())

    def test_steps_that_are_skipped_prove_nothing_and_the_scale_is_kept(self, made):
        """Scaled by 2^127, the first losses are infinite: until the scale has come down, no tensor has trained."""
        job, run, machine = made(epochs=60 / 79, lr=1e-3, strategy="linear-probe")
        machine.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=10_000, backoff_factor=0.97)
        before = [parameter.clone() for parameter in job.model.head.parameters()]
        state = loop.train(job, run, machine, Trackers())
        assert state.step == 60
        assert not any(torch.equal(one, other) for one, other in zip(before, job.model.head.parameters(), strict=True))
        scale = machine.scaler.get_scale()
        assert scale < 2.0**127 * 0.97**4  # more than three were skipped
        job, run, machine = made(epochs=60 / 79, lr=1e-3, strategy="linear-probe")
        machine.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
        loop.train(job, run, machine, Trackers())
        assert machine.scaler.get_scale() == scale


def test_a_solved_head_is_the_candidate():
    rng = np.random.default_rng(0)
    model = AdaptedModel.build(VIT, 2, strategy="lp-ft", weights="random", image_size=32, task="regression")
    width = model.backbone.feature_dim
    weight, bias = rng.normal(size=(2, width)).astype(np.float32), np.array([900.0, 2.0], np.float32)
    solved_head.put(Candidate("centred", 1.0, weight, bias, 1, True, 0.5), model)
    images = model.backbone.preprocess.example(3)
    with torch.no_grad():
        features = model.backbone(model.backbone.ready(images))
        assert_close(model(images), features @ torch.tensor(weight).T + torch.tensor(bias))


def as_if_killed(run, place, step):
    """A copy of a finished run as it was just after the checkpoint of a step."""
    shutil.copytree(run.path, place)
    for path in place.glob("checkpoints/step-*"):
        if path.name > f"step-{step:08d}":
            shutil.rmtree(path)
    for name in ("result.json", "training.json"):
        (place / name).unlink()
    return place


class TestResuming:
    def test_patience_and_the_best_are_remembered(self, tmp_path):
        """At a rate of next to 0 every evaluation ties with the first: it stays the best, and patience has run out three later."""
        options = {**SMALL, "lr": 1e-12, "epochs": 9, "patience": 3, "keep": 99, "batch_size": 128}
        run = zoo.finetune(**options, out=str(tmp_path / "run"))
        assert [(line["step"], line["best"]) for line in run.metrics()] == [(10, True), (20, False), (30, False), (40, False)]
        resumed = api.resume(as_if_killed(run, tmp_path / "killed", 30))
        assert [(line["step"], line["best"]) for line in resumed.metrics()] == [
            (line["step"], line["best"]) for line in run.metrics()
        ]
        assert resumed.result()["best_step"] == 10
        assert folders.sha256(resumed.best / "model.safetensors") == folders.sha256(run.best / "model.safetensors")

    def test_the_last_step_is_evaluated_whenever_evaluations_are_due(self, tmp_path):
        run = zoo.finetune(**SMALL, epochs=5 / 79, eval_every=2 / 79, out=str(tmp_path / "run"))
        assert [line["step"] for line in run.metrics()] == [2, 4, 5]
