"""The end of a run: the best model is loaded again from its file, compared, measured, and given its card."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo import folders, inference
from zoo.adaptation import saved
from zoo.adaptation.model import AdaptedModel
from zoo.data.loaders import EvalBatches
from zoo.data.sets import PictureSet
from zoo.errors import RunFailed
from zoo.evaluation.metrics import Metric
from zoo.evaluation.report import Report
from zoo.evaluation.report import evaluate as report_on
from zoo.publishing.card import CardFacts, write_card
from zoo.runs import Run
from zoo.training.collect import collect, prepare
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
    model = inference.load(run.best).model
    device = torch.device(config.machine.device)
    batch_size, workers = config.optim.batch_size, config.data.num_workers or 0
    validation, logits = measure(model, splits.val, session.metric, device, batch_size, workers)
    facts = saved.read_config(run.best)["facts"]
    difference = compare(logits, facts["check_logits"], config.machine.device, run.best)
    split, report = "val", validation
    if splits.test is not None:
        split = "test"
        report, _ = measure(model, splits.test, session.metric, device, batch_size, workers)
    _add_card(session, report, split, difference)
    folders.write_text(run.path / "report.json", json.dumps(report.to_dict(), indent=1))
    folders.write_text(run.path / "result.json", json.dumps(_result(session, report, split, validation, difference), indent=1))
    for line in report.warnings:
        log.warning("%s", line)
    return run


def measure(
    model: AdaptedModel, pictures: PictureSet, metric: Metric, device: torch.device, batch_size: int, num_workers: int
) -> tuple[Report, NDArray[np.float32]]:
    """The report on a set of pictures, with intervals, and the logits `[N, C] float32` behind it."""
    logits, targets = outputs(model, pictures, device, batch_size, num_workers)
    labels = model.labels
    assert labels is not None  # a saved model of ours always has them
    return report_on(targets, logits, labels, extra_metrics=[metric]), logits


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
            step=(
                f"step {block['facts']['step']} of {training['steps']}, the best of the evaluations by {block['facts']['metric']} on the "
                f"validation pictures ({block['facts']['validation_value']:.4f}; a tie keeps the earlier)"
            ),
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
