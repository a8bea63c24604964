"""`zoo show`: what a backbone is, and what a strategy would train of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchinfo import summary

from zoo import backbones, content, registry
from zoo.adaptation.model import AdaptedModel


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
