"""One run, trained the way that suits it; every way leaves `best/`, `metrics.jsonl` and `training.json`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from zoo import folders, memory, runs
from zoo.adaptation import boundary, freezing, layout
from zoo.adaptation.boundary import Cut
from zoo.adaptation.model import AdaptedModel
from zoo.cache import Rows
from zoo.config import FinetuneConfig, Resolved, Scalar
from zoo.config import options as all_options
from zoo.data.sets import SampleSet
from zoo.data.splits import Splits
from zoo.data.timing import choose_workers, most_workers
from zoo.errors import ConfigError, RunFailed
from zoo.evaluation.metrics import Metric
from zoo.runs import Run
from zoo.training import checkpoint, loop, probe
from zoo.training.best import CHECKED, write_best
from zoo.training.checkpoint import Patience, TrainState
from zoo.training.collect import prepare
from zoo.training.features import Extractor, Wanted
from zoo.training.job import build_model, environment, make_job, make_row_job, trackers_of
from zoo.training.loop import Job
from zoo.training.reading import decoded_once
from zoo.training.trackers import MetricsFile, TensorBoard, Tracker
from zoo.training.way import agreed_way

log = logging.getLogger("zoo")

AGREEMENT = 1e-4
"""Largest difference between the logits of features in fp32 and those of the whole network, as a share of the largest logit."""


@dataclass
class Settling:
    """A run's options, of which training settles the last. Each is written down before it is used, so that a resumed run does the same,
    whatever the machine would say by then."""

    run: Run
    resolved: Resolved
    writes: bool
    """Whether this is the process that does."""

    @property
    def config(self) -> FinetuneConfig:
        """The options as they are by now."""
        return self.resolved.config

    def settle(self, origin: str, **values: Scalar) -> None:
        """Decide these, as `origin` says."""
        before = self.config.flat()
        changed = {name: value for name, value in values.items() if before[name] != value}
        if changed:
            self.resolved = self.resolved.settle(origin, **changed)
            if self.writes:
                runs.write_config(self.run, self.resolved)


@memory.kept()
def train_run(run: Run, splits: Splits, metric: Metric, machine: Accelerator) -> None:
    """Build everything for a run and train it; leaves `best/` and `training.json` for the next floor. Raises: ZooError."""
    options = Settling(run, run.resolved(), machine.is_main_process)
    model = prepare(build_model(options.config, splits), machine.device)
    empty = {name for name, value in options.config.flat().items() if value is None}
    options.settle("backbone", **{name: value for name, value in model.backbone.preprocess.options().items() if name in empty})
    way = agreed_way(model, options.config, sum(len(part) for part in splits.parts().values()), machine)
    if way.keep_features is not None:
        options.settle("measured", keep_features=way.keep_features)
    if machine.is_main_process:
        log.info("%s\n%s", model.plan.summary(), way.why)
    frozen = freezing.frozen_digests(model)
    if way.cut is None:
        values = _on_samples(options, splits, metric, machine, model)
    else:
        train = _solved if way.name == "solved" else _on_rows
        values = train(options, splits, metric, machine, model, way.cut)
    freezing.check_frozen(model, frozen)
    if machine.is_main_process:
        values |= {
            "way": way.why,
            "trained_tensors": len(model.plan.tensors),
            "trained_parameters": model.plan.count,
            "trains": model.plan.summary(),
        }
        folders.write_text(run.path / "training.json", json.dumps(values, indent=1))
        if values.get("workers") is not None:
            options.settle("measured", num_workers=values["workers"])
    machine.wait_for_everyone()


def _choose_workers(config: FinetuneConfig, model: AdaptedModel, machine: Accelerator) -> Callable[[SampleSet], int] | None:
    """How to find, by timing, how many processes should read some samples; None where that was said. It changes no byte, so each
    training process decides by itself."""
    if config.data.num_workers is not None:
        return None

    def choose(samples: SampleSet) -> int:
        most, preprocess = most_workers(config.machine.processes), model.backbone.preprocess
        workers = choose_workers(samples, preprocess, config.loader, most, config.data.augment)
        if machine.is_main_process:
            log.info("%s", workers.why)
        return workers.count

    return choose


def _on_samples(options: Settling, splits: Splits, metric: Metric, machine: Accelerator, model: AdaptedModel) -> dict[str, Any]:
    choose = _choose_workers(options.config, model, machine)
    if choose is not None:
        options.settle("measured", num_workers=choose(splits.train))
    job = make_job(options.config, decoded_once(splits, model, options.config), model, metric, machine)
    if model.plan.strategy.kind == "lp-ft" and checkpoint.newest(options.run.checkpoints, job.identity, say=False) is None:
        _start_from_probe(options, splits, metric, machine, model)
    if options.config.machine.engine == "auto":
        options.settle("machine", engine="torch")
    return _loop(options.run, machine, job) | {"environment": environment(machine, model)}


def _start_from_probe(options: Settling, splits: Splits, metric: Metric, machine: Accelerator, model: AdaptedModel) -> None:
    """Solve the head on the features of the backbone as it is (Kumar et al. 2022, arxiv.org/abs/2202.10054). Raises: ConfigError."""
    head = model.head
    if not (isinstance(head, nn.Linear) and layout.is_plain_linear(head)):
        raise ConfigError(f"strategy lp-ft starts from a solved head, which is linear; head {model.head_name} is not: use full")
    cut = boundary.behind(model)
    with _extractor(cut, model, splits, options.config, machine) as extractor:
        wanted = [Wanted(splits.train), Wanted(splits.val)]
        options.settle("measured", **extractor.settled(wanted))
        train, val = extractor.all_rows(wanted)
        options.settle("measured", **extractor.options)  # an engine may have failed
    if machine.is_main_process:  # the others get the head's values when the model is prepared for several processes
        solved = probe.solve([train], val, splits, model, metric, options.config, machine.device, [])
        probe.put(solved.tried.candidate, model)
        log.info("%s\nprobe: val %s %.4f; from there, everything trains", extractor.work, metric.name, solved.best.value)


def _on_rows(
    options: Settling, splits: Splits, metric: Metric, machine: Accelerator, model: AdaptedModel, cut: Cut
) -> dict[str, Any]:
    """What comes before the cut once, then the loop on that."""
    if machine.is_main_process:
        _say_unused(options.resolved, {"collate_fn"}, f"training begins at {cut.where}, which need no collating")
    with _extractor(cut, model, splits, options.config, machine) as extractor:
        train, val = _rows(options, extractor, splits)
        work = extractor.work
        if machine.is_main_process:
            log.info("%s", work)
        values = _loop(options.run, machine, make_row_job(options.config, splits, model, cut, train, val, metric, machine))
    return values | {
        "features": str(work),
        "workers": work.workers,
        "environment": environment(machine, model) | {"engine": ", ".join(work.engines)},
    }


def _loop(run: Run, machine: Accelerator, job: Job) -> dict[str, Any]:
    trackers = trackers_of(run, job) if machine.is_main_process else []
    try:
        state = loop.train(job, run, machine, trackers)
    finally:
        for tracker in trackers:
            tracker.close()
    best, nouns = state.best, job.model.backbone.preprocess.kind.nouns
    return {
        "seconds": round(state.seconds, 3),
        "steps": state.step,
        "epochs": round(state.step / job.steps_per_epoch, 4),
        "best_step": best.step,
        "chosen": (
            f"step {best.step} of {state.step}, the best of the evaluations by {best.metric} on the validation {nouns} "
            f"({best.value:.4f}; a tie keeps the earlier)"
        ),
    }


def _solved(
    options: Settling, splits: Splits, metric: Metric, machine: Accelerator, model: AdaptedModel, cut: Cut
) -> dict[str, Any]:
    """Features once, then the head's optimum."""
    run, precision = options.run, options.config.machine.feature_precision
    if machine.is_main_process:
        _say_unused(options.resolved, _OF_STEPS, "the head is solved, not stepped", "; --head-fit stepped uses them")
    with _extractor(cut, model, splits, options.config, machine) as extractor:
        train, val = _rows(options, extractor, splits)
        if not machine.is_main_process:
            return {}
        trackers: list[Tracker] = [MetricsFile(run.path / "metrics.jsonl", 0)]
        trackers += [TensorBoard(run.path / "tensorboard", 0)] if options.config.output.tensorboard else []
        try:
            solved = probe.solve(train, val, splits, model, metric, options.config, machine.device, trackers)
        finally:
            for tracker in trackers:
                tracker.close()
        images = extractor.samples(splits.val, CHECKED)
    probe.put(solved.tried.candidate, model)
    with torch.inference_mode():
        logits = model.eval()(images.to(machine.device)).cpu().numpy()
    difference = float(np.abs(logits - solved.tried.logits[: len(logits)]).max() / max(1.0, float(np.abs(logits).max())))
    if precision == "no" and not difference <= AGREEMENT:
        raise RunFailed(
            f"the logits of the features differ from the whole network's by {difference:.2g} of the largest; compute them anew "
            "(`zoo cache clear features`), or use --engine torch"
        )
    write_best(run, model, TrainState(solved.best, Patience(None, 0.0, metric.higher_is_better)), logits)
    work = extractor.work
    log.info("%s\nhead solved in %.1f s: val %s %.4f", work, solved.seconds, metric.name, solved.best.value)
    return {
        "seconds": round(work.seconds + solved.seconds, 3),
        "steps": solved.count,
        "epochs": 1,
        "best_step": solved.best.step,
        "chosen": solved.chosen,
        "features": str(work),
        "features_difference": difference,
        "workers": work.workers,
        "environment": environment(machine, model) | {"precision": precision, "engine": ", ".join(work.engines)},
    }


