# A fine-tuning loop to copy and change, where the options of a recipe are not enough.
"""Fine-tune a backbone with a loop of your own.

    zoo recipes copy loop && python loop.py tf_efficientnet_lite0 --data photos/ --strategy partial:1 --out my-model
    torchrun --nproc-per-node 2 loop.py resnet50 --data photos/          # data parallelism

It has what fine-tuning needs: frozen parts that rest, accumulation that equals the big batch, warm-up and cosine, a best model that is
the best, and a folder that `zoo predict`, `zoo evaluate` and `zoo publish` take. It leaves out what `zoo finetune` adds: resuming,
audits, trackers, early stopping, the card. With everything optional off, both give the same losses (tests/training/test_parity.py).
"""

import argparse
import contextlib
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator

import zoo
from zoo.adaptation import saved
from zoo.config import build
from zoo.data import EvalBatches, TrainBatches, open_splits
from zoo.folders import whole


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone", nargs="?", default="resnet50")
    parser.add_argument("--data", default="builtin:digits")
    parser.add_argument("--strategy", default="linear-probe")
    parser.add_argument("--head", default="linear")
    parser.add_argument("--weights", help="file, folder or `random`; empty: searched")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--augment", default="none", choices=["none", "light", "standard", "strong"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--steps", type=int, help="stop after so many steps")
    parser.add_argument("--batch-size", type=int, default=32, help="samples in a step, over all processes and micro-batches")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--warmup", type=float, default=0.05, help="share of the steps")
    parser.add_argument("--precision", default="no", choices=["no", "fp16", "bf16"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-workers", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder of the best model; it must not exist")
    return parser.parse_args()


def learning_rate(step: int, total: int, options: argparse.Namespace) -> float:
    """Linear warm-up, then cosine to 0. A function of the step alone."""
    warmup = math.floor(options.warmup * total)
    if step < warmup:
        return options.lr * (step + 1) / (warmup + 1)
    return options.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def accuracy(accelerator: Accelerator, model: zoo.AdaptedModel, val: EvalBatches) -> float:
    """Share of the validation samples that are right, each counted once, whatever the number of processes."""
    for name, tensor in model.trained_state().items():  # batch-norm statistics: each process has those of its own samples
        if name in model.plan.buffers and tensor.is_floating_point():
            tensor.copy_(accelerator.reduce(tensor, "mean"))
    right: dict[int, bool] = {}
    model.eval()
    with torch.inference_mode():
        for batch in val:
            hits = model(batch.inputs.to(accelerator.device)).argmax(dim=1) == batch.targets.to(accelerator.device)
            gathered = accelerator.gather((batch.indices.to(accelerator.device), hits))
            right.update(zip(gathered[0].tolist(), gathered[1].tolist(), strict=True))
    return sum(right.values()) / len(right)


def main(options: argparse.Namespace) -> None:
    # ------------------------------------------------------------------------------------------------ data, model, optimiser
    accelerator = Accelerator(mixed_precision=options.precision)
    splits = open_splits(build({"data": options.data, "seed": options.seed}))
    model = zoo.AdaptedModel.build(
        options.backbone,
        len(splits.labels),
        head=options.head,
        strategy=options.strategy,
        weights=options.weights,
        image_size=options.image_size,
        labels=splits.labels,
        seed=options.seed,
    ).to(accelerator.device)
    accelerator.print(model.plan.summary())

    preprocess = model.backbone.preprocess
    world = accelerator.num_processes
    shares = {"rank": accelerator.process_index, "world": world, "num_workers": options.num_workers}
    train = TrainBatches(
        splits.train,
        preprocess,
        augment=options.augment,
        batch_size=options.batch_size,
        accumulate=options.accumulate,
        seed=options.seed,
        **shares,
    )
    val = EvalBatches(splits.val, preprocess, batch_size=options.batch_size, **shares)
    total = options.steps or options.epochs * train.steps_per_epoch

    trained = [parameter for name, parameter in model.named_parameters() if name in model.plan.tensors]
    optimizer = torch.optim.AdamW(trained, lr=options.lr, weight_decay=options.weight_decay)
    wrapped, optimizer = accelerator.prepare(model, optimizer)

    # ------------------------------------------------------------------------------------------------------------------ loop
    best = -1.0
    for step, batches in train.steps(0, total):
        wrapped.train()  # what the plan does not name stays in eval mode
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, total, options)
        loss_sum = torch.zeros((), device=accelerator.device)
        for number, batch in enumerate(batches):
            # Gradients are summed over the micro-batches and sent between processes once, with the last.
            with contextlib.nullcontext() if number == len(batches) - 1 else accelerator.no_sync(wrapped):
                logits = wrapped(batch.inputs.to(accelerator.device))
                losses = F.cross_entropy(logits, batch.targets.to(accelerator.device), reduction="none")
                losses = losses * batch.weights.to(accelerator.device)
                accelerator.backward(losses.sum() * world / train.step_size(step))
            loss_sum += losses.detach().sum()
        optimizer.step()
        optimizer.zero_grad()
        loss = accelerator.reduce(loss_sum, "sum").item() / train.step_size(step)
        accelerator.print(f"step {step + 1} loss {loss:.8f}")

        if (step + 1) % train.steps_per_epoch == 0 or step + 1 == total:
            value = accuracy(accelerator, model, val)
            accelerator.print(f"step {step + 1} accuracy {value:.4f}")
            if value > best and options.out and accelerator.is_main_process:
                with whole(options.out, replace=best >= 0) as folder:
                    saved.save(folder, model, {"step": step + 1, "validation_value": value})
            best = max(best, value)


if __name__ == "__main__":  # a process that reads data may import this file again, and is not to train too
    try:
        main(parse())
    except zoo.ZooError as error:
        sys.exit(f"loop.py: {error}")
