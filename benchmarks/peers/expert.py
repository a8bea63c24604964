"""What an expert writes by hand for a linear probe: features once, then scikit-learn.

The network without its classifier (timm's "feature extraction", huggingface.co/docs/timm/feature_extraction) in eval mode under
`torch.inference_mode`, each picture once; StandardScaler and LogisticRegression (scikit-learn.org/stable/modules/linear_model.html)
for five values of C, the best by validation accuracy.

`eager`: as anybody writes it. `channels-last`: with the one line more that makes convolutions fast on a CPU.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from benchmarks.peers.answer import Clock, answer, parser
from benchmarks.peers.given import network, transform

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of C. The best on standardised features of some thousand pictures lies inside."""


def main() -> None:
    """Compute the features, fit, choose, and answer."""
    clock, options = Clock(), parser(__doc__, "eager", "channels-last").parse_args()
    clock.mark("imports")
    torch.manual_seed(options.seed)
    layout = torch.channels_last if options.variant == "channels-last" else torch.contiguous_format

    model = network(options, num_classes=0).eval().to(memory_format=layout)
    pictures = {part: ImageFolder(options.data / part, transform(model, options)) for part in ("train", "val", "test")}
    clock.mark("load")

    features = {
        part: extract(model, DataLoader(found, options.batch_size, num_workers=options.workers), layout)
        for part, found in pictures.items()
    }
    clock.mark("features")
    fitted = [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1_000)).fit(
            features["train"], pictures["train"].targets
        )
        for strength in STRENGTHS
    ]
    best = max(fitted, key=lambda one: one.score(features["val"], pictures["val"].targets))
    clock.mark("fit")
    predicted = best.predict(features["test"]).tolist()
    clock.mark("predict")
    answer(predicted, pictures["test"].targets, clock, f"C = {best[-1].C}, chosen on the validation pictures")


@torch.inference_mode()
def extract(model: nn.Module, batches: DataLoader, layout: torch.memory_format) -> NDArray[np.float32]:
    """Pooled features `[N, 1280] float32`."""
    return np.concatenate([model(images.contiguous(memory_format=layout)).numpy() for images, _ in batches])


if __name__ == "__main__":
    main()
