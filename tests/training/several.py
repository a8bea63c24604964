"""One of several training processes, for tests: `python -m torch.distributed.run --nproc-per-node=N several.py FOLDER OPTIONS`.

Trains by the loop and writes to FOLDER, for each evaluation of each process, the whole state of the model then, `RANK-STEP.safetensors`,
and what torch was seeded with at each forward pass of training, `RANK.json`.
OPTIONS, JSON, are those of `zoo.finetune`; the head `counting` keeps state of every sort.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from zoo import registry, runs
from zoo.config import resolve
from zoo.data import open_splits
from zoo.evaluation import metrics
from zoo.training import assembly as jobs
from zoo.training import launch, loop
from zoo.training.trackers import Trackers


class Counting(nn.Module):
    """Batch norm, a constant that 3 does not divide, and a count that differs between the processes."""

    def __init__(self, width, outputs):
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(width), nn.Linear(width, outputs)
        self.register_buffer("constant", torch.full((5,), 0.1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.seeds = []

    def forward(self, features):
        if self.training:
            self.seen += len(features)
            self.seeds.append(torch.initial_seed())
        return self.last(self.norm(features))


class Watch:
    """A tracker in every process, not in the first alone."""

    def __init__(self, model, folder, rank):
        self.model, self.folder, self.rank = model, folder, rank

    def step(self, step, values):
        pass

    def evaluation(self, step, record):
        state = {
            name: tensor.contiguous().clone() for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers())
        }
        save_file(state, self.folder / f"{self.rank}-{step}.safetensors")
        (self.folder / f"{self.rank}.json").write_text(json.dumps(self.model.head.seeds))

    def close(self):
        pass


def main(folder: Path, options: dict) -> None:
    resolved = resolve([("flag", {**options, "out": str(folder / "run")})])
    config = resolved.config
    splits = open_splits(config)
    machine = launch.accelerator(config)
    model = jobs.build_model(config, splits)
    job = jobs.make_job(config, splits, model, metrics.resolve("accuracy"), machine)
    if machine.is_main_process:
        runs.create(resolved, {})
    machine.wait_for_everyone()
    loop.train(job, runs.open_run(folder / "run"), machine, Trackers([Watch(model, folder, machine.process_index)]))


if __name__ == "__main__":
    registry.register_head("counting")(Counting)
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
