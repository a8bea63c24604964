"""fastai's vision_learner on a timm network.

`one-cycle`: the vision tutorial (docs.fast.ai/tutorial.vision.html): ImageDataLoaders.from_folder, Resize, aug_transforms, and a
learner that starts out frozen (docs.fast.ai/vision.learner.html) with fastai's own head, trained by `fit_one_cycle`.

`fine-tune`: the same by `fine_tune`, with all its epochs frozen ones (`freeze_epochs`; docs.fast.ai/callback.schedule.html).

`tuned`: what an expert changes: `train_bn=False` and BnFreeze, so that the trunk rests, channels_last, no augmentation, no dropout in
the head, the best epoch by validation accuracy (SaveModelCallback), no bar. fastai's own rate, 3e-3, is better than 1e-2 on the
validation pictures.
"""

from __future__ import annotations

import contextlib
import warnings

# fastcore calls torch.jit.script while it is imported, which torch deprecates.
warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")

import torch  # noqa: E402
from fastai.callback.training import BnFreeze  # noqa: E402
from fastai.vision.all import (  # noqa: E402
    Callback,
    ImageDataLoaders,
    Resize,
    SaveModelCallback,
    accuracy,
    aug_transforms,
    get_image_files,
    set_seed,
    vision_learner,
)

from benchmarks.peers.answer import Clock, answer, parser  # noqa: E402


class ChannelsLast(Callback):
    """Pictures in the order in memory that convolutions on a CPU are fast with."""

    def before_batch(self) -> None:
        self.learn.xb = tuple(images.contiguous(memory_format=torch.channels_last) for images in self.xb)


def main() -> None:
    """Train the head, and answer."""
    clock, options = Clock(), parser(__doc__, "one-cycle", "fine-tune", "tuned").parse_args()
    clock.mark("imports")
    tuned, size = options.variant == "tuned", options.image_size
    set_seed(options.seed, reproducible=True)

    loaders = ImageDataLoaders.from_folder(
        options.data,
        train="train",
        valid="val",
        item_tfms=Resize(size),
        batch_tfms=None if tuned else aug_transforms(size=size),
        bs=options.batch_size,
        num_workers=options.workers,
        device=torch.device("cpu"),
    )
    learner = vision_learner(
        loaders,
        "tf_efficientnet_lite0.in1k",
        metrics=accuracy,
        path=".",
        pretrained_cfg_overlay={"file": str(options.weights / "model.safetensors")},
        **({"train_bn": False, "ps": 0.0} if tuned else {}),
    )
    if tuned:
        learner.model.to(memory_format=torch.channels_last)
        learner.add_cbs([BnFreeze(), ChannelsLast(), SaveModelCallback(monitor="accuracy")])
    clock.mark("load")
    with learner.no_bar() if tuned else contextlib.nullcontext():
        if options.variant == "fine-tune":
            learner.fine_tune(0, freeze_epochs=options.epochs)
        else:
            learner.fit_one_cycle(options.epochs, 3e-3)
        clock.mark("train")
        files = get_image_files(options.data / "test").sorted()
        probabilities, targets = learner.get_preds(dl=loaders.test_dl(files, with_labels=True))
    clock.mark("predict")
    trunk = "eval-mode trunk" if tuned else "frozen batch-norm is trained, as by fastai's default"
    answer(probabilities.argmax(1).tolist(), targets.tolist(), clock, f"{trunk}; a head of two layers, fastai's own")


if __name__ == "__main__":
    main()
