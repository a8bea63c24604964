"""Looking before leaping: what a run would do (`--dry-run`), and what a backbone is (`zoo show`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchinfo import summary

from zoo import backbones, content, registry
from zoo.adaptation.model import AdaptedModel
from zoo.config import Resolved
from zoo.data.splits import open_splits
from zoo.training import job, launch, loop, micro_batches, optim, session
from zoo.training.session import Extras
from zoo.training.way import choose_way


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
    way: str
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
            "way": self.way,
            "steps": self.steps,
            "loss": self.loss,
        }


@launch.one_run()
def dry_run(resolved: Resolved, extras: Extras) -> DryRun:
    """Do everything that a run does before its second step, in one process, and keep nothing. Raises: ZooError."""
    asked = resolved.config
    resolved = session.settle(resolved.settle("dry run", processes=1))
    config = resolved.config
    splits = session.labelled(extras.splits or open_splits(config), config)
    resolved, metric = session.by_task(resolved, splits, extras.metric)
    config = resolved.config
    machine = launch.accelerator(config)
    model = job.build_model(config, splits)
    micro_batches.least(model, asked)  # with as many processes as the run would have
    resolved = resolved.settle("backbone", **model.backbone.preprocess.options())
    resolved = resolved.settle("model", **job.left_to_model(model, config))
    way = choose_way(model, config, sum(len(part) for part in splits.parts().values()))
    work = job.make_job(config, splits, model, metric, machine)
    optimizer = optim.build_optimizer(model.to(machine.device), config.optim)
    wrapped, prepared = machine.prepare(model, optimizer)
    wrapped.train()
    step, batches = next(iter(work.train.steps(0, 1)))
    loss = loop.train_step(work, machine, wrapped, prepared, batches, step)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return DryRun(
        config_rows=[(name, value, resolved.origins[name]) for name, value in resolved.config.flat().items()],
        data_lines=splits.facts.lines(),
        data=splits.facts.to_dict(),
        trainable=[(name, group, shapes[name]) for name, group in model.plan.tensors.items()],
        trains=model.plan.summary(),
        way=way.why,
        steps=0 if way.name == "solved" else work.total_steps,
        loss=loss,
    )


@dataclass(frozen=True)
class Shown:
    """A backbone, described."""

    spec: registry.BackboneSpec
    card: str
    """The family's card, Markdown."""
    stages: list[tuple[str, int, int]]
    """Name, tensors and parameters of each stage, input to output."""
    plan: list[dict[str, Any]] | None
    """What the strategy would train, by group: tensors, parameters, share in percent. None if no strategy was asked for."""
    trains: str | None
    """The same in one line."""
    summary_text: str
    """torchinfo's table: modules, output shapes, parameters."""

    def to_dict(self) -> dict[str, Any]:
        """As one JSON-safe object."""
        spec = self.spec
        return {
            "name": spec.name,
            "id": spec.id,
            "family": spec.family.name if spec.family else None,
            "kind": spec.kind.value,
            "licence": spec.licence,
            "licence_source": spec.licence_source,
            "feature_dim": spec.feature_dim,
            "params_m": spec.params_m,
            "input_size": spec.input_size,
            "max_length": spec.max_length,
            "stages": [{"name": name, "tensors": tensors, "parameters": count} for name, tensors, count in self.stages],
            "plan": self.plan,
            "trains": self.trains,
        }


def show(name: str, strategy: str | None = None, *, num_outputs: int = 10) -> Shown:
    """Describe a backbone, with random weights: nothing is looked for or fetched.

    Args:
        strategy: show what it would train; the head is a linear layer with `num_outputs` outputs.

    Raises: UnknownName, ConfigError.
    """
    spec = registry.resolve(name)
    backbone = backbones.load(spec, "random")
    sizes = {parameter: tensor.numel() for parameter, tensor in backbone.net.named_parameters()}
    stages = [(stage.name, len(stage.parameters), sum(sizes[one] for one in stage.parameters)) for stage in backbone.stages]
    example = backbone.preprocess.example(1)
    architecture = str(
        summary(backbone, input_data=example, depth=4, verbose=0, device="cpu", col_names=("output_size", "num_params"))
    )
    model = None if strategy is None else AdaptedModel.build(backbone, num_outputs, strategy=strategy)
    cards = content.files("model_cards", ".md")
    card = cards.get(spec.family.name) if spec.family else None
    return Shown(
        spec=spec,
        card=card.read_text(encoding="utf-8") if card else f"{name}: a network of {spec.loader}, of no family that zoo curates.",
        stages=stages,
        plan=None if model is None else _by_group(model),
        trains=None if model is None else model.plan.summary(),
        summary_text=architecture,
    )


def _by_group(model: AdaptedModel) -> list[dict[str, Any]]:
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    rows = []
    for group in dict.fromkeys(model.plan.tensors.values()):
        members = [name for name, its in model.plan.tensors.items() if its == group]
        count = sum(sizes[name] for name in members)
        percent = round(100 * count / model.plan.total, 3)
        rows.append({"group": group, "tensors": len(members), "parameters": count, "percent": percent})
    return rows
