"""The training loop, top to bottom. Strategies differ in the model and its plan, never here.

Every step: forward, loss, backward, clip, optimiser; then evaluate, save and stop when due. The last step is always evaluated and
saved. All ranks run the same code and take the same decisions; rank 0 alone writes.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor

from zoo import folders
from zoo.adaptation import freezing
from zoo.adaptation.model import AdaptedModel
from zoo.backbones import generator
from zoo.config import FinetuneConfig
from zoo.data.loading.loaders import Batch, EvalBatches, TrainBatches
from zoo.errors import CheckpointError, ConfigError, NonFinite, OutputError, RunFailed, ZooError
from zoo.evaluation.metrics import Metric
from zoo.evaluation.report import Report
from zoo.evaluation.report import evaluate as report_on
from zoo.interrupts import Stopped
from zoo.runs import Run
from zoo.training import checkpoint, micro_batches, optim
from zoo.training.checkpoint import Best, Patience, TrainState, best_step, write_best
from zoo.training.collect import channels_last, collect, place, prepare
from zoo.training.features.row_batches import EvalRows, TrainRows
from zoo.training.launch import Stopper
from zoo.training.memory_limits import Fitting
from zoo.training.optim import losses
from zoo.training.recomputing import recomputed
from zoo.training.trackers import Trackers
from zoo.training.watching import Watch

log = logging.getLogger("zoo")

OVERFLOWS = 40
"""Steps in a row that may overflow in fp16. Each halves the scale of the gradients, which begins at 2^16."""
SHOWN = 5
"""Samples that an error names."""


@dataclass
class Job:
    """What there is to train: everything that `train` needs, made ready."""

    config: FinetuneConfig
    model: AdaptedModel
    """What the steps run: the model, or its part behind what was computed before."""
    whole: AdaptedModel
    """The model, of which `model` is all or a part, sharing its tensors: what is saved as the best."""
    train: TrainBatches | TrainRows
    val: EvalBatches | EvalRows
    metric: Metric
    class_weights: Tensor | None
    """What a sample of each class counts in the loss, `[C] float32`; None: all count one."""
    identity: dict[str, Any]
    """Digests of the base weights, data and labels, and the options: a checkpoint of another identity is refused."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over the training samples."""
        return self.train.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Optimiser steps in all."""
        return max(1, round(self.config.optim.epochs * self.steps_per_epoch))

    @property
    def eval_steps(self) -> int:
        """Steps between evaluations."""
        return max(1, round(self.config.selection.eval_every * self.steps_per_epoch))


def train(job: Job, run: Run, accelerator: Accelerator, trackers: Trackers) -> TrainState:
    """Fine-tune `job.model`, leaving checkpoints and `best/` in `run`; go on from the newest checkpoint there is.

    On a CPU, a run that was killed and resumed gives the bytes of an unbroken one.

    Raises: NonFinite, naming the step and the samples; AuditFailed, naming the tensor; RunFailed if the last save failed;
    Stopped after a signal, once a checkpoint is written.
    """
    config, model = job.config, prepare(job.model, accelerator.device)
    optimizer = optim.build_optimizer(model, config.optim)
    state = _restore(job, run, optimizer, accelerator)
    frozen = freezing.frozen_digests(model)
    audit: freezing.GradientAudit | None = freezing.GradientAudit(model)
    watch, fitting = Watch(), Fitting(model, accelerator, state, micro_batches.least(model, config))
    _check_phases(job)
    if config.machine.compile:
        model.compile()  # in place: names and files stay as they are, and evaluation, which calls the class's forward, is not compiled
    wrapped, prepared = accelerator.prepare(model, optimizer)
    micro_batches.send_no_buffers(wrapped)
    if accelerator.is_main_process:
        for line in micro_batches.remarks(job.whole, config, job.train.plan):
            log.info("%s", line)
    phase, overflows = -1, 0
    saver = _Saver(job, run, accelerator, optimizer)
    clock = _Clock()
    _require_best(job, state, saver)

    if state.step == 0 and state.evaluations == 0 and config.model.head_start == "solved":  # it may be the best
        improved, logits, _ = _evaluate(job, state, accelerator, trackers, clock)
        saver.checkpoint(state)
        if improved:
            saver.best(state, logits)

    with (
        Stopper(accelerator, config.selection.max_minutes, state.seconds) as stopper,
        recomputed(model, wanted=config.machine.gradient_checkpointing),
    ):
        for step, batches in clock.over(job.train.steps(state.step, state.step if state.done else job.total_steps)):
            if model.plan.phases and phase != (phase := model.plan.phase_at(step / job.steps_per_epoch)):
                model.enter_phase(phase)
                audit = freezing.GradientAudit(model)
            wrapped.train()
            optim.set_learning_rate(optimizer, optim.scale(step, job.total_steps, config.optim))
            with _compiling(config), _anomalies(config), _saved_samples(run, accelerator):
                loss, norm = fitting(batches, lambda parts: train_step(job, accelerator, wrapped, prepared, parts, step))  # noqa: B023
            skipped = prepared.step_was_skipped
            micro_batches.agree(model, accelerator)
            if audit and not skipped and audit.observe(model):
                audit.conclude()
                audit = None
            prepared.zero_grad()
            size = job.train.step_size(step)
            clock.samples += size
            state.step, state.seconds = step + 1, stopper.seconds
            overflows = overflows + 1 if skipped else 0
            if overflows == OVERFLOWS:
                raise NonFinite(
                    f"{OVERFLOWS} steps in a row overflowed in fp16, the last of them {step}; use --precision no or bf16"
                )
            if not skipped:
                state.loss_sum, state.samples = state.loss_sum + loss * size, state.samples + size
                if accelerator.is_main_process:
                    watch.step(state.step, loss, norm)
            numbers = {"loss": loss, "lr": optimizer.param_groups[0]["lr"], "grad_norm": norm}
            trackers.step(state.step, numbers | {"samples_per_second": clock.rate, "waiting": clock.waiting})

            reason = stopper.reason()
            last = state.step == job.total_steps or reason == "time"
            evaluated = improved = False
            if due(state.step, job.eval_steps, last=last):
                improved, logits, enough = _evaluate(job, state, accelerator, trackers, clock)
                evaluated, last = True, last or enough
            state.done = last
            # A new best is checkpointed first: then no resumed run can be behind the folder in best/.
            every = config.selection.checkpoint_every
            if improved or reason or last or (evaluated if every is None else due(state.step, every, last=False)):
                saver.checkpoint(state)
            if improved:
                saver.best(state, logits)
            if reason == "interrupt":
                raise Stopped(stopper.signal, f"at step {state.step}", f"go on with `zoo resume {run.path}`")
            if last:
                break

    freezing.check_frozen(model, frozen)
    saver.raise_if_failed()
    if state.best.step is None:
        raise NonFinite(
            f"every evaluation of {job.metric.name} was undefined or not finite, so there is no best model; lower --lr"
        )
    if accelerator.is_main_process and best_step(run) != state.best.step:
        raise RunFailed(f"{run.best} is not the best model, that of step {state.best.step}: it could not be written")
    return state


@contextlib.contextmanager
def _compiling(config: FinetuneConfig) -> Iterator[None]:
    """Raises: RunFailed in place of what torch's compiler, or the code that it has made, raises."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        if not config.machine.compile:
            raise
        said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise RunFailed(f"the compiled step failed ({said}); leave out --compile") from error


