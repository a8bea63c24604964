"""Our loop, `recipes/loop.py` and twenty lines of plain torch see the same losses; so do two processes and one."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from closeness import assert_close
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from zoo import AdaptedModel, api, content
from zoo.config import build
from zoo.data import open_splits, order

BACKBONE, SIZE, BATCH, STEPS, RATE = "timm/test_vit.r160_in1k", 32, 97, 20, 1e-3
OPTIONS = {
    "backbone": BACKBONE, "weights": "random", "strategy": "full", "image_size": SIZE, "drop_path": 0.0, "augment": "none",
    "epochs": STEPS / 13, "batch_size": BATCH, "optimizer": "adamw", "lr": RATE, "backbone_lr_scale": 1.0, "weight_decay": 0.0,
    "schedule": "cosine", "warmup": 0.0, "label_smoothing": 0.0, "precision": "no", "num_workers": 0, "eval_every": 100.0,
    "clip": None,
}  # fmt: skip
"""Twenty steps of 97 images: the thirteenth, which ends the epoch, has 95."""


def losses(run):
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    return np.array([scalar.value for scalar in events.Scalars("train/loss")])


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return losses(api.finetune(**OPTIONS, out=str(tmp_path_factory.mktemp("ours") / "run")))


def test_twenty_lines_of_plain_torch(ours):
    splits = open_splits(build({}))
    model = AdaptedModel.build(BACKBONE, 10, strategy="full", weights="random", image_size=SIZE, labels=splits.labels)
    transform = model.backbone.preprocess.transform()
    images = torch.stack([transform(splits.train.item(index)) for index in range(len(splits.train))])
    targets = torch.tensor(splits.train.targets)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    model.train()
    plain = []
    for epoch in range(2):
        for chosen in torch.tensor(order(len(images), 0, epoch)).split(BATCH):
            if len(plain) < STEPS:
                loss = torch.nn.functional.cross_entropy(model(images[chosen]), targets[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                plain.append(loss.item())
    assert len(ours) == STEPS
    assert_close(ours, np.array(plain))


def test_the_loop_that_users_copy(ours):
    script = content.root() / "recipes" / "loop.py"
    words = ["--weights", "random", "--strategy", "full", "--image-size", SIZE, "--batch-size", BATCH, "--steps", STEPS]
    words += ["--lr", RATE, "--warmup", 0, "--num-workers", 0, "--out", "best"]
    command = [sys.executable, str(script), BACKBONE, *map(str, words)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = np.array([float(found) for found in re.findall(r"^step \d+ loss (\S+)$", said, re.M)])
    assert len(theirs) == STEPS
    assert_close(ours, theirs)
    assert len(api.predict("best", [torch.zeros(3, 50, 40, dtype=torch.uint8)], weights="random")) == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_and_micro_batches_change_nothing(ours, processes, tmp_path):
    options = {**OPTIONS, "accumulate": 3, "processes": processes}
    run = api.finetune(**options, out=str(tmp_path / "run"))
    assert_close(ours, losses(run))
    assert run.result()["samples"] == 269
    environment = api.list_runs(tmp_path)[0].path / "training.json"
    assert f'"processes": "{processes}"' in environment.read_text()


def test_torchrun_from_outside_works_too(ours, tmp_path):
    spelt = {name.replace("_", "-"): "none" if value is None else value for name, value in OPTIONS.items() if name != "backbone"}
    flags = [f"--{name}={value}" for name, value in spelt.items()]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "zoo",
        "finetune",
        BACKBONE,
    ]
    finished = subprocess.run(
        [*command, *flags, "--out", "run", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert finished.stdout.count('{"run"') == 1
    assert_close(ours, losses(api.list_runs(".")[0]))


@pytest.mark.parametrize(("words", "complaint"), [(["resnet50"], "no weights for resnet50 here"), (["resnet5o"], "no backbone")])
def test_the_loop_ends_in_one_line_where_zoo_does(words, complaint):
    script = content.root() / "recipes" / "loop.py"
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"loop.py: {complaint}")
    assert len(done.stderr.splitlines()) == 1
