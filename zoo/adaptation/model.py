"""AdaptedModel: a backbone, a head, and the plan of what training may change; and how a strategy makes that plan."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo import backbones, registry
from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.adaptation.strategies.full.applying import with_live_statistics
from zoo.backbones import generator
from zoo.backbones.backbone import Backbone
from zoo.errors import CheckpointError, ConfigError
from zoo.registry import HeadFactory
from zoo.scale import Scale
from zoo.strategy import Strategy, forms, parse
from zoo.types import Labels, Schema, Task

BatchNorm = Literal["auto", "live", "frozen"]
"""Whether batch-norm normalises by the statistics of a batch while training, or by those that it has. auto: as the latter, but under
`full` of random weights, whose statistics are of nothing."""


@torch.no_grad()
def fill(into: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    """Copy `state` into the tensors of the same names, in place; values take the model's dtype and device.

    Nothing is copied unless everything fits. Raises: CheckpointError naming `source` and the first tensors that do not.
    """
    if missing := [name for name in into if name not in state]:
        raise CheckpointError(f"{source}: tensors are missing: {first_of(missing)}; it belongs to another model or is incomplete")
    if unexpected := [name for name in state if name not in into]:
        raise CheckpointError(f"{source}: unexpected tensors: {first_of(unexpected)}; it belongs to another model")
    for name, tensor in into.items():
        if tensor.shape != state[name].shape:
            raise CheckpointError(
                f"{source}: tensor {name} has shape {list(state[name].shape)}, the model's has {list(tensor.shape)}; "
                "it belongs to another model"
            )
    for name, tensor in into.items():
        tensor.copy_(state[name])


def first_of(names: Iterable[str], shown: int = 3) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:shown]) + (f" and {len(listed) - shown} more" if len(listed) > shown else "")


def has_live_batch_norm(strategy: Strategy, backbone: Backbone, asked: BatchNorm) -> bool:
    """What `asked` comes down to; of a backbone without batch-norm, what it would be. Raises: ConfigError where it cannot be live."""
    able = strategy.live_statistics
    if asked == "live" and not able:
        takers = " and ".join(kind for kind, form in forms().items() if form.live_statistics)
        raise ConfigError(f"batch_norm live is for strategy {takers}; under {strategy} its statistics rest: leave it out")
    return asked == "live" or (asked == "auto" and able and not backbone.origin.pretrained)


def plan_of(strategy: Strategy, backbone: Backbone, options: AdapterOptions, batch_norm: BatchNorm = "auto") -> Plan:
    """Do to `backbone` what the strategy says (`lora` inserts modules into it) and give the plan, as yet without a head.

    Raises: ConfigError where the backbone has nothing that the strategy could train, or its batch-norm cannot be live.
    """
    live = has_live_batch_norm(strategy, backbone, batch_norm)
    plan: Plan = importlib.import_module(f"{type(strategy).__module__}.applying").apply(strategy, backbone, options)
    return with_live_statistics(plan, backbone) if live else plan


class AdaptedModel(nn.Module):
    """A backbone with a head for other classes.

    Frozen means inert: what is outside the plan takes no gradient and stays in eval mode, whatever `train()` is told, so that
    batch-norm statistics, dropout and drop-path rest too. Use `build` to make one.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        plan: Plan,
        *,
        num_outputs: int,
        head_name: str = "custom",
        labels: Labels | None = None,
        adapter: AdapterOptions | None = None,
        merged_from: Strategy | None = None,
        task: Task = Task.CLASSIFICATION,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.plan = plan.with_head(head)
        self.num_outputs = num_outputs
        self.head_name = head_name
        self.labels = labels
        self.adapter = adapter or AdapterOptions()
        """The options of LoRA, as they were given."""
        self.merged_from = merged_from
        """The strategy whose result was folded into these plain weights; None: nothing was folded."""
        self.task = task
        """What the outputs are: logits of classes, logits of labels, or values."""
        self.schema: Schema | None = None
        """Where its samples and targets stood in the data; None: nobody said."""
        self.scale: Scale | None = None
        """Of a regression that learns standardised values, what they are standardised by; None: outputs are in the values' own unit."""
        self._live = frozenset(self.plan.live)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in self.plan.tensors)
        self.eval()

    @classmethod
    def build(
        cls,
        backbone: str | Backbone,
        num_outputs: int,
        *,
        head: str | HeadFactory | nn.Module = "linear",
        strategy: str | Strategy = "linear-probe",
        weights: str | None = None,
        labels: Labels | None = None,
        image_size: int | None = None,
        drop_path: float = 0.0,
        lora_alpha: float | None = None,
        lora_dropout: float = 0.0,
        lora_targets: str | None = None,
        batch_norm: BatchNorm = "auto",
        task: Task | str = Task.CLASSIFICATION,
        seed: int = 0,
    ) -> Self:
        """A model in eval mode. New weights (head, LoRA) come from `seed`; torch's own generator is left as it was.

        backbone: a name, which is loaded with `weights`, `image_size` and `drop_path`, or a Backbone, which is changed in place.
        head: a registered name, any callable `(in_features, num_outputs)`, or a module.
        batch_norm: of `full`, whether its statistics are those of a batch (`zoo.adaptation.model.BatchNorm`).
        Raises: ConfigError (UnknownName) for a name, strategy, option or head that does not fit; WeightsError from loading.
        """
        asked = parse(strategy) if isinstance(strategy, str) else strategy
        adapter = AdapterOptions(lora_alpha, lora_dropout, lora_targets)
        given = {"lora_alpha": lora_alpha, "lora_dropout": lora_dropout or None, "lora_targets": lora_targets}
        other = [name for name, value in given.items() if value is not None and name not in asked.adapter_options]
        if other:
            takers = [form.written() for form in forms().values() if other[0] in form.adapter_options]
            raise ConfigError(f"{other[0]} is an option of {' and '.join(takers)}; the strategy is {asked}: leave it out")
        if labels is not None and len(labels) != num_outputs:
            raise ConfigError(f"{len(labels)} labels for {num_outputs} outputs; give one label an output")
        if isinstance(backbone, str):
            spec = registry.resolve(backbone)
            backbone = backbones.load(spec, weights, image_size=image_size, drop_path=drop_path, seed=seed)
        elif weights is not None or image_size is not None or drop_path:
            raise ConfigError(
                "weights, image_size and drop_path are for a backbone given by its name; this one is loaded already"
            )
        with generator.forked(seed):
            name, module = _head(head, backbone, num_outputs)
            plan = plan_of(asked, backbone, adapter, batch_norm)
        return cls(
            backbone, module, plan, num_outputs=num_outputs, head_name=name, labels=labels, adapter=adapter, task=Task(task)
        )

    @property
    def takes_tokens(self) -> bool:
        """Whether the head gets the features before pooling."""
        return bool(getattr(self.head, "takes_tokens", False))

    def forward(self, batch: Tensor) -> Tensor:
        """A batch of samples as `Preprocess.collate` gives it, or ready already, to logits `[B, num_outputs] float32`, whatever the
        autocast dtype. Of a regression, what `predicted` takes."""
        inputs = self.backbone.ready(batch)
        features = self.backbone.tokens(inputs) if self.takes_tokens else self.backbone(inputs)
        logits: Tensor = self.head(features).float()
        return logits

    def predicted(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """The model's outputs `[B, num_outputs]` with their meaning: of a regression the values in their own unit, in float64, as float32
        has no room for values far from zero; of other tasks the logits as they are."""
        return np.asarray(outputs, dtype=np.float64) if self.scale is None else self.scale.restored(outputs)

    def learnt(self, targets: Tensor) -> Tensor:
        """Targets as the outputs are compared with them in training: of a regression `[B, K] float32`, standardised; else as they are."""
        if self.task is not Task.REGRESSION:
            return targets
        return targets.float() if self.scale is None else torch.from_numpy(self.scale.standardised(targets.numpy()))

    def train(self, mode: bool = True) -> Self:
        """As torch's, except that what the plan does not name stays in eval mode."""
        self.training = mode
        # Parents come first, so that each module's own word is the last; some (LeViT) clear a cache in their train().
        for name, module in self.backbone.named_modules(prefix="backbone"):
            module.train(mode and name in self._live)
        self.head.train(mode)
        return self

    def enter_phase(self, number: int) -> None:
        """Train what a phase of the plan says, and the head; what waits for a later phase is as if it were frozen."""
        phase = self.plan.phases[number]
        heads = {name for name, group in self.plan.tensors.items() if group == "head"}
        self._live = frozenset(phase.live)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in heads or name in phase.tensors)
        self.train(self.training)

    def trained_state(self) -> dict[str, Tensor]:
        """Exactly what training may change, parameters and buffers, by full name, detached (not copied)."""
        state = self.state_dict()
        return {name: state[name] for name in (*self.plan.tensors, *self.plan.buffers)}

    def load_trained_state(self, state: Mapping[str, Tensor], source: str = "checkpoint") -> None:
        """Put back what `trained_state` gave. Raises: CheckpointError naming `source` and the tensors that do not fit."""
        fill(self.trained_state(), state, source)


