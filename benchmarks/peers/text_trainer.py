"""The Trainer of transformers on texts, the encoder frozen.

`documented`: the guide on text classification (huggingface.co/docs/transformers/tasks/sequence_classification): dynamic padding,
AdamW at 2e-5 with weight decay 0.01, an evaluation and a checkpoint each epoch, the best at the end; the encoder is frozen by
`requires_grad`. Batches are of this benchmark's size instead of 16.

`tuned`: the encoder stays in eval mode, texts of like length share a batch, AdamW at 1e-1 under a cosine (the best of 1e-3, 3e-3,
3e-2, 1e-1 and 3e-1 on the validation texts), checkpoints of the weights alone, no progress bar.
"""

from __future__ import annotations

import numpy as np
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from benchmarks.peers.answer import Clock, answer, parser
from benchmarks.peers.given_texts import table

DOCUMENTED = {"learning_rate": 2e-5, "weight_decay": 0.01}
TUNED = {
    "learning_rate": 1e-1,
    "lr_scheduler_type": "cosine",
    "train_sampling_strategy": "group_by_length",
    "save_only_model": True,
}
TUNED |= {"logging_strategy": "no", "disable_tqdm": True}


def main() -> None:
    """Train the classifier, and answer."""
    clock, options = Clock(), parser(__doc__, "documented", "tuned").parse_args()
    clock.mark("imports")
    tuned = options.variant == "tuned"
    parts, names = table(options.data)
    tokenizer = AutoTokenizer.from_pretrained(options.weights)
    data = {
        part: Dataset.from_dict({"text": texts, "label": labels}).map(
            lambda some: tokenizer(some["text"], truncation=True, max_length=256), batched=True
        )
        for part, (texts, labels) in parts.items()
    }
    model = AutoModelForSequenceClassification.from_pretrained(options.weights, num_labels=len(names))
    for parameter in model.base_model.parameters():
        parameter.requires_grad = False
    if tuned:  # the Trainer calls train() in each step
        model.train = lambda mode=True: model
        model.eval()
    training = TrainingArguments(
        output_dir="trainer",
        eval_strategy="epoch",
        save_strategy="epoch",
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        num_train_epochs=options.epochs,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        report_to="none",
        use_cpu=True,
        seed=options.seed,
        **(TUNED if tuned else DOCUMENTED),
    )
    trainer = Trainer(
        model=model,
        args=training,
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=data["train"],
        eval_dataset=data["val"],
        processing_class=tokenizer,
        compute_metrics=lambda found: {"accuracy": float((np.argmax(found.predictions, 1) == found.label_ids).mean())},
    )
    clock.mark("load")
    trainer.train()
    clock.mark("train")
    found = trainer.predict(data["test"])
    clock.mark("predict")
    notes = "encoder in eval mode" if tuned else "dropout acts in the frozen encoder"
    answer(np.argmax(found.predictions, 1).tolist(), found.label_ids.tolist(), clock, notes)


if __name__ == "__main__":
    main()
