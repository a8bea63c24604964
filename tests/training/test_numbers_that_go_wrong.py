"""What is said and kept where a loss or a gradient is not what it should be; and fp16, whose overflows skip a step.

fp16 is for GPUs; its arithmetic is torch's on the CPU too. Accelerate takes none there, so the scaler and autocast are put into its place.
"""

import csv
import logging
import math

import numpy as np
import pytest
import torch
from test_loop import job_and_run

from zoo import runs
from zoo.config import resolve
from zoo.data import open_splits
from zoo.errors import NonFinite
from zoo.evaluation import metrics
from zoo.training import assembly as jobs
from zoo.training import checkpoint, launch, loop
from zoo.training.trackers import Trackers
from zoo.training.watching import FLAT_STEPS, WINDOW, Watch


class Told:
    """A tracker that keeps what it is told."""

    def __init__(self):
        self.steps = []

    def step(self, step, values):
        self.steps.append(values)

    def evaluation(self, step, record):
        pass

    def close(self):
        pass


class TestLossesThatAreNotFinite:
    def test_the_samples_are_named_and_kept(self, tmp_path):
        job, run, machine = job_and_run(tmp_path)

        def spoil(module, inputs, outputs):
            if module.training:
                return outputs.index_fill(0, torch.tensor([3, 7]), math.nan)

        job.model.head.register_forward_hook(spoil)
        _, batches = next(iter(job.train.steps(0, 1)))
        names = [job.train.name(int(index)) for batch in batches for index in batch.indices]
        with pytest.raises(NonFinite, match=r"the loss is nan at step 0 \(images .*nonfinite\.csv\); lower --lr") as caught:
            loop.train(job, run, machine, Trackers())
        assert f"({names[3]}, {names[7]}; all of" in str(caught.value).replace("images ", "")
        header, *rows = csv.reader((run.path / "nonfinite.csv").read_text().splitlines())
        assert header == ["sample", "loss"]
        assert [name for name, _ in rows] == names
        assert [name for name, loss in rows if not math.isfinite(float(loss))] == [names[3], names[7]]

    def test_an_anomaly_is_named_by_its_operation(self, tmp_path):
        job, run, machine = job_and_run(tmp_path, detect_anomaly=True)
        job.model.head.register_forward_hook(lambda module, inputs, outputs: outputs + torch.sqrt(outputs * 0))
        with pytest.raises(NonFinite, match=r"^Function 'MulBackward0' returned nan values.*test_numbers_that_go_wrong.py"):
            loop.train(job, run, machine, Trackers())
        assert not torch.is_anomaly_enabled()


def test_the_norm_of_the_gradient_is_told(tmp_path):
    job, run, machine = job_and_run(tmp_path, strategy="full", clip=1e-3)
    seen = []

    def keep(parameter):
        seen.append(parameter.grad.double().square().sum().item())

    for parameter in job.model.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(keep)
    told = Told()
    loop.train(job, run, machine, Trackers([told]))
    count = len(job.model.plan.tensors)
    norms = [math.sqrt(sum(seen[start : start + count])) for start in range(0, len(seen), count)]
    assert [values["grad_norm"] for values in told.steps] == pytest.approx(norms, rel=1e-4)  # before it is clipped


class TestWatch:
    def test_a_gradient_that_jumps_is_said_once_for_a_stretch(self, caplog):
        watch = Watch()
        for step in range(60):
            watch.step(step, 1.0 / (1 + step), 1.0 if step < 40 else 30.0)
        (line,) = [record.message for record in caplog.records]
        assert line == "step 40: the norm of the gradient is 30, 30 times the median of the last 40 steps; --clip 2 bounds it"

    @pytest.mark.parametrize("moves", [False, True])
    def test_a_loss_that_does_not_move_is_said_once(self, caplog, moves):
        watch, rng = Watch(), np.random.default_rng(0)
        for step in range(2 * FLAT_STEPS):
            watch.step(step, 2.3 - (0.001 * step if moves else 0) + 1e-4 * rng.standard_normal(), 1.0)
        lines = [record.message for record in caplog.records]
        assert len(lines) == (not moves)
        assert moves or lines[0].startswith(f"the loss has not moved in {FLAT_STEPS} steps (2.3, and 2.3); raise --lr")
        assert WINDOW < FLAT_STEPS


