"""What a run computes in float32 is computed in all of it, whatever the program around it allows a GPU to round."""

import numpy as np
import pytest
import torch

import zoo

QUICK = {
    "backbone": "timm/test_resnet.r160_in1k",
    "weights": "random",
    "image_size": 32,
    "precision": "no",
    "engine": "torch",
    "num_workers": 0,
    "tensorboard": False,
    "epochs": 1,
}


class Spy(torch.nn.Linear):
    """A head that writes down in which arithmetic it is asked."""

    seen: set[tuple[bool, bool]] = set()

    def forward(self, features):
        if len(features) > 2:  # not the two with which a head is tried when it is built
            Spy.seen.add((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return super().forward(features)


@pytest.mark.parametrize("strategy", ["full", "linear-probe"])
def test_float32_is_whole_while_a_run_is_trained_and_measured(tmp_path, strategy):
    """Only a GPU rounds; the switches are the same on every machine."""
    images = np.random.default_rng(0).integers(0, 255, (24, 32, 32, 3), dtype=np.uint8)
    classes = np.arange(24) % 2
    Spy.seen = set()
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        zoo.finetune(
            **QUICK,
            strategy=strategy,
            cache=str(tmp_path / "cache"),
            out=str(tmp_path / "run"),
            head=Spy,
            data=(images, classes),
        )
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert Spy.seen == {(False, False)}
