"""The end of a run: what is chosen on validation samples alone, and what stands on the card."""

import json

import numpy as np
import pytest
import torch
from closeness import tolerance

import zoo
from zoo.adaptation import saved
from zoo.data import from_datasets
from zoo.jobs.shipping import choose_thresholds, outputs

NAMES = ("red", "green", "blue")
OPTIONS = {
    "backbone": "timm/test_vit.r160_in1k",
    "weights": "random",
    "strategy": "linear-probe",
    "image_size": 32,
    "precision": "no",
    "num_workers": 0,
    "engine": "torch",
    "cache": "off",
    "tensorboard": False,
}


def samples(count, generator):
    """Images of noise, and labels that have nothing to do with them: each set of them has thresholds of its own."""
    images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    held = generator.random((count, len(NAMES))) < 0.4
    return [(image, [NAMES[number] for number in np.flatnonzero(labels)]) for image, labels in zip(images, held, strict=True)]


def test_thresholds_are_chosen_on_validation_samples_and_not_on_those_of_the_test(tmp_path):
    generator = np.random.default_rng(0)
    train, val, test = samples(60, generator), samples(60, generator), samples(60, generator)
    run = zoo.finetune(**OPTIONS, data=(train, val, test), label_names=NAMES, out=str(tmp_path / "run"))
    assert run.result()["split"] == "test"
    splits, model = from_datasets(train, val, test, NAMES), saved.open_saved(run.best)

    def best_on(part):
        logits, targets = outputs(model, part, torch.device("cpu"), 20)
        return choose_thresholds(targets, logits)

    shipped = json.loads((run.best / "config.json").read_text())["zoo"]["thresholds"]
    assert shipped == pytest.approx(best_on(splits.val), abs=tolerance())
    assert not np.allclose(best_on(splits.val), best_on(splits.test), atol=0.01)
    card = (run.best / "README.md").read_text()
    table = [line.split(" | ") for line in card.splitlines() if line.count(" | ") == 7]
    assert [float(cells[5]) for cells in table if cells[1] in NAMES] == pytest.approx(shipped, abs=1e-4)
    assert zoo.load(run.best).thresholds == shipped