def _extractor(cut: Cut, model: AdaptedModel, splits: Splits, config: FinetuneConfig, machine: Accelerator) -> Extractor:
    expected = len(splits.train) * ((config.data.views or 1) - 1) + sum(len(part) for part in splits.parts().values())
    return Extractor(
        cut.prefix,
        cut.where,
        model.backbone,
        config,
        machine.device,
        precision=config.machine.feature_precision,
        together=machine,
        expected=expected,
        choose_workers=_choose_workers(config, model, machine),
    )


def _rows(options: Settling, extractor: Extractor, splits: Splits) -> tuple[list[Rows], Rows]:
    """Rows of the training samples, one set a view, and of the validation samples.

    Those of the test samples are computed along with them, while the engine is warm, and looked at by nobody here.
    """
    augment, views = options.config.data.augment, options.config.data.views or 1
    wanted = [*(Wanted(splits.train, augment, view) for view in range(views)), Wanted(splits.val)]
    if splits.test is not None and extractor.root is not None:
        wanted.append(Wanted(splits.test))
    options.settle("measured", **extractor.settled(wanted))
    rows = extractor.all_rows(wanted)
    options.settle("measured", **extractor.options)  # an engine may have failed
    return rows[:views], rows[views]


_OF_STEPS = {name for name, option in all_options().items() if option.group == "optim" and name != "batch_size"} | {
    "eval_every", "patience", "min_delta", "checkpoint_every", "keep", "max_minutes", "shuffle", "sampler", "batch_sampler", "drop_last",
    "collate_fn",
}  # fmt: skip
"""Options that a solved head, which takes no steps, does not use."""


def _say_unused(resolved: Resolved, names: Collection[str], why: str, advice: str = "") -> None:
    """Tell whoever gave one of these options that this way of training does not use it."""
    unused = [f"--{name.replace('_', '-')}" for name in all_options() if name in names and resolved.origins[name] == "flag"]
    if unused:
        log.warning("%s: %s not used%s", why, ", ".join(unused), advice)