@contextlib.contextmanager
def _anomalies(config: FinetuneConfig) -> Iterator[None]:
    """Under `detect_anomaly`, raises: NonFinite, naming the operation whose backward pass gives NaN."""
    if not config.machine.detect_anomaly:
        yield
        return
    with warnings.catch_warnings(record=True) as said, torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("always")
        try:
            yield
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            lines = [line.strip() for one in said for line in str(one.message).splitlines() if line.startswith('  File "')]
            where = f", which came forward from {lines[-1]}" if lines else ""
            raise NonFinite(f"{str(error).splitlines()[0].rstrip('.')}{where}; lower --lr, or use --precision no") from error


@contextlib.contextmanager
def _saved_samples(run: Run, accelerator: Accelerator) -> Iterator[None]:
    """Keep the samples of a step whose loss is not finite, with the loss of each, in `nonfinite.csv` of the run."""
    try:
        yield
    except _BadStep as error:
        rows = [row for row in gather_object(error.rows) if row]
        if accelerator.is_main_process:
            with contextlib.suppress(OutputError):  # what went wrong is said all the same
                folders.write_text(run.path / "nonfinite.csv", _as_csv(rows))
        bad = [name for name, loss in rows if not math.isfinite(loss)] or [name for name, _ in rows]
        shown = ", ".join(bad[:SHOWN]) + (", ..." if len(bad) > SHOWN else "")
        raise NonFinite(
            f"the loss is {error.loss} at step {error.step} ({error.nouns} {shown}; all of the step in {run.path / 'nonfinite.csv'}); "
            "lower --lr, set --clip, or use --precision no (--detect-anomaly names the operation)"
        ) from error


class _BadStep(NonFinite):
    """A step whose loss is not finite, on every rank. rows: name and loss of each sample of this one."""

    def __init__(self, step: int, loss: float, nouns: str, rows: list[tuple[str, float]]) -> None:
        super().__init__(f"the loss is {loss} at step {step}; lower --lr, or use --precision no")
        self.step, self.loss, self.nouns, self.rows = step, loss, nouns, rows


