"""Heads: their shapes, their first loss, and what is refused."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from adapting import pictures, train
from closeness import assert_close
from torch import Tensor, nn

from zoo import registry
from zoo.adaptation.heads.attention_pool import AttentionPool
from zoo.adaptation.heads.cosine import Cosine
from zoo.adaptation.heads.mlp import mlp
from zoo.adaptation.model import AdaptedModel
from zoo.backbones.backbone import Backbone
from zoo.errors import ConfigError, UnknownName

SHIPPED = registry.heads(installed=True)


def test_the_shipped_ones_are_registered() -> None:
    assert {"attention-pool", "cosine", "linear", "mlp", "norm-linear"} <= set(SHIPPED)


@pytest.mark.parametrize("family", ["resnet", "swin", "vit"])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_head_learns(tiny: Callable[..., Backbone], name: str, family: str) -> None:
    """Shape, ln C at first where the last layer starts at zero, every tensor moves, and the loss falls."""
    model = AdaptedModel.build(tiny(family), 4, head=name)
    assert model.head_name == name
    assert model(pictures(model)).shape == (8, 4)
    before = {tensor: value.clone() for tensor, value in model.trained_state().items()}
    losses = train(model, steps=3)
    if name != "cosine":
        assert losses[0] == pytest.approx(math.log(4), abs=1e-6)
    assert all(not torch.equal(value, before[tensor]) for tensor, value in model.trained_state().items())


def test_cosine_is_the_formula() -> None:
    head = Cosine(6, 3)
    features = torch.randn(4, 6)
    x, w = features.numpy(), head.weight.detach().numpy()
    wanted = 20 * (x @ w.T) / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(w, axis=1)[None]
    np.testing.assert_allclose(head(features).detach().numpy(), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(w, axis=1), 1, rtol=1e-6)


def test_attention_pool_does_not_mind_the_order_of_tokens() -> None:
    head = AttentionPool(96, 3)
    nn.init.normal_(head.output.weight)
    tokens = torch.randn(2, 7, 96)
    assert_close(head(tokens), head(tokens[:, torch.randperm(7)]))
    assert not torch.allclose(head(tokens), head(tokens[:, :6]))
    assert head.num_heads == 1
    assert AttentionPool(256, 3).num_heads == 4


def test_a_seed_decides_and_torchs_generator_rests(tiny: Callable[..., Backbone]) -> None:
    state = torch.random.get_rng_state()
    first, same, other = (AdaptedModel.build(tiny("vit"), 4, head="mlp", seed=seed).head for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first[0].weight, same[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)


def test_any_callable_and_any_module(tiny: Callable[..., Backbone]) -> None:
    model = AdaptedModel.build(
        tiny("vit"), 4, head=lambda width, outputs: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))
    )
    assert model.head_name == "custom"
    module = nn.Linear(model.backbone.feature_dim, 4)
    assert AdaptedModel.build(tiny("vit"), 4, head=module).head is module
    assert AdaptedModel.build(tiny("vit"), 4, head=mlp).head_name == "mlp"


def test_a_registered_head_keeps_its_name(tiny: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_heads", {})

    @registry.register_head("mine")
    def mine(in_features: int, num_outputs: int) -> nn.Module:
        return nn.Linear(in_features, num_outputs, bias=False)

    assert AdaptedModel.build(tiny("vit"), 4, head="mine").head_name == "mine"
    assert AdaptedModel.build(tiny("vit"), 4, head=mine).head_name == "mine"


class Twice(nn.Module):
    def __init__(self, in_features: int, num_outputs: int) -> None:
        super().__init__()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return features, features


class Whole(nn.Linear):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).long()


def _raises(in_features: int, num_outputs: int) -> nn.Module:
    raise ValueError("no such head\ntoday")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (
            lambda width, outputs: nn.Linear(width, outputs + 1),
            r"gives \[2, 5\] torch.float32 .*\[2, 64\]; expected \[2, 4\] of floats",
        ),
        (lambda width, outputs: nn.Sequential(nn.Linear(width, outputs), nn.Flatten(0)), r"gives \[8\] .*expected \[2, 4\]"),
        (lambda width, outputs: nn.Linear(width + 1, outputs), r"cannot take features of shape \[2, 64\]"),
        (Twice, r"gives a tuple .*expected \[2, 4\]"),
        (Whole, r"gives \[2, 4\] torch.int64"),
        (_raises, r"'custom' cannot be made for 64 features: no such head$"),
        (lambda width, outputs: "linear", r"gave a str; expected a torch.nn.Module"),
        (nn.Linear(3, 4), r"cannot take features of shape \[2, 64\]"),
    ],
)
def test_heads_that_do_not_fit_are_refused(tiny: Callable[..., Backbone], head: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        AdaptedModel.build(tiny("vit"), 4, head=head)
    assert "\n" not in str(error.value)


def test_an_unknown_name(tiny: Callable[..., Backbone]) -> None:
    with pytest.raises(UnknownName, match="'linear'"):
        AdaptedModel.build(tiny("vit"), 4, head="linaer")


def test_attention_passes_over_tokens_that_are_not_there():
    torch.manual_seed(0)
    head = AttentionPool(32, 3).eval()
    with torch.no_grad():
        head.output.weight.normal_()
    tokens = torch.randn(2, 7, 32)
    padded = torch.cat([tokens, torch.full((2, 4, 32), float("nan"))], dim=1)
    assert_close(head(padded), head(tokens))
    assert not torch.allclose(head(tokens[:, :6]), head(tokens), atol=1e-3)
