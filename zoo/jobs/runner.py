"""One run, trained the way that suits it; every way leaves `best/`, `metrics.jsonl` and `training.json`."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from zoo import folders, memory, runs
from zoo.adaptation import boundary, freezing
from zoo.adaptation.boundary import Cut
from zoo.adaptation.model import AdaptedModel
from zoo.cache import Rows
from zoo.config import FinetuneConfig, Resolved
from zoo.config import options as all_options
from zoo.data import notices
from zoo.data.loading.worker_count import choose_workers, most_workers
from zoo.data.sets import SampleSet
from zoo.data.splits import Splits, facts
from zoo.data.splits.folds import groups_of
from zoo.engines import precision
from zoo.errors import RunFailed
from zoo.evaluation.metrics import Metric
from zoo.jobs.preparing import Prepared, build
from zoo.jobs.shipping import Trained
from zoo.options import Scalar
from zoo.runs import Run
from zoo.training import checkpoint, loop
from zoo.training.assembly import environment, make_job, make_row_job, position
from zoo.training.checkpoint import CHECKED, Patience, TrainState, write_best
from zoo.training.features.decoded_images import decoded_once
from zoo.training.features.extraction import Extractor, Wanted
from zoo.training.loop import Job
from zoo.training.method import Method
from zoo.training.probe import pools, solved_head, sweep
from zoo.training.probe.pools import Pool
from zoo.training.tracker import Start
from zoo.training.trackers import Trackers

log = logging.getLogger("zoo")

AGREEMENT = 1e-4
"""Largest difference between the logits of features in fp32 and those of the whole network, as a share of the largest logit."""


@dataclass
class Settling:
    """A run's options, of which training settles the last. They are written down before they are used, so that a resumed run does the
    same, whatever the machine would say by then."""

    run: Run
    resolved: Resolved
    written: FinetuneConfig
    """As the run's config.yaml has them."""
    writes: bool
    """Whether this is the process that does."""

    @property
    def config(self) -> FinetuneConfig:
        """The options as they are by now."""
        return self.resolved.config

    def settle(self, origin: str, **values: Scalar) -> None:
        """Decide these, as `origin` says."""
        self.resolved = self.resolved.settle(origin, **values)

    def write(self) -> None:
        """Write them down where they are not."""
        if self.writes and self.written != self.config:
            runs.write_config(self.run, self.resolved)
            self.written = self.config


@memory.kept()
@precision.full_float32()
def train_run(run: Run, prepared: Prepared, machine: Accelerator) -> Trained:
    """Build everything for a run and train it; leaves `best/` and `training.json` for who finishes it. Raises: ZooError."""
    begun = run.resolved()
    built = build(replace(prepared, resolved=begun), machine)
    splits, metric, model, method = prepared.splits, prepared.metric, built.model, built.method
    options = Settling(run, built.resolved, begun.config, machine.is_main_process)
    if machine.is_main_process:
        log.info("%s\n%s", model.plan.summary(), method.why)
        _say_unused(options.resolved, method)
    cut = _say_cut(run, splits, model) if machine.is_main_process else []
    frozen = freezing.frozen_digests(model)
    if method.name != "solved":
        options.settle("training", refit="train")
    if method.cut is None:
        values = _on_samples(options, splits, metric, machine, model)
    else:
        train = _solved if method.name == "solved" else _on_rows
        values = train(options, splits, metric, machine, model, method.cut)
    freezing.check_frozen(model, frozen)
    if machine.is_main_process:
        values |= {
            "way": method.why,
            "cut": cut,
            "trained_tensors": len(model.plan.tensors),
            "trained_parameters": model.plan.count,
            "trains": model.plan.summary(),
        }
        folders.write_text(run.path / "training.json", json.dumps(values, indent=1))
        if values.get("workers") is not None:
            options.settle("measured", num_workers=values["workers"])
        options.write()
    machine.wait_for_everyone()
    backbone = model.backbone if model.plan.strategy.inert else None
    proven = backbone is not None and method.cut is not None
    return Trained(run, splits, metric, machine.is_main_process, proven, backbone)


def _say_cut(run: Run, splits: Splits, model: AdaptedModel) -> list[notices.Notice]:
    """Name the samples of which the model sees a part only, in the run's notices too."""
    cut = facts.cut_off(splits.parts(), model.backbone.preprocess)
    if cut:
        folders.write_text(run.path / runs.NOTICES, notices.as_csv([*splits.facts.notices, *cut]))
        for notice in cut:
            log.info("%s", notice.pointing(runs.NOTICES))
    return cut


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
    _start_head(options, splits, metric, machine, job)
    if options.config.machine.engine == "auto":
        options.settle("machine", engine="torch")
    return _loop(options, machine, job) | {"environment": environment(machine, model)}


def _start_head(options: Settling, splits: Splits, metric: Metric, machine: Accelerator, job: Job) -> None:
    """Where a run begins, and its head is to be solved: solve it on the features of the backbone as it is (Kumar et al. 2022,
    arxiv.org/abs/2202.10054)."""
    model = job.whole
    if options.config.model.head_start != "solved" or checkpoint.newest(options.run.checkpoints, job.identity, say=False):
        return
    cut = boundary.behind(model)
    with _extractor(cut, model, splits, options.config, machine) as extractor:
        wanted = [Wanted(splits.train), Wanted(splits.val)]
        options.settle("measured", **extractor.settled(wanted))
        options.write()
        train, val = extractor.all_rows(wanted)
        options.settle("measured", **extractor.options)  # an engine may have failed
        if not machine.is_main_process:  # the others get the head's values when the model is prepared for several processes
            return
        words, seed = f"training {splits.facts.kind.nouns}", options.config.machine.seed
        # What is trained next is chosen by the validation samples, so that the head has not seen them.
        groups = groups_of([splits.train])
        pool = pools.crossed(splits.train.targets, groups, [[train]], [train], seed, words)
        pool = pool or pools.by_validation([train], val, splits)
        solved = solved_head.solve(pool, model, metric, options.config, machine.device)
    solved_head.put(solved.candidate, model)
    log.info("%s\nprobe: %s %.4f %s; training goes on from there", extractor.work, metric.name, solved.best.value, pool.words)


def _on_rows(
    options: Settling, splits: Splits, metric: Metric, machine: Accelerator, model: AdaptedModel, cut: Cut
) -> dict[str, Any]:
    """What comes before the cut once, then the loop on that."""
    with _extractor(cut, model, splits, options.config, machine) as extractor:
        train, val = _rows(options, extractor, splits)
        work = extractor.work
        if machine.is_main_process:
            log.info("%s", work)
        job = make_row_job(options.config, splits, model, cut, train, val, metric, machine)
        _start_head(options, splits, metric, machine, job)
        values = _loop(options, machine, job)
    return values | {
        "features": str(work),
        "workers": work.workers,
        "environment": environment(machine, model) | {"engine": ", ".join(work.engines)},
    }


def _loop(options: Settling, machine: Accelerator, job: Job) -> dict[str, Any]:
    run = options.run
    options.write()
    trackers = Trackers.begin(run.path, job.config, position(run, job)) if machine.is_main_process else Trackers()
    try:
        state = loop.train(job, run, machine, trackers)
    finally:
        trackers.close()
    best, nouns = state.best, job.model.backbone.preprocess.kind.nouns
    what = " (the solved head on the backbone as it was)" if best.step == 0 else ""
    return {
        "seconds": round(state.seconds, 3),
        "steps": state.step,
        "epochs": round(state.step / job.steps_per_epoch, 4),
        "best_step": best.step,
        "chosen": (
            f"step {best.step} of {state.step}{what}, the best of the evaluations by {best.metric} on the validation {nouns} "
            f"({best.value:.4f}; a tie keeps the earlier)"
        ),
    }


