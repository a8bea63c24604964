"""Fine-tuning by a plain PyTorch loop, for pairs of the same settings: what a strategy of zoo costs beside the loop alone.

The loop of PyTorch's tutorial (pytorch.org/tutorials/beginner/transfer_learning_tutorial.html, "Finetuning the ConvNet"), with
channels_last, AdamW under a cosine per step, clipped gradients, no augmentation, and the best epoch by validation accuracy kept.

`full`: all trains, batch-norm in train mode. `partial:1`: the last block and what follows it, in eval mode. `lora:16`: peft's LoRA on
the 1 x 1 convolutions of the blocks, alpha 32, in eval mode (huggingface.co/docs/peft/developer_guides/custom_models).
"""

from __future__ import annotations

import argparse
import copy

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from benchmarks.peers.answer import Clock, answer, parser
from benchmarks.peers.given import network, transform

LAST = ("blocks.6.", "conv_head.", "bn2.", "classifier.")
POINTWISE = r"blocks\.\d+\.\d+\.conv_pwl?"


def main() -> None:
    """Train, and answer."""
    clock, accepted = Clock(), parser(__doc__, "full", "partial:1", "lora:16")
    for name in ("--lr", "--backbone-lr-scale", "--weight-decay"):  # as zoo calls them
        accepted.add_argument(name, type=float, required=True)
    options = accepted.parse_args()
    torch.manual_seed(options.seed)
    model = network(options, num_classes=0)
    pictures = {part: ImageFolder(options.data / part, transform(model, options)) for part in ("train", "val", "test")}
    model.classifier = nn.Linear(model.num_features, len(pictures["train"].classes))
    loaders = {
        part: DataLoader(found, options.batch_size, shuffle=part == "train", num_workers=options.workers)
        for part, found in pictures.items()
    }
    model = adapted(model, options.variant).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(groups(model, options))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * len(loaders["train"]))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    clock.mark("load")
    best, best_state = -1, copy.deepcopy(model.state_dict())
    for _ in range(options.epochs):
        model.train(options.variant == "full")
        for images, targets in loaders["train"]:
            loss = nn.functional.cross_entropy(model(images.contiguous(memory_format=torch.channels_last)), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
        right = int((predict(model, loaders["val"]) == torch.tensor(pictures["val"].targets)).sum())
        if right > best:
            best, best_state = right, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    clock.mark("train")
    predicted = predict(model, loaders["test"]).tolist()
    clock.mark("predict")
    answer(predicted, pictures["test"].targets, clock, f"{sum(one.numel() for one in trained):,} parameters train")


def adapted(model: nn.Module, variant: str) -> nn.Module:
    """The network with what the variant trains, and that alone, unfrozen."""
    if variant == "lora:16":
        from peft import LoraConfig, get_peft_model  # its import takes longer than that of the rest

        return get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=POINTWISE, modules_to_save=["classifier"]))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = variant == "full" or name.startswith(LAST)
    return model


def groups(model: nn.Module, options: argparse.Namespace) -> list[dict[str, object]]:
    """The classifier learns at the full rate; tensors of one dimension, and LoRA's, do not decay."""
    return [
        {
            "params": [parameter],
            "lr": options.lr * (1 if "classifier" in name else options.backbone_lr_scale),
            "weight_decay": options.weight_decay if parameter.ndim > 1 and "lora_" not in name else 0.0,
        }
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]


@torch.no_grad()
def predict(model: nn.Module, batches: DataLoader) -> Tensor:
    """The most probable class of each picture, `[N] int64`."""
    model.eval()
    return torch.cat([model(images.contiguous(memory_format=torch.channels_last)).argmax(1) for images, _ in batches])


if __name__ == "__main__":
    main()
