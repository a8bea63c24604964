"""`zoo finetune --dry-run`: what a run would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zoo.config import Resolved
from zoo.jobs.preparing import Extras, build, prepare
from zoo.training import assembly, launch, loop, micro_batches, optim


@dataclass(frozen=True)
class DryRun:
    """What a run would do."""

    config_rows: list[tuple[str, Any, str]]
    """Each option, its value, and where the value came from."""
    data_lines: list[str]
    """The data, for people."""
    data: dict[str, Any]
    """The data, as plain values."""
    trainable: list[tuple[str, str, tuple[int, ...]]]
    """Each tensor that would train, its group and its shape."""
    trains: str
    """The same in one line."""
    method: str
    """How it would be trained, and what would be computed once."""
    steps: int
    """Optimiser steps of the whole run; 0 where the head is solved."""
    loss: float
    """Loss of the one batch that was trained."""

    def to_dict(self) -> dict[str, Any]:
        """As one JSON-safe object."""
        return {
            "options": {name: {"value": value, "origin": origin} for name, value, origin in self.config_rows},
            "data": self.data,
            "trainable": [{"tensor": name, "group": group, "shape": list(shape)} for name, group, shape in self.trainable],
            "trains": self.trains,
            "way": self.method,
            "steps": self.steps,
            "loss": self.loss,
        }


@launch.one_run()
def dry_run(resolved: Resolved, given: Extras) -> DryRun:
    """Do everything that a run does before its second step, in one process, and keep nothing. Raises: ZooError."""
    asked = resolved.config
    prepared = prepare(resolved.settle("dry run", processes=1), given)
    splits, metric = prepared.splits, prepared.metric
    machine = launch.accelerator(prepared.config)
    built = build(prepared, machine)
    resolved, model, method = built.resolved, built.model, built.method
    config = resolved.config
    micro_batches.least(model, asked)  # with as many processes as the run would have
    work = assembly.make_job(config, splits, model, metric, machine)
    optimizer = optim.build_optimizer(model, config.optim)
    wrapped, prepared = machine.prepare(model, optimizer)
    wrapped.train()
    step, batches = next(iter(work.train.steps(0, 1)))
    loss, _ = loop.train_step(work, machine, wrapped, prepared, batches, step)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return DryRun(
        config_rows=[(name, value, resolved.origins[name]) for name, value in resolved.config.flat().items()],
        data_lines=splits.facts.lines(),
        data=splits.facts.to_dict(),
        trainable=[(name, group, shapes[name]) for name, group in model.plan.tensors.items()],
        trains=model.plan.summary(),
        method=method.why,
        steps=0 if method.name == "solved" else work.total_steps,
        loss=loss,
    )
