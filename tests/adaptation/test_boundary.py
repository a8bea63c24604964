"""Cuts of every family: the halves are the whole to the bit, training one is training the other, and no wrong cut is made."""

import dataclasses
import logging
import re
from collections.abc import Callable

import pytest
import torch
from adapting import PlainBackbone, pictures, train
from tiny import BY_FAMILY
from torch import Tensor, nn
from torch.nn import functional

from zoo.adaptation import freezing
from zoo.adaptation.boundary import Cut, cut
from zoo.adaptation.model import AdaptedModel
from zoo.adaptation.plan import NET
from zoo.backbones.backbone import Stage

Build = Callable[..., AdaptedModel]

WHERE = {
    "resnet": {"partial:1": "layer4", "partial:2": "layer3", "lora:4": "layer3"},
    "efficientnet": {"partial:1": "blocks.4", "partial:2": "blocks.3", "lora:4": "blocks.1"},
    "mobilenetv3": {"partial:1": "blocks.5", "partial:2": "blocks.4", "lora:4": "blocks.0"},
    "convnext": {"partial:1": "stages.3", "partial:2": "stages.2", "lora:4": "stages.0"},
    "vit": {"partial:1": "blocks.2", "partial:2": "blocks.1", "lora:4": "blocks.0"},
    "dinov2": {"partial:1": "blocks.2", "partial:2": "blocks.1", "lora:4": "blocks.0"},
    "swin": {"partial:1": "layers.1", "partial:2": "layers.0", "lora:4": "layers.0"},
}
"""Where the stages of adapters/*.yaml put the boundary, read by hand. The first block of the tiny EfficientNet has no 1x1
convolution that LoRA adapts."""
CASES = [
    *(
        (family, strategy, "linear", f"the input of {module}")
        for family, found in WHERE.items()
        for strategy, module in found.items()
    ),
    *((family, "linear-probe", "linear", "pooled features") for family in WHERE),
    *((family, "linear-probe", "attention-pool", "tokens") for family in WHERE),
    ("convnext", "partial:1", "attention-pool", "the input of stages.3"),
    ("vit", "partial:1", "attention-pool", "the input of blocks.2"),
]
STATISTICS = [f"layer3.0.bn1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")]
every_case = pytest.mark.parametrize(("family", "strategy", "head", "where"), CASES)
INSIDE = [(family, strategy) for family in WHERE for strategy in ("partial:2", "lora:4")]


