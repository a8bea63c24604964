"""Micro-batches: what a step that is split, over processes or in turn, needs beside the sum of its gradients, and what it cannot have.

Batch norm in training mode normalises by the statistics of a micro-batch, and dropout draws its masks for each: with these, a split
step is not that of the whole batch (docs/decisions/0005). Running statistics are linear in those of the micro-batches, so their mean
over the processes is what one process would have of all.
"""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from zoo.adaptation.model import AdaptedModel
from zoo.backbones import generator
from zoo.backbones.stages import BATCH_NORMS
from zoo.config import FinetuneConfig
from zoo.data.loading.samplers import StepPlan
from zoo.errors import ConfigError

PAIR = 2
"""Samples that batch norm needs: of one, a feature has no variance."""


def least(model: AdaptedModel, config: FinetuneConfig) -> int:
    """Samples that every micro-batch must have. Raises: ConfigError if the options leave fewer."""
    if not has_live_batch_norm(model):
        return 1
    options, processes = config.optim, config.machine.processes
    needed = PAIR * options.accumulate * processes
    if options.batch_size < needed and config.loader.batch_sampler is None:
        split = "".join(
            f", {name} {count}" for name, count in (("accumulate", options.accumulate), ("processes", processes)) if count > 1
        )
        raise ConfigError(
            f"batch_size {options.batch_size}{split}: micro-batches of one sample, and batch norm, whose statistics are those of a "
            f"micro-batch, needs {PAIR}; use --batch-size {needed} or more, or a strategy that leaves it at rest (partial:N)"
        )
    return PAIR


def remarks(model: AdaptedModel, config: FinetuneConfig, plan: StepPlan) -> list[str]:
    """What people should know of how steps are split, before training."""
    lines = []
    last = plan.step_size(plan.steps_per_epoch - 1)
    joined = last - plan.batch_size
    if plan.least > 1 and joined > 0 and config.loader.batch_sampler is None:
        lines.append(
            f"batch norm needs {plan.least} samples in a micro-batch: the last {joined} of an epoch's {plan.count:,} "
            f"{'join' if joined > 1 else 'joins'} the step before, which has {last}"
        )
    if plan.accumulate * plan.world > 1:
        reasons = ["statistics of batch norm"] * has_live_batch_norm(model) + ["masks of dropout"] * draws(model)
        if reasons:
            lines.append(
                f"steps of {plan.batch_size} samples in {plan.accumulate * plan.world} micro-batches: {' and '.join(reasons)} are those of "
                "a micro-batch, so the result is not quite that of whole steps"
            )
    return lines


def has_live_batch_norm(model: AdaptedModel) -> bool:
    """Whether batch norm takes its statistics from the batch while training."""
    was_training = model.training
    found = any(isinstance(module, BATCH_NORMS) and module.training for module in model.train().modules())
    model.train(was_training)
    return found


@torch.no_grad()
def draws(model: AdaptedModel) -> bool:
    """Whether a forward pass draws random numbers while training, as dropout and drop-path do. The model and torch's generators are left
    as they were."""
    device = next(model.parameters()).device
    state = model.trained_state()
    kept = {name: state[name].clone() for name in model.plan.buffers}
    was_training = model.training
    with generator.forked(device=device):
        before = _generator(device)
        AdaptedModel.forward(model.train(), model.backbone.preprocess.example(2).to(device))
        drawn = not torch.equal(before, _generator(device))
    model.train(was_training)
    for name, tensor in kept.items():
        state[name].copy_(tensor)
    return drawn


def send_no_buffers(wrapped: nn.Module) -> None:
    """Send no buffers around before each forward: after `agree` all processes have the same, and what is frozen never moves."""
    if isinstance(wrapped, DistributedDataParallel):
        wrapped.forward_sync_buffers = False


@torch.no_grad()
def agree(model: AdaptedModel, accelerator: Accelerator) -> None:
    """Give the buffers that training moves the same values in all processes: the mean over them; of whole numbers, rank 0's.

    After every step, so that what is evaluated, kept and saved is one model, and a resumed run sees what an unbroken one does. The mean
    is taken in float64, which leaves float32 values that agree already as they are, whatever the number of processes.
    """
    if accelerator.num_processes == 1:
        return
    here = dict(model.named_buffers())
    buffers = [here[name] for name in model.plan.buffers if name in here]
    moving, counting = ([one for one in buffers if one.is_floating_point() is floats] for floats in (True, False))
    if moving:
        _put(moving, accelerator.reduce(torch.cat([one.flatten() for one in moving]).double(), "mean"))
    if counting:
        _put(counting, broadcast(torch.cat([one.flatten() for one in counting])))


def _put(buffers: list[Tensor], flat: Tensor) -> None:
    for one, values in zip(buffers, torch.split(flat, [one.numel() for one in buffers]), strict=True):
        one.copy_(values.view_as(one))


def _generator(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