def half_job(tmp_path, name, scale, **options):
    """A job in fp16 on the CPU, whose gradients begin at this scale."""
    small = {"backbone": "timm/test_resnet.r160_in1k", "weights": "random", "image_size": 32, "device": "cpu", "epochs": 0.3}
    small |= {"batch_size": 32, "num_workers": 0, "tensorboard": False, "strategy": "full", "precision": "fp16"}
    resolved = resolve([("flag", {**small, **options, "out": str(tmp_path / name)})])
    splits = open_splits(resolved.config)
    machine = launch.accelerator(resolved.config)
    machine.native_amp, machine.scaler = True, torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=4)
    model = jobs.build_model(resolved.config, splits)
    job = jobs.make_job(resolved.config, splits, model, metrics.resolve("accuracy"), machine)
    path = tmp_path / name
    return job, runs.open_run(path) if path.exists() else runs.create(resolved, {})[0], machine


class TestHalfPrecision:
    def test_it_trains_as_in_full_precision(self, tmp_path):
        job, run, machine = half_job(tmp_path, "half", 2.0**10)
        half = Told()
        loop.train(job, run, machine, Trackers([half]))
        assert {one.dtype for one in job.model.parameters()} == {torch.float32}
        job, run, machine = job_and_run(tmp_path, strategy="full", epochs=0.3)
        whole = Told()
        loop.train(job, run, machine, Trackers([whole]))
        losses = [[values["loss"] for values in told.steps] for told in (half, whole)]
        assert losses[0] != losses[1]
        assert losses[0] == pytest.approx(losses[1], rel=0.02)
        norms = [[values["grad_norm"] for values in told.steps] for told in (half, whole)]
        assert norms[0] == pytest.approx(norms[1], rel=0.1)  # unscaled

    def test_steps_that_overflow_are_skipped_and_not_judged(self, tmp_path):
        """The audit counts three steps that were made, whatever was skipped before."""
        job, run, machine = half_job(tmp_path, "run", 2.0**24)
        before = {name: tensor.clone() for name, tensor in job.model.trained_state().items()}
        told = Told()
        state = loop.train(job, run, machine, Trackers([told]))
        skipped = [not math.isfinite(values["grad_norm"]) for values in told.steps]
        assert skipped[:4] == [True] * 4  # more than the audit looks at
        assert not all(skipped)
        assert machine.scaler.get_scale() < 2.0**24
        assert math.isfinite(state.best.value)
        assert any(not torch.equal(before[name], tensor) for name, tensor in job.model.trained_state().items())

    def test_a_run_that_only_overflows_ends_with_advice(self, tmp_path):
        job, run, machine = half_job(tmp_path, "run", 2.0**10, epochs=3)
        job.model.head.register_forward_hook(lambda module, inputs, outputs: outputs * math.inf if module.training else None)
        with pytest.raises(NonFinite, match="40 steps in a row overflowed in fp16.*use --precision no or bf16"):
            loop.train(job, run, machine, Trackers())

    def test_a_resumed_run_has_the_scale_and_the_bytes_of_an_unbroken_one(self, tmp_path, caplog):
        caplog.set_level(logging.ERROR)
        job, run, machine = half_job(tmp_path, "whole", 2.0**24, checkpoint_every=6)
        loop.train(job, run, machine, Trackers())
        whole, scale = checkpoint.newest(run.checkpoints, job.identity, say=False), machine.scaler.state_dict()

        class Broken(Told):
            def step(self, step, values):
                if step == 8:
                    raise KeyboardInterrupt

        job, run, machine = half_job(tmp_path, "broken", 2.0**24, checkpoint_every=6)
        with pytest.raises(KeyboardInterrupt):
            loop.train(job, run, machine, Trackers([Broken()]))
        job, run, machine = half_job(tmp_path, "broken", 2.0**24, checkpoint_every=6)
        loop.train(job, run, machine, Trackers())
        again = checkpoint.newest(run.checkpoints, job.identity, say=False)
        assert machine.scaler.state_dict() == scale == whole.state.scaler == again.state.scaler
        assert all(torch.equal(whole.model[name], again.model[name]) for name in whole.model)