def _as_csv(rows: list[tuple[str, float]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("sample", "loss"), *rows])
    return text.getvalue().encode("utf-8", "backslashreplace").decode()


def train_step(
    job: Job, accelerator: Accelerator, model: torch.nn.Module, optimizer: Any, batches: list[Batch], step: int
) -> tuple[float, float]:
    """One optimiser step over this rank's micro-batches.

    Returns the mean loss over all the samples of the step, and the L2 norm of its gradient before clipping, on all ranks. Under fp16 an
    overflow skips the step, and both may be infinite or NaN.

    The gradient is that of the sum of the losses over all ranks and micro-batches, divided once by the number of samples: the
    same as of one big batch, also where the last batch of an epoch is short.
    Raises: _BadStep for a loss that is not finite, but under fp16.
    """
    config = job.config
    count = job.train.step_size(step)
    total = torch.zeros((), device=accelerator.device)
    by_sample: list[Tensor] = []
    for number, batch in enumerate(batches):
        final = number == len(batches) - 1
        with contextlib.nullcontext() if final else accelerator.no_sync(model):
            inputs = place(batch.inputs, accelerator.device, channels_last(job.model.backbone))
            with generator.held():
                seed_forward(config.machine.seed, step, number, accelerator.process_index)
                logits = model(inputs)
            targets = job.model.learnt(batch.targets).to(accelerator.device)
            weights = batch.weights.to(accelerator.device)
            each = losses(job.model.task, logits, targets, label_smoothing=config.optim.label_smoothing)
            each = each * weights
            if job.class_weights is not None:
                each = each * job.class_weights.to(targets.device)[targets]
            # DistributedDataParallel averages over ranks; the factor makes it a sum.
            accelerator.backward(each.sum() * (accelerator.num_processes / count))
            by_sample.append(each.detach())
            total += by_sample[-1].sum()
    loss = float(accelerator.reduce(total, "sum")) / count
    if not math.isfinite(loss) and accelerator.scaler is None:
        names = [job.train.name(int(index)) for batch in batches for index in batch.indices]
        rows = list(zip(names, torch.cat(by_sample).tolist(), strict=True))
        raise _BadStep(step, loss, job.model.backbone.preprocess.kind.nouns, rows)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if config.optim.clip is not None:
        norm = float(accelerator.clip_grad_norm_(parameters, config.optim.clip))
    else:
        accelerator.unscale_gradients(optimizer)
        norm = float(torch.nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None]))
    optimizer.step()  # last: on a GPU it goes on while the next step is made ready
    return loss, norm


def _evaluate(
    job: Job, state: TrainState, accelerator: Accelerator, trackers: Trackers, clock: _Clock
) -> tuple[bool, np.ndarray, bool]:
    """Measure on the validation samples, and tell the trackers.

    Returns whether this is the best so far, the logits `[N, C]`, and whether patience has run out.
    """
    report, logits = validate(job, accelerator)
    value = report.values[job.metric.name].value
    improved = state.best.better(value)
    if improved:
        state.best.value, state.best.step = value, state.step
    enough = state.patience.update(value)
    record = _record(job, state, report, clock, improved)
    state.evaluations, state.loss_sum, state.samples = state.evaluations + 1, 0.0, 0
    trackers.evaluation(state.step, record)
    clock.restart()
    return improved, logits, enough


def validate(job: Job, accelerator: Accelerator) -> tuple[Report, np.ndarray]:
    """Report on the validation samples, and the logits `[N, C] float32` behind it, on all ranks."""
    logits, targets = collect(job.model, job.val, accelerator.device, accelerator.gather)
    labels = job.model.labels
    assert labels is not None  # a job's model always has them
    outputs = job.model.predicted(logits)
    report = report_on(targets, outputs, labels, task=job.model.task, extra_metrics=[job.metric], intervals=False)
    return report, logits


def seed_forward(seed: int, step: int, micro_batch: int, rank: int) -> None:
    """Seed torch for one forward pass, so that dropout does not depend on what happened before (resuming is exact)."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, micro_batch, rank]).generate_state(1, np.uint64)[0] >> 1))


def due(step: int, every: int, *, last: bool) -> bool:
    """Whether something that happens each `every` steps, and at the last, happens after `step`."""
    return last or step % every == 0


_Step = tuple[int, list[Batch]]


class _Clock:
    """Samples per second since it was started, and the share of the time in which training waited for them."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.samples, self.waited, self.began = 0, 0.0, time.perf_counter()

    def over(self, steps: Iterator[_Step]) -> Iterator[_Step]:
        """The same steps; the time until each comes is waited for."""
        while True:
            began = time.perf_counter()
            step = next(steps, None)
            self.waited += time.perf_counter() - began
            if step is None:
                return
            yield step

    @property
    def rate(self) -> float:
        return self.samples / (time.perf_counter() - self.began)

    @property
    def waiting(self) -> float:
        return self.waited / (time.perf_counter() - self.began)


