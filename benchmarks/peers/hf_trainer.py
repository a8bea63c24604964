"""The Trainer of transformers, on a timm network in transformers' own TimmWrapper.

`documented`: the guide on image classification (huggingface.co/docs/transformers/tasks/image_classification): `imagefolder` data,
RandomResizedCrop, AdamW at 5e-5 after a warm-up of a tenth, an evaluation and a checkpoint each epoch, the best by validation
accuracy at the end; the network is frozen by `requires_grad` (huggingface.co/docs/transformers/training has no other way). Test
pictures are prepared by the image processor, as in the guide's inference. Batches are of this benchmark's size instead of 64.

`tuned`: the trunk stays in eval mode, channels_last, no augmentation, AdamW at 3e-3 under a cosine (the best of
1e-3 to 1e-1 on the validation pictures), worker processes, checkpoints of the weights alone, no progress bar.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import load_dataset
from torchvision.transforms import Compose, Normalize, RandomResizedCrop, ToTensor
from transformers import AutoImageProcessor, AutoModelForImageClassification, DefaultDataCollator, Trainer, TrainingArguments

from benchmarks.peers.answer import Clock, answer, parser

DOCUMENTED = {"learning_rate": 5e-5, "warmup_steps": 0.1, "logging_steps": 10}
TUNED = {"learning_rate": 3e-3, "lr_scheduler_type": "cosine", "dataloader_persistent_workers": True, "save_only_model": True}
TUNED |= {"logging_strategy": "no", "disable_tqdm": True}


def prepared(transform: Callable[[Any], Any], examples: dict[str, Any]) -> dict[str, Any]:
    """The guide's own: pictures become pixel values."""
    return {"pixel_values": [transform(image.convert("RGB")) for image in examples["image"]], "label": examples["label"]}


def main() -> None:
    """Train the classifier, and answer."""
    clock, options = Clock(), parser(__doc__, "documented", "tuned").parse_args()
    clock.mark("imports")
    tuned = options.variant == "tuned"
    pictures = load_dataset("imagefolder", data_dir=str(options.data))
    labels = pictures["train"].features["label"].names
    processor = AutoImageProcessor.from_pretrained(options.weights)
    settings = processor.data_config
    varied = Compose([RandomResizedCrop(settings["input_size"][1:]), ToTensor(), Normalize(settings["mean"], settings["std"])])
    transform = partial(prepared, processor.val_transforms if tuned else varied)
    train, val = (pictures[part].with_transform(transform) for part in ("train", "validation"))
    test = pictures["test"].with_transform(partial(prepared, processor.val_transforms))
    model = AutoModelForImageClassification.from_pretrained(
        options.weights,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        ignore_mismatched_sizes=True,
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("timm_model.classifier")
    if tuned:
        model = model.to(memory_format=torch.channels_last)
        # The Trainer calls train() in each step; a frozen batch-norm has to stay as it is.
        model.train = lambda mode=True: model
        model.eval()
    training = TrainingArguments(
        output_dir="trainer",
        remove_unused_columns=False,
        eval_strategy="epoch",
        save_strategy="epoch",
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        num_train_epochs=options.epochs,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        dataloader_num_workers=options.workers,
        report_to="none",
        use_cpu=True,
        seed=options.seed,
        **(TUNED if tuned else DOCUMENTED),
    )
    trainer = Trainer(
        model=model,
        args=training,
        data_collator=DefaultDataCollator(),
        train_dataset=train,
        eval_dataset=val,
        processing_class=processor,
        compute_metrics=lambda found: {"accuracy": float((np.argmax(found.predictions, 1) == found.label_ids).mean())},
    )
    clock.mark("load")
    trainer.train()
    clock.mark("train")
    found = trainer.predict(test)
    clock.mark("predict")
    notes = "eval-mode trunk" if tuned else "batch-norm in train mode moves the trunk"
    answer(np.argmax(found.predictions, 1).tolist(), found.label_ids.tolist(), clock, notes)


if __name__ == "__main__":
    main()
