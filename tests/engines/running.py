"""What the tests of engines share: preparing one as a run on a CPU would, and small networks with a trait each."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo import engines

CPU = torch.device("cpu")


def prepared(name: str, net: nn.Module, example: Tensor, folder: Path | None = None, **options: Any) -> engines.Engine:
    settings = {"device": CPU, "channels_last": False, "precision": "no", "folder": folder, **options}
    return engines.prepare(name, net, example, **settings)


def chosen(net: nn.Module, images: Tensor, name: str, samples: int = 100, **options: Any) -> tuple[engines.Engine, str]:
    settings = {"device": CPU, "channels_last": False, "precision": "no", "folder": None, "batch_size": 4, **options}
    return engines.choose(net, images, name=name, samples=samples, **settings)


def pictures(count: int, size: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def small(seed: int = 0) -> nn.Module:
    """`[b, 3, S, S]` to `[b, 6]`, with a batch-norm whose statistics are not those of a new one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout()
        )
        net(torch.randn(8, 3, 16, 16) + 1)
    return net


class Tokens(nn.Module):
    """A backbone's features before pooling."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.tokens(images)


class Sleepy(nn.Module):
    """Takes 20 ms a batch in torch, whatever its size; a converter leaves the sleep out."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(0.02)
        return self.net(images)


class Slow(nn.Module):
    """Features `[b, 6]` of means, for which torch takes 20 ms a batch; a converter leaves the sleep out."""

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(0.02)
        return torch.cat([images.mean((2, 3))] * 2, dim=1)


class Keeping(nn.Module):
    """Keeps a product of its weights from one forward pass to the next, as LeViT does with its attention biases."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.kept: dict[str, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        if "scale" not in self.kept:
            self.kept["scale"] = 2 * self.weight
        return images.mean((2, 3)) * self.kept["scale"] * self.weight


class ThroughNumpy(nn.Module):
    """Leaves torch on the way: a tracer takes the result for a constant."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(images.numpy().mean((2, 3)) + 1)


class Branching(nn.Module):
    """What it computes depends on the images' values: there is no exporting it."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))


class Greedy(nn.Module):
    """Has no memory for more than `most` images."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return images.mean((2, 3))
