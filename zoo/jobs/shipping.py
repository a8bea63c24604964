"""The end of a run: the best model is loaded again from its file, compared, measured, and given its card."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from zoo import cache, folders, imports, inference, memory, runs
from zoo.adaptation import boundary, saved, saved_config
from zoo.adaptation.model import AdaptedModel
from zoo.backbones.backbone import Backbone
from zoo.config import FinetuneConfig
from zoo.data.loading.loaders import EvalBatches, Loading, loading
from zoo.data.loading.worker_count import workers
from zoo.data.sets import SampleSet
from zoo.data.splits import Splits
from zoo.data.targets import Targets
from zoo.engines import precision
from zoo.errors import CheckpointError, RunFailed
from zoo.evaluation.calibration import best_thresholds
from zoo.evaluation.metrics import Metric
from zoo.evaluation.outputs import THRESHOLD, MultilabelOutputs
from zoo.evaluation.report import Report
from zoo.evaluation.report import evaluate as report_on
from zoo.publishing.card import CARD, HELD_OUT, CardFacts, write_card
from zoo.publishing.measured import ENOUGH
from zoo.runs import Run
from zoo.training.collect import collect, prepare
from zoo.training.features.extraction import Extractor, Wanted
from zoo.training.features.row_batches import EvalRows
from zoo.training.probe import pools
from zoo.training.probe.pools import Judged
from zoo.types import Task

log = logging.getLogger("zoo")

TOLERANCE = 1e-4
"""Largest difference of a logit, as a share of the largest logit (or of 1), between the model in training and its file loaded again.
Both are computed in fp32, so what differs is the order of sums (about 1e-6)."""


@dataclass(frozen=True)
class Trained:
    """A run that has been trained, with what it was trained on."""

    run: Run
    splits: Splits
    metric: Metric
    is_main: bool
    """Whether this process is the one that writes."""
    cut: bool = False
    """Whether this process has proven that the model can be cut behind its backbone, which is inert."""
    backbone: Backbone | None = None
    """The network, where it is inert and this process has it: it was compared with its digest when training ended."""


def shipped(trained: Trained) -> Run:
    """The run with its result, which the first process makes. Raises: as `ship`."""
    if trained.is_main:
        with runs.resumable(trained.run):
            ship(trained)
    return trained.run


@memory.kept()
@precision.full_float32()
def ship(trained: Trained) -> Run:
    """Measure what was trained, on the file that ships, and write the card, `report.json` and `result.json`.

    The test samples are looked at here for the first time. Raises: RunFailed if the outputs of the file are not those of the model.
    """
    run, splits, task = trained.run, trained.splits, trained.splits.task
    config = run.resolved().config
    recorded = saved_config.read(run.best)["facts"]["check_logits"]
    judged = pools.read(run) if _training(run).get("refit") else None
    imports.wait()
    model = inference.load(run.best, backbone=trained.backbone).model
    with Measure(model, config, proven=trained.cut) as measure:
        difference = compare(measure.whole(splits.val, len(recorded)), recorded, run.best)
        fitted = {"train"} if judged is None else {"train", "val"}
        found = measure({name: samples for name, samples in splits.parts().items() if name not in fitted})
        if judged is not None:
            found["val"] = _held_out(judged, splits, measure.model)
    thresholds = choose_thresholds(*found["val"]) if task is Task.MULTILABEL else None
    report_of = partial(report_on, labels=splits.labels, task=task, thresholds=thresholds, extra_metrics=[trained.metric])
    report = report_of(*found["val" if splits.test is None else "test"])
    validation = report if splits.test is None else report_of(*found["val"], intervals=False)
    split = "test" if splits.test is not None else "val" if judged is None else HELD_OUT
    _add_card(trained, report, split, difference, thresholds, "" if judged is None else judged.words)
    folders.write_text(run.path / "report.json", json.dumps(report.to_dict(), indent=1))
    folders.write_text(run.path / "result.json", json.dumps(_result(trained, report, split, validation, difference), indent=1))
    for line in report.warnings:
        log.warning("%s", line)
    return run


def _held_out(judged: Judged, splits: Splits, model: AdaptedModel) -> tuple[Targets, NDArray[np.float64]]:
    """Targets, and what was predicted by heads that were not fitted to them, as `Measure` gives them."""
    targets = np.concatenate([splits.train.targets, splits.val.targets])
    return targets[judged.samples], model.predicted(judged.logits)


def _training(run: Run) -> dict[str, Any]:
    """What training wrote down."""
    return dict(json.loads((run.path / "training.json").read_text(encoding="utf-8")))


def damage(run: Run) -> str | None:
    """What is wrong with the result or the `best/` of a finished run; None if nothing is (its card may have been edited).

    Raises: ConfigError if its options cannot be read: then nothing can be made again.
    """
    run.resolved()
    try:
        if run.result().get("sha256") != folders.sha256(run.best / saved.WEIGHTS):
            return f"{run.best}: its weights are not those of {run.path / 'result.json'}"
        if CARD not in saved.verify(run.best):
            return f"{run.best / CARD}: missing"
    except CheckpointError as error:
        return str(error)
    except OSError as error:
        return f"{run.best / saved.WEIGHTS}: {error.strerror}"
    return None


def choose_thresholds(targets: Targets, logits: NDArray[np.float64]) -> list[float] | None:
    """For each label, the probability from which it is said to hold, chosen on validation samples; None where every label keeps 0.5.

    A label of few samples keeps 0.5: what is best by chance for so few, which may be to say it always, is not best for others (the
    winner's curse: Lipton et al. 2014, arxiv.org/abs/1402.1892).
    """
    outputs = MultilabelOutputs.from_logits(targets, logits)
    known = outputs.support >= ENOUGH
    return np.where(known, best_thresholds(outputs), THRESHOLD).tolist() if known.any() else None


class Measure(contextlib.AbstractContextManager["Measure"]):
    """The outputs of a model that was loaded again. Where its backbone is inert, its head is run on the features of that backbone,
    which is known by its digest: those that the cache has need not be computed again."""

    def __init__(self, model: AdaptedModel, config: FinetuneConfig, *, proven: bool = False) -> None:
        """proven: this process has cut the very backbone behind its features already, which need not be proven again."""
        self.model, self.config = model, config
        self.device = torch.device(config.machine.device)
        prepare(model, self.device)
        inert = model.plan.strategy.inert and cache.place(config.machine.cache) is not None
        self.cut = None if not inert else boundary.behind(model) if proven else boundary.cut(model)
        self.extractor: Extractor | None = None
        if self.cut is not None:
            self.extractor = Extractor(self.cut.prefix, self.cut.where, model.backbone, config, self.device)

    def __call__(self, parts: Mapping[str, SampleSet]) -> dict[str, tuple[Targets, NDArray[np.float64]]]:
        """Targets (`zoo.data.targets`) and what the model predicts (`AdaptedModel.predicted`) of sets of samples, by their names."""
        batch_size, wanted = self.config.optim.batch_size, [Wanted(samples) for samples in parts.values()]
        found = {}
        if self.cut is not None and self.extractor is not None and all(one.known for one in wanted):
            for (name, samples), rows in zip(parts.items(), self.extractor.all_rows(wanted), strict=True):
                logits, targets = collect(self.cut.tail, EvalRows(rows, samples, batch_size=batch_size), self.device)
                found[name] = targets, self.model.predicted(logits)
            return found
        how = loading(self.config.loader, workers(self.config), self.device.type)
        for name, samples in parts.items():
            logits, targets = outputs(self.model, samples, self.device, batch_size, **how)
            found[name] = targets, self.model.predicted(logits)
        return found

    def whole(self, samples: SampleSet, count: int) -> NDArray[np.float32]:
        """Logits `[n, C] float32` of the first samples by the whole network, in torch's fp32."""
        first = samples.subset(np.arange(min(count, len(samples))))
        return outputs(self.model, first, self.device, len(first))[0]

    def __exit__(self, *exception: object) -> None:
        if self.extractor is not None:
            self.extractor.__exit__(*exception)


def outputs(
    model: AdaptedModel, samples: SampleSet, device: torch.device, batch_size: int, **how: Unpack[Loading]
) -> tuple[NDArray[np.float32], Targets]:
    """Logits `[N, C] float32` and targets (`zoo.data.targets`) of a set of samples, by one process."""
    batches = EvalBatches(samples, model.backbone.preprocess, batch_size=batch_size, **how)
    return collect(prepare(model, device), batches, device)


def compare(logits: NDArray[np.float32], recorded: list[list[float]], folder: Path) -> float:
    """The largest difference between the logits of the loaded file and those that were recorded in training.

    Raises: RunFailed if it is more than rounding explains.
    """
    expected = np.asarray(recorded, dtype=np.float64)
    difference = float(np.abs(logits[: len(expected)] - expected).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        raise RunFailed(
            f"{folder}: loaded again, its logits differ by {difference:.3g} (more than {allowed:.3g}) from those in training"
        )
    return difference


def _add_card(
    trained: Trained,
    report: Report,
    split: str,
    difference: float,
    thresholds: list[float] | None,
    held_out: str,
) -> None:
    """Write `best/` again with its figures and card beside the very same weights, and with the thresholds in its config."""
    run, facts = trained.run, trained.splits.facts
    resolved = run.resolved()
    training = _training(run)
    block = saved_config.read(run.best) | {"thresholds": thresholds}
    with folders.whole(run.best, replace=True) as folder:
        for file in run.best.iterdir():
            # Weights, config, and a tokenizer where there is one.
            if file.is_file() and file.name not in (folders.MANIFEST, CARD):
                (folders.share if file.name == saved.WEIGHTS else shutil.copyfile)(file, folder / file.name)
        if thresholds is not None:
            plain = json.loads((folder / saved_config.CONFIG).read_text(encoding="utf-8"))
            written = json.dumps(plain | {"zoo": block}, indent=1, ensure_ascii=False)
            (folder / saved_config.CONFIG).write_text(written + "\n", encoding="utf-8")
        card = CardFacts(
            report=report,
            config=block,
            options=resolved.config.flat(),
            origins=resolved.origins,
            data={
                "name": resolved.config.data.data,
                "sha256": facts.sha256,
                "licence": None if facts.licence == "unknown" else facts.licence,
                "sizes": facts.sizes,
                "counts": facts.counts,
                "notices": [*facts.notices, *training["cut"]],
            },
            trains=training["trains"],
            environment=training["environment"],
            seconds=training["seconds"],
            split=split,
            held_out=held_out,
            step=training["chosen"],
            reload_difference=difference,
        )
        write_card(folder, card)


def _result(trained: Trained, report: Report, split: str, validation: Report, difference: float) -> dict[str, Any]:
    run, metric = trained.run, trained.metric.name
    training = _training(run)
    value = report.values[metric]
    return {
        "metric": metric,
        "value": value.value,
        "low": value.low,
        "high": value.high,
        "split": split,
        "samples": report.n,
        "validation_value": validation.values[metric].value,
        "seconds": training["seconds"],
        "steps": training["steps"],
        "epochs": training["epochs"],
        "best_step": training["best_step"],
        "trained_tensors": training["trained_tensors"],
        "trained_parameters": training["trained_parameters"],
        "trains": training["trains"],
        "reload_difference": difference,
        "sha256": folders.sha256(run.best / saved.WEIGHTS),
        "metrics": {name: one.value for name, one in report.values.items()},
    }