def _solved(
    options: Settling, splits: Splits, metric: Metric, machine: Accelerator, model: AdaptedModel, cut: Cut
) -> dict[str, Any]:
    """Features once, then the head's optimum."""
    run, arithmetic = options.run, options.config.machine.feature_precision
    with _extractor(cut, model, splits, options.config, machine) as extractor:
        pool, val = _pool(options, extractor, splits)
        if not machine.is_main_process:
            return {}
        options.write()
        trackers = Trackers.begin(run.path, options.config, Start(metric.name))
        try:
            solved = solved_head.solve(pool, model, metric, options.config, machine.device, trackers)
        finally:
            trackers.close()
        images = extractor.samples(splits.val, CHECKED)
    solved_head.put(solved.candidate, model)
    with torch.inference_mode():
        logits = model.eval()(images.to(machine.device)).cpu().numpy()
    expected = sweep.logits(solved.candidate, val[: len(logits)])
    difference = float(np.abs(logits - expected).max() / max(1.0, float(np.abs(logits).max())))
    if arithmetic == "no" and not difference <= AGREEMENT:
        raise RunFailed(
            f"the logits of the features differ from the whole network's by {difference:.2g} of the largest; compute them anew "
            "(`zoo cache clear features`), or use --engine torch"
        )
    write_best(run, model, TrainState(solved.best, Patience(None, 0.0, metric.higher_is_better)), logits)
    work = extractor.work
    if pool.refits:
        pools.write(run, solved.judged)
    log.info("%s\nhead solved in %.1f s: %s %.4f %s", work, solved.seconds, metric.name, solved.best.value, pool.words)
    return {
        "seconds": round(work.seconds + solved.seconds, 3),
        "steps": solved.count,
        "epochs": 1,
        "best_step": solved.best.step,
        "chosen": solved.chosen,
        "refit": pool.refits,
        "objective": solved.candidate.objective,
        "features": str(work),
        "features_difference": difference,
        "workers": work.workers,
        "environment": environment(machine, model) | {"precision": arithmetic, "engine": ", ".join(work.engines)},
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
    """Rows of the training samples, one set a view, and of the validation samples."""
    augment, views = options.config.data.augment, options.config.data.views or 1
    wanted = [*(Wanted(splits.train, augment, view) for view in range(views)), Wanted(splits.val)]
    found = list(_computed(options, extractor, splits, wanted).values())
    return found[:views], found[views]


def _pool(options: Settling, extractor: Extractor, splits: Splits) -> tuple[Pool, Rows]:
    """What the head is fitted to and judged by, and the rows of the validation samples."""
    config = options.config
    if config.selection.refit == "auto":
        own = "val" in splits.facts.set_aside
        options.settle("data", refit="train+val" if own else "train")
    if options.config.selection.refit == "train":
        train, val = _rows(options, extractor, splits)
        return pools.by_validation(train, val, splits), val
    augment, views = config.data.augment, config.data.views or 1
    sets = [splits.train, splits.val]
    varied = [[Wanted(samples, augment, view) for view in range(views)] for samples in sets]
    plain = [view[0] for view in varied] if augment == "none" else [Wanted(samples) for samples in sets]
    found = _computed(options, extractor, splits, list(dict.fromkeys([*itertools.chain(*varied), *plain])))
    rows, own_rows = [[found[one] for one in view] for view in varied], [found[one] for one in plain]
    words = f"training and validation {splits.facts.kind.nouns}"
    targets = np.concatenate([samples.targets for samples in sets])
    pool = pools.crossed(targets, groups_of(sets), rows, own_rows, config.machine.seed, words)
    return pool or pools.by_validation(rows[0], own_rows[1], splits, refit=rows[1]), own_rows[1]


def _computed(options: Settling, extractor: Extractor, splits: Splits, wanted: list[Wanted]) -> dict[Wanted, Rows]:
    """Rows of each.

    Those of the test samples are computed along with them, while the engine is warm, and looked at by nobody here.
    """
    asked = [*wanted, Wanted(splits.test)] if splits.test is not None and extractor.root is not None else wanted
    options.settle("measured", **extractor.settled(asked))
    options.write()
    rows = extractor.all_rows(asked)
    options.settle("measured", **extractor.options)  # an engine may have failed
    return dict(zip(wanted, rows, strict=False))


def _say_unused(resolved: Resolved, method: Method) -> None:
    """Tell whoever gave some options that this way of training does not use them."""
    given = [option for name, option in all_options().items() if resolved.origins[name] == "flag"]
    unused = [option.flag for option in given if not option.used_by(method.name)]
    if unused:
        advice = "; --head-fit stepped trains the head in steps" if method.name == "solved" else ""
        log.warning("%s: %s not used%s", method.why, ", ".join(unused), advice)
