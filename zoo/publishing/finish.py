"""The end of a run: the best model is loaded again from its file, compared, measured, and given its card."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo import cache, folders, inference
from zoo.adaptation import boundary, saved
from zoo.adaptation.model import AdaptedModel
from zoo.config import FinetuneConfig
from zoo.data.loaders import EvalBatches
from zoo.data.sets import PictureSet
from zoo.errors import RunFailed
from zoo.evaluation.metrics import Metric
from zoo.evaluation.report import Report
from zoo.evaluation.report import evaluate as report_on
from zoo.publishing.card import CardFacts, write_card
from zoo.runs import Run
from zoo.training.collect import collect, prepare
from zoo.training.features import Extractor
from zoo.training.rows import EvalRows
from zoo.training.session import Session

log = logging.getLogger("zoo")

TOLERANCE = {"cpu": 1e-4, "cuda": 1e-2}
"""Largest difference of a logit, as a share of the largest logit (or of 1), between the model in training and its file loaded again.
Both are computed in fp32, so what differs is the order of sums (about 1e-6 on CPUs); convolutions on a GPU use TF32, of 10 bits."""


def finish(session: Session) -> Run:
    """Measure what was trained, on the file that ships, and write the card, `report.json` and `result.json`.

    The test pictures are looked at here for the first time. Raises: RunFailed if the file does not answer as the model did.
    """
    run, splits = session.run, session.splits
    folders.verify(run.best)
    config = run.resolved().config
    recorded = saved.read_config(run.best)["facts"]["check_logits"]
    with Measure(inference.load(run.best).model, config, session.metric) as measure:
        difference = compare(measure.whole(splits.val, len(recorded)), recorded, config.machine.device, run.best)
        split, report = ("val", measure(splits.val)) if splits.test is None else ("test", measure(splits.test))
        validation = report if splits.test is None else measure(splits.val, intervals=False)
    _add_card(session, report, split, difference)
    folders.write_text(run.path / "report.json", json.dumps(report.to_dict(), indent=1))
    folders.write_text(run.path / "result.json", json.dumps(_result(session, report, split, validation, difference), indent=1))
    for line in report.warnings:
        log.warning("%s", line)
    return run


class Measure(contextlib.AbstractContextManager["Measure"]):
    """Reports on a model that was loaded again. Where its backbone is inert, its head answers on the features of that backbone, which
    is known by its digest: those that the cache has need not be computed again."""

    def __init__(self, model: AdaptedModel, config: FinetuneConfig, metric: Metric) -> None:
        self.model, self.config, self.metric = model, config, metric
        self.device = torch.device(config.machine.device)
        prepare(model, self.device)
        inert = model.plan.strategy.kind == "linear-probe" and cache.place(config.machine.cache) is not None
        self.cut = boundary.cut(model) if inert else None
        self.extractor: Extractor | None = None
        if self.cut is not None:
            self.extractor = Extractor(self.cut.prefix, self.cut.where, model.backbone, config, self.device)

    def __call__(self, pictures: PictureSet, *, intervals: bool = True) -> Report:
        """The report on a set of pictures."""
        batch_size, labels = self.config.optim.batch_size, self.model.labels
        assert labels is not None  # a saved model of ours always has them
        if self.cut is not None and self.extractor is not None and pictures.digests.astype(bool).all():
            rows = EvalRows(self.extractor.rows(pictures), pictures, batch_size=batch_size)
            logits, targets = collect(self.cut.tail, rows, self.device)
        else:
            logits, targets = outputs(self.model, pictures, self.device, batch_size, self.config.data.num_workers or 0)
        return report_on(targets, logits, labels, extra_metrics=[self.metric], intervals=intervals)

    def whole(self, pictures: PictureSet, count: int) -> NDArray[np.float32]:
        """Logits `[n, C] float32` of the first pictures by the whole network, in torch's fp32."""
        first = pictures.subset(np.arange(min(count, len(pictures))))
        return outputs(self.model, first, self.device, len(first), 0)[0]

    def __exit__(self, *exception: object) -> None:
        if self.extractor is not None:
            self.extractor.__exit__(*exception)


def outputs(
    model: AdaptedModel, pictures: PictureSet, device: torch.device, batch_size: int, num_workers: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits `[N, C] float32` and targets `[N] int64` of a set of pictures, by one process."""
    preprocess = model.backbone.preprocess
    batches = EvalBatches(
        pictures, preprocess.geometry(), batch_size=batch_size, num_workers=num_workers, at_least=preprocess.decode_at
    )
    return collect(prepare(model, device), batches, device)


def compare(logits: NDArray[np.float32], recorded: list[list[float]], device: str, folder: Path) -> float:
    """The largest difference between the logits of the loaded file and those that were recorded in training.

    Raises: RunFailed if it is more than rounding explains.
    """
    expected = np.asarray(recorded, dtype=np.float64)
    difference = float(np.abs(logits[: len(expected)] - expected).max())
    allowed = TOLERANCE[device] * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        raise RunFailed(
            f"{folder}: loaded again, its logits differ by {difference:.3g} (more than {allowed:.3g}) from those in training"
        )
    return difference


def _add_card(session: Session, report: Report, split: str, difference: float) -> None:
    """Write `best/` again with its figures and card beside the very same weights."""
    run, facts = session.run, session.splits.facts
    resolved = run.resolved()
    training = json.loads((run.path / "training.json").read_text(encoding="utf-8"))
    block = saved.read_config(run.best)
    with folders.whole(run.best, replace=True) as folder:
        for name in (saved.WEIGHTS, saved.CONFIG):
            shutil.copyfile(run.best / name, folder / name)
        card = CardFacts(
            report=report,
            config=block,
            options=resolved.config.flat(),
            origins=resolved.origins,
            data={
                "name": resolved.config.data.data,
                "sha256": facts.sha256,
                "licence": None if facts.licence == "unknown" else facts.licence,
                "counts": facts.counts,
                "notices": list(facts.notices),
            },
            trains=training["trains"],
            environment=training["environment"],
            seconds=training["seconds"],
            split=split,
            step=training["chosen"],
            reload_difference=difference,
        )
        write_card(folder, card)


def _result(session: Session, report: Report, split: str, validation: Report, difference: float) -> dict[str, Any]:
    run, metric = session.run, session.metric.name
    training = json.loads((run.path / "training.json").read_text(encoding="utf-8"))
    value = report.values[metric]
    return {
        "metric": metric,
        "value": value.value,
        "low": value.low,
        "high": value.high,
        "split": split,
        "pictures": report.n,
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
