"""An adapted model cut in two where nothing before the cut can change: activations there are computed once, the rest trains on them.

Both halves are structural copies: module objects of their own, so that each has a mode of its own, around the very dictionaries of
parameters and buffers that the model has, so that training, moving or loading one is doing it to all. What a half leaves out is
`nn.Identity`, and the network's own forward runs through it. No network is known by name here; so every cut proves itself on two
samples, in eval and in train mode, and one that is not exact to the bit is not made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from types import MethodType
from typing import TypeVar

import torch
from torch import Tensor, nn

from zoo.adaptation.model import AdaptedModel
from zoo.adaptation.plan import NET
from zoo.backbones import generator
from zoo.backbones.backbone import Backbone
from zoo.types import Kind
from zoo.upstream import children_of

log = logging.getLogger("zoo")

_Module = TypeVar("_Module", bound=nn.Module)


@dataclass(frozen=True)
class Cut:
    """The two halves of a model: `tail(prefix(samples))` is `model(samples)`, to the bit, in eval mode and, seeded alike, in train mode.

    To the bit for the same batch in the same memory layout: a kernel may round otherwise for another batch size, or where
    activations that came with channels last go on with channels first.
    """

    prefix: nn.Module
    """`[B, 3, size, size] float32` to the activations, one tensor `[B, ...]` of the network's own layout. Inert, always in eval mode."""
    tail: AdaptedModel
    """Activations to logits `[B, num_outputs] float32`. Plan, labels, head and every parameter and buffer are the model's own."""
    where: str
    """`pooled features`, `tokens`, or `the input of MODULE` with the module's name in the network."""


def cut(model: AdaptedModel) -> Cut | None:
    """Cut a model before the first stage in which its plan trains, keeps state, or lets dropout and the like act.

    Behind the whole backbone where that rests: at the pooled features, or the tokens if the head takes those. The model is left as
    it was, its mode and torch's generators too. Costs three forward passes of two samples in each mode; memory, next to nothing.

    Returns None where the first stage trains, as nothing would be gained; between stages where samples differ in length (rows of what
    is computed once have one shape); and where the network cannot be cut exactly, which is logged.
    """
    touched = [
        name.removeprefix(NET) for name in (*model.plan.tensors, *model.plan.live, *model.plan.buffers) if name.startswith(NET)
    ]
    if model.backbone.preprocess.kind is not Kind.IMAGE and (touched or model.takes_tokens):
        return None
    halves = _inside(model, touched) if touched else behind(model)
    if halves is None:
        return None
    try:
        fault = _fault(model, halves)
    except Exception as error:  # a network of another build than is supposed here can raise anything
        fault = str(error).partition("\n")[0] or type(error).__name__
    if fault:
        log.info("%s is not cut at %s: %s", model.backbone.spec.name, halves.where, fault)
        return None
    return halves


class _Prefix(nn.Module):
    """The frozen half: one method of a network, in eval mode whatever it is told."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method
        self.eval()

    def forward(self, samples: Tensor) -> Tensor:
        activations: Tensor = getattr(self.network, self.method)(samples)
        return activations

    def train(self, mode: bool = True) -> _Prefix:
        return super().train(False)


class _Computed(Backbone):
    """A backbone whose features are computed already: it gives what it gets."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.net = nn.Identity()
        self.spec, self.preprocess, self.origin = backbone.spec, backbone.preprocess, backbone.origin
        self.feature_dim, self.token_dim = backbone.feature_dim, backbone.token_dim
        self.stages, self.norms, self.base_sha256 = backbone.stages, backbone.norms, backbone.base_sha256
        self.eval()

    def ready(self, batch: Tensor) -> Tensor:
        return batch

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs

    def tokens(self, inputs: Tensor) -> Tensor:
        return inputs


def behind(model: AdaptedModel) -> Cut:
    """The cut between backbone and head, whatever of the backbone the plan trains: its features are those of its tensors as they are.

    Tokens if the head takes those, else pooled features."""
    tail = _twin(model)
    tail.backbone = _Computed(model.backbone)
    method, where = ("tokens", "tokens") if model.takes_tokens else ("forward", "pooled features")
    return Cut(_Prefix(_twin(model.backbone), method), tail, where)


def _inside(model: AdaptedModel, touched: list[str]) -> Cut | None:
    """The cut before the first stage with one of the `touched` tensors or modules of the network; None if that is the first of all."""
    net = model.backbone.net
    stage_of = {parameter: number for number, stage in enumerate(model.backbone.stages) for parameter in stage.parameters}
    units = _units(net, stage_of)
    first = min(
        (number for unit, number in units.items() if any(f"{name}.".startswith(f"{unit}.") for name in touched)), default=0
    )
    before = [unit for unit, number in units.items() if number < first]
    after = [unit for unit, number in units.items() if number >= first]
    if not before or not after:
        return None
    tail, start = _twin(model), _twin(net)
    for unit in before:
        tail.backbone.net.set_submodule(unit, nn.Identity())
    for unit in after:
        start.set_submodule(unit, nn.Identity())
    if hasattr(net, "_pos_embed"):  # timm's transformers add class token and positions in a method, not in a module
        vars(tail.backbone.net)["_pos_embed"] = _as_it_is
    return Cut(_Prefix(start, "forward_features"), tail, f"the input of {after[0]}")


def _units(net: nn.Module, stage_of: dict[str, int]) -> dict[str, int]:
    """The modules that the network calls one after the other, none with parts in two stages, and the stage of each.

    They are taken to be called in the order in which they were registered; the proof finds out. One without parameters
    (activation, pooling, dropout) goes with the one before it.
    """
    units: dict[str, int] = {}
    number = 0
    for name, inside in _split(net, "", stage_of):
        number = min(inside, default=number)
        units[name] = number
    return units


def _split(module: nn.Module, prefix: str, stage_of: dict[str, int]) -> Iterator[tuple[str, set[int]]]:
    """Name and stages of each child, or of its children if it has several stages."""
    for leaf, child in module.named_children():
        name = prefix + leaf
        inside = {number for parameter, number in stage_of.items() if parameter.startswith(f"{name}.")}
        if len(inside) > 1:
            yield from _split(child, f"{name}.", stage_of)
        else:
            yield name, inside


def _as_it_is(activations: Tensor) -> Tensor:
    return activations


def _twin(module: _Module) -> _Module:
    """A copy of the modules, with the mode of each, that shares the dictionaries in which their parameters and buffers are."""
    twins: dict[nn.Module, nn.Module] = {}

    def copy(one: nn.Module) -> nn.Module:
        if one in twins:
            return twins[one]
        twin = twins[one] = type(one).__new__(type(one))
        for name, value in vars(one).items():
            bound = isinstance(value, MethodType) and value.__self__ is one  # FasterNet chooses its forward so
            vars(twin)[name] = MethodType(value.__func__, twin) if bound else value
        vars(twin)["_modules"] = {name: child and copy(child) for name, child in children_of(one).items()}
        return twin

    copy(module)
    twin = twins[module]
    assert isinstance(twin, type(module))
    return twin


@torch.no_grad()
def _fault(model: AdaptedModel, halves: Cut) -> str:
    """What is wrong with a cut, in a few words; empty if it is exact on two samples in both modes.

    The features are compared, not the logits, which a new head makes zero.
    """
    trained = {id(model.get_parameter(name)) for name in model.plan.tensors}
    if any(id(parameter) in trained for parameter in halves.prefix.parameters()):
        return "something before it trains"
    if any(type(module).train is not nn.Module.train for module in halves.tail.backbone.net.modules()):
        return "a module after it keeps a cache, which training the other half would leave stale"  # LeViT's attention
    device = next(model.parameters()).device
    samples = model.backbone.preprocess.example(2).to(device)
    activations = halves.prefix(samples)
    if not isinstance(activations, Tensor) or len(activations) != len(samples):
        return "what passes there is not one tensor"
    whole, tail = _twin(model), halves.tail
    state = model.trained_state()
    kept = {name: state[name].clone() for name in model.plan.buffers}  # statistics of batch-norm, where they are live
    try:
        exact = all(
            torch.equal(_features(whole.train(mode), samples), _features(tail.train(mode), activations)) for mode in (True, False)
        )
    finally:
        tail.train(model.training)
        for name, tensor in kept.items():
            state[name].copy_(tensor)
    return "" if exact else "the result would be another"


def _features(model: AdaptedModel, inputs: Tensor) -> Tensor:
    """What the head would get, with torch seeded before, whose generators are left as they were."""
    with generator.forked(0, inputs.device):
        return model.backbone.tokens(inputs) if model.takes_tokens else model.backbone(inputs)
