"""The options as keywords of the Python API, for editors and type checkers.

Made from the fields of `zoo.config` by `python tests/test_keywords.py`; a test holds them to these.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class FinetuneOptions(TypedDict, total=False):
    """Of `zoo.finetune`."""

    strategy: str
    weights: str | None
    init_from: str | None
    keep_head: bool
    image_size: int | None
    max_length: int | None
    truncation: Literal["head", "tail", "head+tail", "window"]
    pooling: Literal["cls", "mean", "max", "last"] | None
    max_seconds: float | None
    drop_path: float
    lora_alpha: float | None
    lora_dropout: float
    head_fit: Literal["solved", "stepped"]
    head_start: Literal["auto", "solved", "random"]
    batch_norm: Literal["auto", "live", "frozen"]
    lora_targets: str | None
    text: str | None
    image: str | None
    audio: str | None
    label: str | None
    label_delimiter: str | None
    streaming: bool
    split: str | None
    group: str | None
    task: Literal["auto", "classification", "multilabel", "regression"]
    val_fraction: float
    test_fraction: float
    bit_depth: int | None
    max_unreadable: float
    leaks: Literal["error", "warn", "ignore"]
    augment: str
    views: int | None
    keep_decoded: Literal["auto", "always", "never"]
    keep_features: Literal["auto", "always", "never"]
    class_weights: Literal["none", "balanced"]
    num_workers: int | None
    shuffle: bool | None
    sampler: str | None
    batch_sampler: str | None
    drop_last: bool
    collate_fn: str | None
    timeout: float | None
    worker_init_fn: str | None
    prefetch_factor: int | None
    persistent_workers: bool | None
    multiprocessing_context: Literal["fork", "spawn", "forkserver"] | None
    in_order: bool
    pin_memory: bool | None
    epochs: float
    batch_size: int
    accumulate: int
    optimizer: str
    lr: float
    backbone_lr_scale: float
    stage_decay: float
    momentum: float
    weight_decay: float
    schedule: Literal["cosine", "linear", "constant"]
    warmup: float
    clip: float | None
    label_smoothing: float
    refit: Literal["auto", "train", "train+val"]
    eval_every: float
    patience: int | None
    min_delta: float
    checkpoint_every: int | None
    keep: int
    max_minutes: float | None
    precision: Literal["auto", "no", "fp16", "bf16"]
    feature_precision: Literal["auto", "no", "fp16", "bf16"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    compile: bool
    gradient_checkpointing: bool
    detect_anomaly: bool
    engine: Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
    feature_batch_size: int | None
    cache: str | None
    cache_gb: float
    processes: int
    seed: int
    out: str | None
    tensorboard: bool


class EvaluateOptions(TypedDict, total=False):
    """Of `zoo.evaluate`."""

    text: str | None
    image: str | None
    audio: str | None
    label: str | None
    label_delimiter: str | None
    split: str | None
    max_unreadable: float


class InspectOptions(TypedDict, total=False):
    """Of `zoo.inspect`."""

    weights: str | None
    image_size: int | None
    max_length: int | None
    truncation: Literal["head", "tail", "head+tail", "window"]
    pooling: Literal["cls", "mean", "max", "last"] | None
    max_seconds: float | None
    text: str | None
    image: str | None
    audio: str | None
    label: str | None
    label_delimiter: str | None
    split: str | None
    group: str | None
    task: Literal["auto", "classification", "multilabel", "regression"]
    num_workers: int | None
    device: Literal["auto", "cpu", "cuda", "mps"]
    engine: Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
    cache: str | None
    seed: int


class BenchOptions(TypedDict, total=False):
    """Of `zoo.bench`."""

    strategy: str
    weights: str | None
    image_size: int | None
    data: str
    augment: str
    num_workers: int | None
    batch_size: int
    device: Literal["auto", "cpu", "cuda", "mps"]
    engine: Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
    seed: int
