"""Which of the solved heads is kept."""

import numpy as np
import pytest
import torch

from zoo.evaluation import metrics
from zoo.evaluation.outputs import Outputs
from zoo.training.probe import solved_head
from zoo.training.probe.solved_head import Tried, choose
from zoo.training.probe.sweep import HeldOut

N = 400


def tried(number, right, loss, value=None):
    """A candidate that is right for so many of 400 images of two classes, and has this log-loss by the number we give it."""
    targets = np.arange(N) % 2
    said = np.where(np.arange(N) < right, targets, 1 - targets)
    logits = np.eye(2, dtype=np.float32)[said]
    held = HeldOut("centred", 1.0, logits, 1, True, 0.5, [], None)
    return Tried(number, held, Outputs.from_logits(targets, logits), right / N if value is None else value, loss)


def test_inside_the_interval_of_the_best_the_lowest_log_loss_is_taken():
    """At 360 of 400, a standard error is sqrt(0.9 * 0.1 / 400) = 0.015, six images, and the interval is twelve to either side."""
    accuracy = metrics.get("accuracy")
    assert choose([tried(1, 360, 0.30), tried(2, 350, 0.25), tried(3, 340, 0.10)], accuracy).number == 2
    assert choose([tried(1, 360, 0.30), tried(2, 344, 0.25)], accuracy).number == 1
    assert choose([tried(1, 360, 0.25), tried(2, 358, 0.30)], accuracy).number == 1


def test_weaker_strengths_are_left_out_once_both_are_past_their_best():
    accuracy = metrics.get("accuracy")
    losses = [0.5, 0.4, 0.45, 0.5, 0.6, 0.7]
    worse = [tried(number, 360 - number, loss) for number, loss in enumerate(losses)]
    assert [one.number for one in solved_head._while_better(iter(worse), accuracy)] == [0, 1, 2, 3]
    better = [tried(number, 350 + (4 if number == 3 else 0), loss) for number, loss in enumerate(losses)]
    assert [one.number for one in solved_head._while_better(iter(better), accuracy)] == [0, 1, 2, 3, 4, 5]


def test_a_metric_that_is_better_when_lower():
    log_loss = metrics.get("log_loss")
    ones = [tried(1, 360, 0.30, value=0.30), tried(2, 360, 0.20, value=0.20), tried(3, 360, 0.25, value=0.25)]
    assert choose(ones, log_loss).number == 2


def test_only_what_can_be_chosen_is_kept():
    rng = np.random.default_rng(0)
    accuracy = metrics.get("accuracy")
    for _ in range(50):
        everyone = [tried(number, int(rng.integers(300, 400)), float(rng.integers(10, 40)) / 100) for number in range(1, 12)]
        front: list[Tried] = []
        for one in everyone:
            front = solved_head._front([*front, one], accuracy)
        assert len(front) <= len(everyone)
        assert choose(front, accuracy).number == choose(everyone, accuracy).number


@pytest.mark.parametrize("products", [solved_head.SMALL - 1, solved_head.SMALL])
def test_threads_are_given_back(products):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with solved_head._threads(products):
            assert torch.get_num_threads() == (1 if products < solved_head.SMALL else 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
