"""Lightning: a LightningModule with a frozen feature extractor, and a Trainer.

`documented`: the example "Imagenet (Computer Vision)" of the page on transfer learning
(lightning.ai/docs/pytorch/stable/advanced/transfer_learning.html): the extractor in eval mode under `torch.no_grad`, a linear
classifier; its optimiser is that of "Lightning in 15 minutes", Adam at 1e-3 (lightning.ai/docs/pytorch/stable/starter/introduction.html),
and the Trainer is as it comes: it keeps the last epoch.

`finetuning`: the callback BackboneFinetuning of the same page's family (lightning.ai/docs/pytorch/stable/api/
lightning.pytorch.callbacks.BackboneFinetuning.html), frozen for all epochs.

`tuned`: `documented`, with channels_last, AdamW at 3e-3 under a cosine (the best of 1e-3 to 1e-1 on the validation
pictures), the best epoch by validation accuracy (ModelCheckpoint), and no progress bar.
"""

from __future__ import annotations

import lightning
import torch
from lightning.pytorch.callbacks import BackboneFinetuning, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from benchmarks.peers.answer import Clock, answer, parser
from benchmarks.peers.given import network, transform


class ImagenetTransferLearning(lightning.LightningModule):
    """A frozen network and a linear classifier."""

    def __init__(self, backbone: nn.Module, num_classes: int, variant: str) -> None:
        super().__init__()
        self.backbone, self.variant = backbone, variant
        if variant != "finetuning":  # there, the callback freezes
            self.backbone.eval()
        self.classifier = nn.Linear(backbone.num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        if self.variant == "tuned":
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            representations = self.backbone(images)
        return self.classifier(representations)

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        self.log("accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def predict_step(self, batch: list[Tensor], number: int) -> Tensor:
        return self(batch[0]).argmax(1)

    def configure_optimizers(self):
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if self.variant != "tuned":
            return torch.optim.Adam(trained, lr=1e-3)
        optimizer = torch.optim.AdamW(self.classifier.parameters(), lr=3e-3)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)]


def main() -> None:
    """Train, choose by validation accuracy where tuned, and answer."""
    clock, options = Clock(), parser(__doc__, "documented", "finetuning", "tuned").parse_args()
    clock.mark("imports")
    tuned = options.variant == "tuned"
    lightning.seed_everything(options.seed, verbose=False)

    backbone = network(options, num_classes=0)
    pictures = {part: ImageFolder(options.data / part, transform(backbone, options)) for part in ("train", "val", "test")}
    loaders = {
        part: DataLoader(
            found,
            options.batch_size,
            shuffle=part == "train",
            num_workers=options.workers,
            persistent_workers=tuned and part != "test",
        )
        for part, found in pictures.items()
    }
    if tuned:
        backbone = backbone.to(memory_format=torch.channels_last)
    model = ImagenetTransferLearning(backbone, len(pictures["train"].classes), options.variant)
    callbacks = [BackboneFinetuning(unfreeze_backbone_at_epoch=options.epochs)] if options.variant == "finetuning" else []
    callbacks += [ModelCheckpoint(monitor="accuracy", mode="max", save_weights_only=True)] if tuned else []
    settings = {"accelerator": "cpu", "logger": False, "enable_progress_bar": not tuned}
    trainer = lightning.Trainer(max_epochs=options.epochs, callbacks=callbacks, **settings)
    clock.mark("load")
    trainer.fit(model, loaders["train"], loaders["val"])
    clock.mark("train")
    best = "best" if tuned else None
    predicted = torch.cat(trainer.predict(model, loaders["test"], ckpt_path=best, weights_only=True)).tolist()
    clock.mark("predict")
    answer(predicted, pictures["test"].targets, clock, "the best epoch" if tuned else "the last epoch")


if __name__ == "__main__":
    main()
