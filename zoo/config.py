"""The one definition of every option.

A field of the dataclasses below is at once the flag of the command line, the key in a recipe and the keyword in Python; the text
under it is its help, and the markers beside its type are all else that is known of it (`zoo.options`). Leaf names are unique across the
groups.

Values come, in this order, from a flag (or keyword), the recipe that was named, the family's recipe for the strategy, and the default
written here; `resolve` keeps the origin of each for people: nothing is decided by it. What is left to the data, the machine or a
measurement (`auto`, or empty) is settled as a value before it is used, so that a run's config.yaml says all that another run needs to do
the same.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any, Literal

from zoo.errors import ConfigError, UnknownName, nearest
from zoo.options import (
    BENCH,
    EVALUATE,
    FOR_WORKERS,
    INSPECT,
    NAMES_CODE,
    OFF_CARD,
    ON_SAMPLES,
    SAME_RESULT,
    SOLVED,
    STEPS,
    Choice,
    Listed,
    Mark,
    Option,
    Parsed,
    Range,
    Scalar,
    Spelled,
    options_of,
)
from zoo.plugins import AUGMENTATIONS, OPTIMIZERS
from zoo.strategy import parse, spelling
from zoo.types import Kind


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Model"""

    backbone: Annotated[str, Listed("backbones")] = "resnet50"
    """Name of the backbone: a curated one (`zoo list backbones`) or any of timm's as `timm/NAME`."""
    head: Annotated[str, Listed("heads")] = "linear"
    """Name of the head (`zoo list heads`)."""
    strategy: Annotated[str, Spelled("--freeze"), Parsed(spelling), Listed("strategies"), BENCH] = "linear-probe"
    """What trains: one of `zoo list strategies`, such as linear-probe, full, partial:2 or lora:16."""
    weights: Annotated[str | None, SAME_RESULT, BENCH, INSPECT] = None
    """File or folder of pretrained weights, or `random`. Default: an installed weight package, the cache, the Hub, in this order."""
    init_from: Annotated[str | None, Spelled("--from")] = None
    """Folder `best/` of another run (or a published one) whose backbone to start from, in place of pretrained weights."""
    keep_head: bool = False
    """Start from the rows of that model's head too, for labels of the same name; new labels come after the old ones."""
    image_size: Annotated[int | None, Range(8, 4096), Kind.IMAGE, BENCH, INSPECT] = None
    """Side of the square image that the backbone sees, in pixels. Default: the backbone's own."""
    max_length: Annotated[int | None, Range(4, 1 << 20), Kind.TEXT, INSPECT] = None
    """Largest number of tokens of a text, special tokens included. Default: the length that the backbone was trained with, at most 512."""
    truncation: Annotated[Literal["head", "tail", "head+tail", "window"], Kind.TEXT, Kind.AUDIO, INSPECT] = "head"
    """Which part of a longer text (or audio clip) is kept: its beginning, its end, both, or all of it in windows whose features are
    averaged."""
    pooling: Annotated[Literal["cls", "mean", "max", "last"] | None, Kind.TEXT, Kind.AUDIO, INSPECT] = None
    """How the features of a text's tokens (or an audio clip's frames) are pooled into one vector. Default: the family's way."""
    max_seconds: Annotated[float | None, Range(0.01, 1e5), Kind.AUDIO, INSPECT] = None
    """Seconds of an audio clip that the backbone sees. Default: the family's."""
    drop_path: Annotated[float, Range(0, 0.99)] = 0.0
    """Probability of dropping a residual branch in training (stochastic depth), where the backbone can; 0 to 1."""
    lora_alpha: Annotated[float | None, Range(1e-6, 1e6)] = None
    """Strength of the LoRA update, which is scaled by alpha / rank. Default: twice the rank."""
    lora_dropout: Annotated[float, Range(0, 0.99)] = 0.0
    """Dropout before the LoRA update; 0 to 1."""
    head_fit: Literal["solved", "stepped"] = "solved"
    """How a linear head on an inert backbone is fitted: solved to its optimum, with the L2 penalty and the scaling of the features
    chosen on samples that were held out (see `refit`); or stepped by the optimiser, as every other head is."""
    head_start: Literal["auto", "solved", "random"] = "auto"
    """Initial values of a head that is trained in steps: those of the head that is solved on the features of the backbone as it is, or
    random ones. auto: solved where the head is linear, the weights are pretrained, and more than the head is trained."""
    batch_norm: Literal["auto", "live", "frozen"] = "auto"
    """Under strategy full: whether batch-norm normalises by the statistics of a batch while training (`live`), or by those that it came
    with (`frozen`). auto: frozen where the weights are pretrained."""
    lora_targets: str | None = None
    """Regular expression for the full names of the modules that LoRA adapts. Default: the family's."""

    def inputs(self) -> dict[str, Any]:
        """What the backbone is told of its samples: the options that are for some kinds of them."""
        own = [name for name, option in options().items() if option.group == "model" and option.kinds != tuple(Kind)]
        return {name: getattr(self, name) for name in own}


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Data"""

    data: Annotated[str, BENCH] = "builtin:digits"
    """Folder of images or audio clips (DIR/CLASS/* or DIR/{train,val,test}/CLASS/*), a table (.csv, .tsv, .jsonl, .parquet, .arrow)
    of texts or paths, a folder of Parquet files, a WebDataset (shards.tar, 'shards-{000..011}.tar', a folder of them), a data set of
    the library datasets (hf:NAME, hf:NAME:CONFIGURATION, a folder that it saved), or builtin:digits."""
    text: Annotated[str | None, EVALUATE, INSPECT] = None
    """Column of a table that holds the texts; two with a comma for pairs. Default: guessed."""
    image: Annotated[str | None, EVALUATE, INSPECT] = None
    """Column that holds the paths of images, relative to the table, or the images themselves. Default: guessed."""
    audio: Annotated[str | None, EVALUATE, INSPECT] = None
    """Column that holds the paths of audio clips, relative to the table, or the audio clips themselves. Default: guessed."""
    label: Annotated[str | None, EVALUATE, INSPECT] = None
    """Column that holds the label; several with commas where each is a label of its own. Default: guessed."""
    label_delimiter: Annotated[str | None, EVALUATE, INSPECT] = None
    """Separator of several labels in one field, such as `|` or `;`."""
    streaming: Annotated[bool, SAME_RESULT] = False
    """Keep the texts of a table (or what a Python iterable gives) on the disk instead of in memory, and read each when it is needed; order
    and results are the same."""
    split: Annotated[str | None, EVALUATE, INSPECT] = None
    """Column that assigns each row to train, val or test. Default: the column `split`, if there is one."""
    group: Annotated[str | None, INSPECT] = None
    """Column whose equal values mark samples that belong together, such as those of one patient or one session: they are never spread over
    two sets, nor over two folds of a cross-validation. Default: each sample is a group of its own."""
    task: Annotated[Literal["auto", "classification", "multilabel", "regression"], INSPECT] = "auto"
    """What is predicted; auto: inferred from the labels."""
    val_fraction: Annotated[float, Range(0, 0.9)] = 0.15
    """Fraction of the samples that is set aside as the validation set, where the data have none; 0 to 1."""
    test_fraction: Annotated[float, Range(0, 0.9)] = 0.15
    """Fraction of the samples that is set aside as the test set, where the data have no splits; 0 to 1."""
    bit_depth: Annotated[int | None, Range(1, 16)] = None
    """Bits that the grey values of 16-bit images use, such as 12: 0 to 4,095 is then scaled to black and white. Default: the fewest of 8,
    10, 12, 14 and 16 that hold all values of the data; it is saved with the model."""
    max_unreadable: Annotated[float, Range(0, 1), EVALUATE] = 0.01
    """Share of unreadable samples that are left out; more is an error. Each is named in notices.csv of the run."""
    leaks: Literal["error", "warn", "ignore"] = "warn"
    """What to do about identical samples in two splits: stop, drop them from the later split and say so, or keep them."""
    augment: Annotated[str, Choice(AUGMENTATIONS), BENCH] = "none"
    """How training images or audio clips are varied."""
    views: Annotated[int | None, Range(1, 1 << 16)] = None
    """Augmented views of each training sample whose features are computed once and kept; epoch e trains on view e modulo so many.
    Default: where samples are augmented, each epoch varies them anew, and nothing is kept."""
    keep_decoded: Annotated[Literal["auto", "always", "never"], SAME_RESULT] = "auto"
    """Whether decoded images are kept in the cache for later epochs; auto: where timing shows that training waits for decoding."""
    keep_features: Annotated[Literal["auto", "always", "never"], SAME_RESULT] = "auto"
    """Whether what comes before the first stage that trains is computed once and kept for all epochs; never: every step runs the whole
    network; auto: behind an inert backbone, always; between stages, where it is a fifth or more of the network's multiplications and
    there is room."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weight of a training sample: 1, or inversely proportional to the size of its class (scikit-learn's `balanced`)."""
    num_workers: Annotated[int | None, Range(0, 256), SAME_RESULT, BENCH, INSPECT] = None
    """Processes that read samples, for each training process. Default: chosen by timing, at most 8 and at most one less than the cores."""


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Loading"""

    shuffle: Annotated[bool | None, STEPS] = None
    """Shuffle the training samples anew in each epoch; without it, as `sampler sequential`. Default: yes, unless a sampler is named."""
    sampler: Annotated[str | None, STEPS, NAMES_CODE] = None
    """Which training samples an epoch has, and in what order: random, sequential, weighted (classes alike, by drawing with replacement),
    balanced-batch (classes alike in every batch), stratified (classes in every batch as in the whole), length-grouped (samples of like
    length together), subset:N (N of them, the same in every epoch), a registered name, or module:function. Default: random."""
    batch_sampler: Annotated[str | None, STEPS, NAMES_CODE] = None
    """What gives the training samples in whole batches, each of them an optimiser step: a registered name, or module:function;
    `batch_size` then counts for evaluation alone. Default: the sampler's order, cut by `batch_size`."""
    drop_last: Annotated[bool, STEPS] = False
    """Leave out the last step of an epoch where it has fewer samples than `batch_size`."""
    collate_fn: Annotated[str | None, ON_SAMPLES, NAMES_CODE] = None
    """What makes a training batch of prepared samples: a registered name, or module:function. Default: the backbone's own way, as in
    every evaluation."""
    timeout: Annotated[float | None, Range(0, 1e6), SAME_RESULT, FOR_WORKERS] = None
    """Seconds that a process may take to read a batch; 0: no limit. Default: 300."""
    worker_init_fn: Annotated[str | None, SAME_RESULT, FOR_WORKERS, NAMES_CODE] = None
    """What each process that reads runs first, with its number: a registered name, or module:function. Default: nothing."""
    prefetch_factor: Annotated[int | None, Range(1, 1 << 16), SAME_RESULT, FOR_WORKERS] = None
    """Batches that each process reads ahead. Default: 2."""
    persistent_workers: Annotated[bool | None, SAME_RESULT, FOR_WORKERS] = None
    """Keep the processes that read the validation samples from one evaluation to the next; those of training stay for all epochs.
    Default: yes."""
    multiprocessing_context: Annotated[Literal["fork", "spawn", "forkserver"] | None, SAME_RESULT, FOR_WORKERS] = None
    """How processes that read are started. Default: by fork on Linux, elsewhere as the system does."""
    in_order: Annotated[bool, SAME_RESULT, FOR_WORKERS] = True
    """Evaluate batches in the order of the samples, and not whichever is read first; training keeps its order always, since a resumed
    run goes on from there."""
    pin_memory: Annotated[bool | None, SAME_RESULT] = None
    """Read into memory from which a GPU copies faster. Default: with a GPU, yes."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Training"""

    epochs: Annotated[float, Range(1e-3, 1e6), STEPS] = 10
    """Passes over the training samples; fractions are allowed."""
    batch_size: Annotated[int, Range(1, 1 << 20), BENCH] = 32
    """Samples in one optimiser step, over all processes and accumulated micro-batches together; two or more in each micro-batch where
    batch norm is live."""
    accumulate: Annotated[int, Range(1, 1 << 16), STEPS] = 1
    """Micro-batches that a process splits its share of a step into, to save memory; the result is the same, but for live batch norm, whose
    statistics are those of a micro-batch, and dropout and drop-path, whose masks are drawn for each."""
    optimizer: Annotated[str, Choice(OPTIMIZERS), STEPS] = "adamw"
    """Optimizer: AdamW, or SGD with Nesterov momentum."""
    lr: Annotated[float, Range(1e-12, 100), STEPS] = 1e-3
    """Peak learning rate of the head."""
    backbone_lr_scale: Annotated[float, Range(1e-9, 1e3), STEPS] = 1.0
    """Learning rate of everything else that trains, as a fraction of `lr`."""
    stage_decay: Annotated[float, Range(1e-3, 1), STEPS] = 1.0
    """Factor on the learning rate of each stage of the backbone per stage between it and the output; 1 for none, above 0."""
    momentum: Annotated[float, Range(0, 0.9999), STEPS] = 0.9
    """Momentum of SGD; AdamW uses 0.9 and 0.999."""
    weight_decay: Annotated[float, Range(0, 10), STEPS] = 0.0
    """Decoupled weight decay for AdamW, L2 for SGD; never on norms, biases and other one-dimensional tensors."""
    schedule: Annotated[Literal["cosine", "linear", "constant"], STEPS] = "cosine"
    """Shape of the learning rate after the warm-up."""
    warmup: Annotated[float, Range(0, 1), STEPS] = 0.05
    """Share of the steps over which the learning rate rises linearly; 0 to 1."""
    clip: Annotated[float | None, Range(1e-9, 1e9), STEPS] = None
    """Largest norm of the gradient. Default: no clipping."""
    label_smoothing: Annotated[float, Range(0, 0.99), STEPS] = 0.0
    """Share of the target spread over all classes; 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """Selection and checkpoints"""

    metric: Annotated[str | None, Listed("metrics")] = None
    """Metric by which the best model is selected (`zoo list metrics`), or evaluate:DIR for a local module of the evaluate library. Default:
    the task's own (accuracy; mean_average_precision of several labels; rmse of values)."""
    refit: Annotated[Literal["auto", "train", "train+val"], SOLVED] = "auto"
    """What a solved head is fitted to in the end: the training samples, or these and the validation samples, after it was chosen by
    cross-validation on both; auto: both where zoo set the validation samples aside, else the training samples."""
    eval_every: Annotated[float, Range(1e-3, 1e6), STEPS] = 1.0
    """Epochs between evaluations; the last step is always evaluated."""
    patience: Annotated[int | None, Range(1, 1 << 20), STEPS] = None
    """Evaluations without improvement after which training stops. Default: never."""
    min_delta: Annotated[float, Range(0, 1e9), STEPS] = 0.0
    """Improvement over the best that resets the patience."""
    checkpoint_every: Annotated[int | None, Range(1, 1 << 30), STEPS, SAME_RESULT] = None
    """Steps between checkpoints. Default: at each evaluation."""
    keep: Annotated[int, Range(1, 1 << 20), STEPS, SAME_RESULT] = 2
    """Number of checkpoints that are kept for resuming; the best model is kept separately."""
    max_minutes: Annotated[float | None, Range(1e-3, 1e6), STEPS, SAME_RESULT] = None
    """Time limit of training, after which it stops cleanly; the best model so far is evaluated and kept. Default: no limit."""


@dataclass(frozen=True, kw_only=True)
class MachineConfig:
    """Machine"""

    precision: Literal["auto", "no", "fp16", "bf16"] = "auto"
    """Arithmetic of the forward and backward passes; auto: bf16 where the hardware has it, else fp32 (`no`)."""
    feature_precision: Literal["auto", "no", "fp16", "bf16"] = "auto"
    """Arithmetic of features that are computed once; auto: fp32 (`no`), as in every evaluation, unless `precision` names another.
    In bf16 they take half the time and cost up to half a point of accuracy (docs/decisions/0006)."""
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], SAME_RESULT, BENCH, INSPECT] = "auto"
    """Where to compute: the CPU, an NVIDIA or AMD GPU (cuda), or Apple's (mps, where solved heads stay on the CPU); auto: cuda if there is
    one, else cpu."""
    compile: bool = False
    """Compile the training step with torch.compile: it takes about a minute at the start, and pays off on a GPU or in long runs."""
    gradient_checkpointing: Annotated[bool, STEPS, SAME_RESULT] = False
    """Compute the activations inside a block again in the backward pass, and do not keep them: less memory, for some more time; the
    result is the same."""
    detect_anomaly: Annotated[bool, STEPS, SAME_RESULT] = False
    """Look for NaN in every operation of the backward pass, and name the one that gives it; training then takes several times the time."""
    engine: Annotated[Literal["auto", "torch", "compile", "onnxruntime", "openvino"], SAME_RESULT, BENCH, INSPECT] = "auto"
    """What runs the inert part of a network (the last two come with `pip install 'zoo-finetune[cpu]'`); auto: the one that computed these
    features before, else the fastest, preparation included, of those that agree with torch, as timed once on this machine."""
    feature_batch_size: Annotated[int | None, Range(1, 1 << 16), SAME_RESULT] = None
    """Samples in a forward pass where features are computed once. Default: 32 of texts and audio clips; of images 16 on a CPU, and on a GPU
    64 or as many as it has room for."""
    cache: Annotated[str | None, SAME_RESULT, INSPECT] = None
    """Folder of the cache (features, measured decisions, converted networks), or `off`. Default: $ZOO_CACHE, else zoo/ in your cache
    folder."""
    cache_gb: Annotated[float, Range(1e-6, 1e9), SAME_RESULT] = 50.0
    """Size limit of the cache in GB; what was used least recently is removed first."""
    processes: Annotated[int, Range(1, 1024), SAME_RESULT] = 1
    """Training processes on this machine, one a GPU. They share each step's batch; see `accumulate` for what that changes."""
    seed: Annotated[int, Range(0, 2**32 - 1), BENCH, INSPECT] = 0
    """Seed of every random choice: the split, the order, the augmentation, the head's initial weights."""


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """Output"""

    out: Annotated[str | None, SAME_RESULT, OFF_CARD] = None
    """Folder of the run; it must not exist. Default: a new one under runs/."""
    tensorboard: Annotated[bool, SAME_RESULT, OFF_CARD] = True
    """Write TensorBoard event files."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Every option of a fine-tuning run. Built by `resolve`; never changed afterwards."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        if self.model.keep_head and self.model.init_from is None:
            raise ConfigError("keep_head keeps the head of the model that --init-from names; give that too")
        if self.model.keep_head and self.model.head_start == "solved":
            raise ConfigError("keep_head and head_start solved both say where the head begins; leave one of them out")
        if parse(self.model.strategy).begins_solved and self.model.head_start == "random":
            begins = f"strategy {self.model.strategy} begins at a solved head"
            raise ConfigError(f"{begins}, and head_start is random: use full, or leave it out")
        if self.model.init_from is not None and self.model.weights is not None:
            raise ConfigError("weights and init_from both say where the backbone's weights come from; give one of them")
        if self.data.val_fraction + self.data.test_fraction >= 1:
            raise ConfigError("val_fraction and test_fraction leave nothing to train on; their sum is below 1")
        if self.data.views is not None and self.data.augment == "none":
            raise ConfigError("views are of augmented samples, and augment is none; give --augment light, standard or strong")
        if self.optim.batch_size < self.optim.accumulate * self.machine.processes:
            raise ConfigError(
                f"batch_size {self.optim.batch_size} is smaller than accumulate x processes "
                f"({self.optim.accumulate} x {self.machine.processes}); every micro-batch needs a sample"
            )
        self._check_loading()

    def _check_loading(self) -> None:
        """Raises: ConfigError for options of loading that exclude each other, as they do in torch's DataLoader."""
        loader = self.loader
        if loader.sampler is not None and loader.shuffle is not None:
            raise ConfigError(f"sampler {loader.sampler} decides the order, and so would shuffle; leave one of them out")
        if loader.batch_sampler is not None:
            others = [name for name in ("shuffle", "sampler") if getattr(loader, name) is not None] + [
                "drop_last"
            ] * loader.drop_last
            if others:
                raise ConfigError(f"batch_sampler {loader.batch_sampler} decides the batches; leave out {' and '.join(others)}")
        idle = for_workers(loader)
        if self.data.num_workers == 0 and idle:
            raise ConfigError(
                f"num_workers is 0, and {' and '.join(idle)} {'is' if len(idle) == 1 else 'are'} for workers; give 1 or more"
            )
        if loader.pin_memory and self.machine.device == "cpu":
            raise ConfigError("pin_memory is for a GPU, and device is cpu; leave it out")
        if not loader.in_order and self.machine.processes > 1:
            raise ConfigError(f"in_order false is for one process, and processes is {self.machine.processes}; leave it out")

    def flat(self) -> dict[str, Scalar]:
        """Every option by its leaf name."""
        return {name: getattr(getattr(self, option.group), name) for name, option in options().items()}

    def replace(self, **values: Scalar) -> FinetuneConfig:
        """A copy with other values, by leaf name."""
        return build(self.flat() | values)


@cache
def options() -> dict[str, Option]:
    """Every option by its leaf name, in the order of definition."""
    return options_of(FinetuneConfig)


def marked(mark: Mark) -> tuple[str, ...]:
    """The options of which this is so."""
    return tuple(name for name, option in options().items() if option.has(mark))


def for_workers(loader: LoaderConfig) -> list[str]:
    """The options that were given and mean something only where other processes read samples."""
    return [name for name in marked(FOR_WORKERS) if getattr(loader, name) not in (None, options()[name].default)]


def build(values: Mapping[str, Any], origin: str = "") -> FinetuneConfig:
    """A config from leaf names and values; what is not named keeps its default. Raises: ConfigError, UnknownName."""
    checked = check(values, origin)
    groups = {part.name: typing.cast(type, part.default_factory) for part in fields(FinetuneConfig)}
    parts = {
        name: group(**{leaf.name: checked[leaf.name] for leaf in fields(group) if leaf.name in checked})
        for name, group in groups.items()
    }
    return FinetuneConfig(**parts)


def check(values: Mapping[str, Any], origin: str = "") -> dict[str, Scalar]:
    """The values, each as its option's type. Every mistake is reported, in one line. Raises: ConfigError, UnknownName."""
    known = options()
    unknown = [name for name in values if name not in known]
    if len(unknown) == 1:
        raise UnknownName("option", unknown[0], known, f"in {origin}" if origin else "")
    mistakes = [f"no option {name!r} (nearest: {', '.join(nearest(name, known)) or 'none'})" for name in unknown]
    checked: dict[str, Scalar] = {}
    for name, value in values.items():
        if name in known:
            try:
                checked[name] = known[name].check(value)
            except ConfigError as error:
                mistakes.append(str(error))
    if mistakes:
        raise ConfigError((f"{origin}: " if origin else "") + "; ".join(mistakes))
    return checked


@dataclass(frozen=True)
class Resolved:
    """A complete config, and where each of its values came from."""

    config: FinetuneConfig
    origins: dict[str, str]
    """By leaf name: `flag`, `recipe NAME`, `family NAME`, `default`, or what settled the value later (`device`, `backbone`)."""

    def settle(self, origin: str, **values: Scalar) -> Resolved:
        """A copy in which these values are decided by `origin`; those that are so already keep theirs."""
        before = self.config.flat()
        changed = {name: value for name, value in values.items() if before[name] != value}
        return Resolved(self.config.replace(**changed), self.origins | dict.fromkeys(changed, origin)) if changed else self


def resolve(layers: Iterable[tuple[str, Mapping[str, Any]]]) -> Resolved:
    """Lay values over the defaults. `layers` are (origin, values by leaf name), the weakest first.

    Raises: ConfigError and UnknownName, naming the origin.
    """
    values: dict[str, Scalar] = {}
    origins = dict.fromkeys(options(), "default")
    for origin, layer in layers:
        checked = check(layer, "" if origin == "flag" else origin)
        values |= checked
        origins |= dict.fromkeys(checked, origin)
    return Resolved(build(values), origins)


def slug(text: str) -> str:
    """`text` as part of a folder's name: lower case, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", text.casefold()).strip("-.") or "x"
