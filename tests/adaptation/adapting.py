"""Helpers of the tests of adaptation: small adapted models, three steps of training, random images."""

from collections.abc import Callable

import every_strategy
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.adaptation.model import AdaptedModel
from zoo.backbones.backbone import Backbone, Stage, WeightsOrigin
from zoo.backbones.images import ImagePreprocess
from zoo.registry import BackboneSpec
from zoo.strategy import parse
from zoo.types import Labels

STRATEGIES = [*(one for one in every_strategy.STRATEGIES if not parse(one).phased), "partial:2", "partial:50%"]
LABELS = Labels(("ant", "bee", "cat", "dög", "eel"))


class PlainBackbone(Backbone):
    """A backbone around any module, for what timm does not have."""

    def __init__(self, net: nn.Module, feature_dim: int, size: int = 8, spec: BackboneSpec | None = None) -> None:
        super().__init__()
        self.spec = spec or BackboneSpec("plain", "plain", None)
        self.net = net
        self.feature_dim = self.token_dim = feature_dim
        self.stages = [Stage("all", tuple(name for name, _ in net.named_parameters()))]
        self.norms = [name for name, module in net.named_modules() if "Norm" in type(module).__name__]
        self.preprocess = ImagePreprocess(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear", 1.0)
        self.origin = WeightsOrigin("random, seed 0", None, "unknown")
        self.base_sha256 = "0" * 64

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)

    def tokens(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)[:, None]


def pictures(model: AdaptedModel, count: int = 8, seed: int = 0) -> Tensor:
    size = model.backbone.preprocess.size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def train(
    model: AdaptedModel, steps: int = 3, lr: float = 1e-2, each: Callable[[AdaptedModel], object] | None = None
) -> list[float]:
    """Plain AdamW on random images, as a user's own loop would have it."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=lr, weight_decay=0.1)
    losses = []
    for step in range(steps):
        model.train()
        images = pictures(model, seed=step)
        loss = functional.cross_entropy(model(images), torch.arange(len(images)) % model.num_outputs)
        loss.backward()
        if each:
            each(model)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses
