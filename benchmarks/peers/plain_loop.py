"""A plain PyTorch loop.

`documented`: PyTorch's transfer learning tutorial, section "ConvNet as fixed feature extractor"
(pytorch.org/tutorials/beginner/transfer_learning_tutorial.html): random crops and flips, every parameter but the new last layer's
frozen, SGD at 0.001 with momentum 0.9, `model.train()` in each epoch, the best epoch by validation accuracy.

`tuned`: what an expert changes: the frozen trunk stays in eval mode, channels_last, no augmentation, AdamW at 3e-3 under a cosine
(the best of 1e-3 to 1e-1 on the validation pictures), workers that outlive an epoch.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.peers.answer import Clock, answer, parser
from benchmarks.peers.given import network


def main() -> None:
    """Train the last layer, and answer."""
    clock, options = Clock(), parser(__doc__, "documented", "tuned").parse_args()
    clock.mark("imports")
    tuned, size = options.variant == "tuned", options.image_size
    torch.manual_seed(options.seed)

    model = network(options, num_classes=0)
    normalize = [transforms.ToTensor(), transforms.Normalize(model.default_cfg["mean"], model.default_cfg["std"])]
    varied = transforms.Compose([transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), *normalize])
    plain = transforms.Compose([transforms.Resize(size * 8 // 7), transforms.CenterCrop(size), *normalize])
    pictures = {
        part: ImageFolder(options.data / part, varied if part == "train" and not tuned else plain)
        for part in ("train", "val", "test")
    }
    loaders = {
        part: DataLoader(
            pictures[part],
            options.batch_size,
            shuffle=part == "train",
            num_workers=options.workers,
            persistent_workers=tuned and part != "test",
        )
        for part in pictures
    }
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.classifier = nn.Linear(model.num_features, len(pictures["train"].classes))
    if tuned:
        model = model.to(memory_format=torch.channels_last)
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(model.classifier.parameters(), lr=3e-3)
        schedule: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs)
    else:
        optimizer = torch.optim.SGD(model.classifier.parameters(), lr=0.001, momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    clock.mark("load")

    best, best_state = -1, copy.deepcopy(model.state_dict())
    for _ in range(options.epochs):
        model.train(not tuned)
        for images, targets in loaders["train"]:
            loss = nn.functional.cross_entropy(model(laid_out(images, tuned)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        right = int((predict(model, loaders["val"], tuned) == torch.tensor(pictures["val"].targets)).sum())
        if right > best:
            best, best_state = right, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    clock.mark("train")
    predicted = predict(model, loaders["test"], tuned).tolist()
    clock.mark("predict")
    answer(predicted, pictures["test"].targets, clock, "eval-mode trunk" if tuned else "batch-norm in train mode moves the trunk")


@torch.no_grad()
def predict(model: nn.Module, batches: DataLoader, channels_last: bool) -> Tensor:
    """The most probable class of each picture, `[N] int64`."""
    model.eval()
    return torch.cat([model(laid_out(images, channels_last)).argmax(1) for images, _ in batches])


def laid_out(images: Tensor, channels_last: bool) -> Tensor:
    """The same numbers, in the order in memory that the network wants."""
    return images.contiguous(memory_format=torch.channels_last) if channels_last else images


if __name__ == "__main__":
    main()