def build(adapted: Build, family: str, strategy: str, head: str = "linear") -> AdaptedModel:
    """A model whose head is not zero, so that its logits say something about its features."""
    model = adapted(family, strategy, head=head, **({"lora_dropout": 0.2} if strategy.startswith("lora") else {}))
    for number, parameter in enumerate(model.head.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
    return model


def made(model: AdaptedModel) -> Cut:
    halves = cut(model)
    assert halves is not None
    return halves


def seeded(model: nn.Module, images: Tensor) -> Tensor:
    torch.manual_seed(7)
    return model(images)


@every_case
def test_halves_are_the_whole_to_the_bit(adapted: Build, family: str, strategy: str, head: str, where: str) -> None:
    model = build(adapted, family, strategy, head)
    digests, generator = freezing.digests(model), torch.get_rng_state()
    halves = made(model)
    assert halves.where == where
    assert torch.equal(torch.get_rng_state(), generator)
    assert not model.training
    images = pictures(model)
    for mode in (True, False):
        activations = halves.prefix(images)
        assert torch.equal(seeded(halves.tail.train(mode), activations), seeded(model.train(mode), images))
    if strategy == "partial:2" and family != "efficientnet":  # dropout or drop-path does act in the tail
        assert not torch.equal(halves.tail.train()(activations), halves.tail.eval()(activations))
    assert freezing.digests(model) == digests
    assert_shared(model, halves.tail)


def assert_shared(model: AdaptedModel, tail: AdaptedModel) -> None:
    """The tail has all that trains, and nothing that is not the model's own."""
    assert (tail.plan, tail.labels, tail.takes_tokens) == (model.plan, model.labels, model.takes_tokens)
    whole, part = model.trained_state(), tail.trained_state()
    assert list(part) == list(whole)
    assert all(part[name].data_ptr() == tensor.data_ptr() for name, tensor in whole.items())
    parameters = dict(model.named_parameters())
    assert all(parameter is parameters[name] for name, parameter in tail.named_parameters())
    assert {name for name, parameter in tail.named_parameters() if parameter.requires_grad} == set(model.plan.tensors)


@every_case
def test_training_the_tail_is_training_the_model(
    adapted: Build, family: str, strategy: str, head: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same gradients and, after three steps, the same model, as by training it whole: to the bit. What is frozen rests."""
    model, reference = (build(adapted, family, strategy, head) for _ in range(2))
    halves, frozen = made(model), freezing.frozen_digests(model)
    gradients: list[dict[str, Tensor]] = []

    def keep(one: AdaptedModel) -> None:
        gradients.append({name: p.grad.clone() for name, p in one.named_parameters() if p.grad is not None})

    train(reference, each=keep)
    through = halves.tail.forward
    monkeypatch.setattr(halves.tail, "forward", lambda images: through(halves.prefix(images)))
    train(halves.tail, each=keep)
    for whole, part in zip(gradients[:3], gradients[3:], strict=True):
        assert whole.keys() == part.keys()
        assert all(torch.equal(whole[name], part[name]) for name in whole)
    assert set(gradients[-1]) <= set(model.plan.tensors)
    assert freezing.digests(model) == freezing.digests(reference)
    freezing.check_frozen(model, frozen)


@pytest.mark.parametrize(("family", "strategy"), INSIDE)
def test_modes_are_the_plan_s_and_each_half_s_own(adapted: Build, family: str, strategy: str) -> None:
    model = build(adapted, family, strategy)
    halves = made(model)
    halves.tail.train()
    halves.prefix.train()
    assert not any(module.training for module in (*model.modules(), *halves.prefix.modules()))
    alive = {name for name, module in halves.tail.named_modules() if module.training}
    model.train()
    assert alive == {name for name, module in model.named_modules() if module.training}
    assert alive > {"", "head"} or strategy == "lora:4"
    assert alive == {name for name, module in made(model).tail.named_modules() if module.training}
    halves.tail.eval()
    assert not any(module.training for module in halves.tail.modules())
    assert model.head.training


@pytest.mark.parametrize(("family", "strategy"), INSIDE)
def test_no_graph_before_the_cut(adapted: Build, family: str, strategy: str) -> None:
    """Neither in the prefix nor in the whole model, where the module at the boundary gets what has no history."""
    model = build(adapted, family, strategy).train()
    halves = made(model)
    assert halves.prefix(pictures(model)).grad_fn is None
    arrived: list[Tensor] = []
    module = model.backbone.net.get_submodule(halves.where.removeprefix("the input of "))
    module.register_forward_pre_hook(lambda _, inputs: arrived.append(inputs[0]))
    model(pictures(model)).sum().backward()
    assert [tensor.grad_fn for tensor in arrived] == [None]


@pytest.mark.parametrize("family", ["resnet", "swin"])
def test_moving_the_model_moves_both_halves(adapted: Build, family: str) -> None:
    """Modules replace their buffers when they are moved: batch-norm statistics, Swin's masks."""
    model = build(adapted, family, "partial:1")
    halves = made(model)
    model.double()
    images = pictures(model).double()
    activations = halves.prefix(images)
    assert activations.dtype == torch.float64
    assert torch.equal(halves.tail(activations), model(images))
    tensors = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    for half in (halves.prefix, halves.tail):
        assert tensors.issuperset(tensor.data_ptr() for tensor in (*half.parameters(), *half.buffers()))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit.trace:FutureWarning")
@pytest.mark.parametrize(
    ("family", "strategy"), [*((family, "partial:1") for family in BY_FAMILY), ("swin", "linear-probe"), ("vit", "linear-probe")]
)
def test_the_prefix_can_be_converted(adapted: Build, family: str, strategy: str) -> None:
    """By both of torch's ways to a graph, which ONNX Runtime and OpenVINO start from."""
    model = build(adapted, family, strategy)
    prefix, images = made(model).prefix, pictures(model, 2)
    expected = prefix(images)
    torch.testing.assert_close(torch.jit.trace(prefix, images)(images), expected)
    torch.testing.assert_close(torch.export.export(prefix, (images,)).module()(images), expected)


@pytest.mark.parametrize("family", BY_FAMILY)
@pytest.mark.parametrize("strategy", ["full", "bias-only", "norm-only"])
def test_nothing_is_gained_where_the_first_stage_trains(adapted: Build, family: str, strategy: str) -> None:
    model = build(adapted, family, strategy)
    if strategy == "norm-only" and family in ("vit", "dinov2"):  # no norm in their embeddings
        assert made(model).where == "the input of blocks.0"
    else:
        assert cut(model) is None


@pytest.mark.parametrize(
    ("family", "pattern", "module"),
    [
        ("resnet", r"layer[24]\.0\.conv1", "layer2"),
        ("resnet", r"bn1\.bias|layer4", None),
        ("vit", r"blocks\.1\.attn|norm\.bias", "blocks.1"),
        ("vit", r"pos_embed|blocks\.2", None),
        ("swin", r"downsample", "layers.1"),
    ],
)
def test_scattered_parameters(adapted: Build, family: str, pattern: str, module: str | None) -> None:
    halves = cut(build(adapted, family, f"partial:{pattern}"))
    assert (halves and halves.where) == (module and f"the input of {module}")


@pytest.mark.parametrize(
    ("family", "changes", "module"),
    [
        ("vit", {"live": ["blocks.1.drop_path1"]}, "blocks.1"),
        ("vit", {"live": ["pos_drop"]}, None),
        ("resnet", {"live": ["layer2"]}, "layer2"),
        ("resnet", {"live": ["layer3.0.bn1"], "buffers": STATISTICS}, "layer3"),
        ("resnet", {"buffers": ["layer2.0.bn1.running_mean"]}, "layer2"),
    ],
)
def test_what_acts_or_keeps_state_is_behind_the_cut(
    adapted: Build, family: str, changes: dict[str, list[str]], module: str | None
) -> None:
    """Beyond what trains. The proof runs live batch-norm, and puts its statistics back."""
    model = build(adapted, family, "partial:1")
    added = {field: (*getattr(model.plan, field), *(NET + name for name in names)) for field, names in changes.items()}
    model = AdaptedModel(model.backbone, model.head, dataclasses.replace(model.plan, **added), num_outputs=5)
    digests = freezing.digests(model)
    halves = cut(model)
    assert (halves and halves.where) == (module and f"the input of {module}")
    assert freezing.digests(model) == digests


@pytest.mark.parametrize(
    ("name", "where", "reason"),
    [
        ("test_byobnet", "the input of stages.3", ""),
        ("test_nfnet", "the input of stages.3", ""),
        ("eva02_tiny_patch14_224", None, "eva02.* is not cut at the input of blocks.11: .*'rope'"),
        ("levit_128s", None, "levit.* is not cut at the input of stages.2: .* keeps a cache"),
        ("mobilenetv4_conv_small_050", None, "mobilenetv4.* is not cut at the input of conv_head: the result would be another"),
    ],
)
def test_unknown_families_are_cut_exactly_or_not_at_all(
    name: str, where: str | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = AdaptedModel.build(f"timm/{name}", 3, weights="random", strategy="partial:1")
    assert model.backbone.spec.family is None
    nn.init.normal_(model.head.weight)
    with caplog.at_level(logging.INFO, "zoo"):
        halves = cut(model)
    assert (halves and halves.where) == where
    if halves is None:
        assert len(caplog.messages) == 1
        assert re.search(reason, caplog.messages[0])
    else:
        images = pictures(model, 3)
        assert torch.equal(halves.tail(halves.prefix(images)), model(images))


class Net(nn.Module):
    """Two layers, of two stages."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(192, 6)
        self.second = nn.Linear(6, 6)

    def forward_features(self, images: Tensor) -> Tensor:
        return self.second(self.first(images.flatten(1) if images.ndim == 4 else images))

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_features(images)


class Reversed(Net):
    """Registered in another order than that of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = self.__dict__["_modules"].pop("second"), self.__dict__["_modules"].pop("first")

    def forward_features(self, images: Tensor) -> Tensor:
        return self.first(self.second(images.flatten(1) if images.ndim == 4 else images))


class Shifted(Net):
    """A parameter of the second stage acts in the first; as it is zero, no output betrays it."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def forward_features(self, images: Tensor) -> Tensor:
        return super().forward_features(images + self.shift)


class Noisy(Net):
    """Dropout that no module stands for, behind the cut."""

    def forward_features(self, images: Tensor) -> Tensor:
        return functional.dropout(super().forward_features(images), 0.5, self.second.training)


class Early(Net):
    """The same before the cut."""

    def forward_features(self, images: Tensor) -> Tensor:
        return super().forward_features(functional.dropout(images, 0.5, self.second.training))


class Chosen(nn.Linear):
    """A layer that picks its forward when it is made, as FasterNet's do."""

    def __init__(self) -> None:
        super().__init__(6, 6)
        self.forward = self.forward_with_dropout

    def forward_with_dropout(self, features: Tensor) -> Tensor:
        return functional.dropout(super().forward(features), 0.5, self.training)


def of_two_stages(net: nn.Module) -> AdaptedModel:
    backbone = PlainBackbone(net, 6)
    names = [name for name, _ in net.named_parameters()]
    first = tuple(name for name in names if name.startswith("first"))
    backbone.stages = [Stage("one", first), Stage("two", tuple(name for name in names if name not in first))]
    return AdaptedModel.build(backbone, 3, strategy="partial:1")


def test_a_forward_that_a_module_chose_follows_the_mode_of_its_half() -> None:
    net = Net()
    net.second = Chosen()
    model = of_two_stages(net)
    halves = made(model)
    activations = halves.prefix(pictures(model))
    live = halves.tail.train().backbone(activations)
    assert not torch.equal(live, model.backbone(pictures(model)))
    assert torch.equal(halves.tail.eval().backbone(activations), model.backbone(pictures(model)))


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Net, ""),
        (Noisy, ""),
        (Reversed, "cannot be multiplied"),
        (Shifted, "something before it trains"),
        (Early, "the result would be another"),
    ],
)
def test_a_cut_proves_itself(net: type[Net], reason: str, caplog: pytest.LogCaptureFixture) -> None:
    model = of_two_stages(net())
    with caplog.at_level(logging.INFO, "zoo"):
        halves = cut(model)
    assert bool(halves) == (not reason)
    assert all(reason in message for message in caplog.messages)
    assert len(caplog.messages) == bool(reason)