def _check_phases(job: Job) -> None:
    """Raises: ConfigError if the training ends before the last phase of the plan: what it names would never train."""
    plan = job.model.plan
    if plan.phases and plan.phase_at((job.total_steps - 1) / job.steps_per_epoch) < len(plan.phases) - 1:
        stages, epochs = len(plan.phases) - 1, job.config.optim.epochs
        raise ConfigError(
            f"strategy {plan.strategy}: {job.model.backbone.spec.name} has {stages} stages, and --epochs {epochs:g} end before all of them "
            f"train; give more epochs, --strategy gradual:{0.9 * epochs / (stages + 1):.2g}, or partial:N"
        )


def _record(job: Job, state: TrainState, report: Report, clock: _Clock, improved: bool) -> dict[str, Any]:
    return {
        "step": state.step,
        "epoch": round(state.step / job.steps_per_epoch, 4),
        "train_loss": state.loss_sum / state.samples if state.samples else None,
        "metrics": {name: value.value for name, value in report.values.items()},
        "best": improved,
        "seconds": state.seconds,
        "samples_per_second": clock.rate,
        "waiting": clock.waiting,
    }


def _restore(job: Job, run: Run, optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> TrainState:
    """The state of the newest checkpoint, its tensors loaded; a fresh one if there is none."""
    found = checkpoint.newest(run.checkpoints, job.identity, say=accelerator.is_main_process)
    if found is None:
        metric, selection = job.metric, job.config.selection
        patience = Patience(selection.patience, selection.min_delta, metric.higher_is_better)
        return TrainState(Best(metric.name, metric.higher_is_better), patience)
    job.model.load_trained_state(found.model)
    optim.load_named_state(optimizer, found.optimizer)
    if accelerator.scaler is not None and found.state.scaler:
        accelerator.scaler.load_state_dict(found.state.scaler)
    return found.state


def _require_best(job: Job, state: TrainState, saver: _Saver) -> None:
    """Before any step, see to it that `best/` is that of the state, whole; else write it again, from the checkpoint of its step.

    It is not where a kill came between a checkpoint and its `best/`, or where something damaged it.
    Raises: CheckpointError if that checkpoint is not there.
    """
    run, accelerator = saver.run, saver.accelerator
    found = broadcast_object_list([best_step(run)])[0]  # the first process's, before it writes
    if state.best.step is None or found == state.best.step:
        return
    now = {name: tensor.clone() for name, tensor in job.model.trained_state().items()}
    if state.best.step != state.step:
        try:
            job.model.load_trained_state(checkpoint.of_step(run.checkpoints, state.best.step, job.identity).model)
        except CheckpointError as error:
            if found is not None and found > state.step:  # a newer checkpoint was damaged; that step comes again
                return
            raise CheckpointError(
                f"{run.best} is missing or damaged, and cannot be made again: {error}; start a new run"
            ) from error
    if accelerator.is_main_process:
        log.info("%s is written again, from the checkpoint of step %d", run.best, state.best.step)
    saver.best(state, validate(job, accelerator)[1])
    job.model.load_trained_state(now)


class _Saver:
    """Rank 0's writing. A save that fails is said once and tried again at the next; only a failed last one fails the run."""

    def __init__(self, job: Job, run: Run, accelerator: Accelerator, optimizer: torch.optim.Optimizer) -> None:
        self.job, self.run, self.accelerator, self.optimizer = job, run, accelerator, optimizer
        self.problem: OutputError | None = None

    def checkpoint(self, state: TrainState) -> None:
        if self.accelerator.scaler is not None:
            state.scaler = self.accelerator.scaler.state_dict()
        if self.accelerator.is_main_process:
            model = self.job.model.trained_state()
            with self._tolerant():
                checkpoint.write(self.run.checkpoints, state, model, optim.named_state(self.optimizer), self.job.identity)
                checkpoint.prune(self.run.checkpoints, self.job.config.selection.keep, state.best.step)
        self.accelerator.wait_for_everyone()

    def best(self, state: TrainState, logits: np.ndarray) -> None:
        if self.accelerator.is_main_process:
            with self._tolerant():
                write_best(self.run, self.job.whole, state, logits)
        self.accelerator.wait_for_everyone()

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
            self.problem = None
        except OutputError as error:
            if self.problem is None:
                log.warning("%s; training goes on, the previous checkpoint stands", error)
            self.problem = error

    def raise_if_failed(self) -> None:
        if self.problem is not None:
            raise RunFailed(f"the last save failed: {self.problem}; make room, then go on with `zoo resume {self.run.path}`")