def _head(head: str | HeadFactory | nn.Module, backbone: Backbone, num_outputs: int) -> tuple[str, nn.Module]:
    """The head and its name, proven on two samples. Raises: ConfigError."""
    if num_outputs < 1:
        raise ConfigError(f"num_outputs is {num_outputs}; a model has at least one output")
    if isinstance(head, nn.Module):
        name, module = "custom", head
        features = _features(backbone, bool(getattr(head, "takes_tokens", False)))
    else:
        factory = registry.head(head) if isinstance(head, str) else head
        name = head if isinstance(head, str) else registry.head_name(factory)
        features = _features(backbone, bool(getattr(factory, "takes_tokens", False)))
        try:
            with features.device:
                module = factory(features.shape[-1], num_outputs)
        except Exception as error:
            raise ConfigError(f"head {name!r} cannot be made for {features.shape[-1]} features: {_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"head {name!r} gave a {type(module).__name__}; expected a torch.nn.Module")
    if bool(getattr(module, "takes_tokens", False)) != (features.ndim == 3):
        raise ConfigError(f"head {name!r}: its factory and its module disagree on takes_tokens")
    _check_shape(name, module, features, num_outputs)
    return name, module


@torch.no_grad()
def _features(backbone: Backbone, tokens: bool) -> Tensor:
    """Two samples such as the head gets: `[2, D]`, or `[2, T, D]` with the T of one real forward."""
    device = next(backbone.parameters()).device
    if not tokens:
        return torch.randn(2, backbone.feature_dim, device=device)
    return backbone.eval().tokens(backbone.preprocess.example(2).to(device))


@torch.no_grad()
def _check_shape(name: str, module: nn.Module, features: Tensor, num_outputs: int) -> None:
    was_training = module.training
    try:
        output: Any = module.eval()(features)
    except Exception as error:
        raise ConfigError(f"head {name!r} cannot take features of shape {list(features.shape)}: {_line(error)}") from error
    finally:
        module.train(was_training)
    got = f"{list(output.shape)} {output.dtype}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
    if not isinstance(output, Tensor) or list(output.shape) != [2, num_outputs] or not output.is_floating_point():
        raise ConfigError(
            f"head {name!r} gives {got.removeprefix('torch.')} for features of shape {list(features.shape)}; "
            f"expected {[2, num_outputs]} of floats"
        )


def _line(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0]
