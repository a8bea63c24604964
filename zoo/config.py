"""The one definition of every option.

A field of the dataclasses below is at once the flag of the command line, the key in a recipe and the keyword in Python; the text
under it is its help. Leaf names are unique across the groups. Values come, in this order, from a flag (or keyword), the recipe
that was named, the family's recipe for the strategy, and the default written here; `resolve` keeps the origin of each for people:
nothing is decided by it. What is left to the data, the machine or a measurement (`auto`, or empty) is settled as a value before it is
used, so that a run's config.yaml says all that another run needs to do the same.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal

from docstring_parser import parse_from_object

from zoo import strategy as grammar
from zoo.errors import ConfigError, UnknownName, nearest, shown

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Model"""

    backbone: str = "resnet50"
    """Name of the backbone: a curated one (`zoo list backbones`) or any of timm's as `timm/NAME`."""
    head: str = "linear"
    """Name of the head (`zoo list heads`)."""
    strategy: str = "linear-probe"
    """What trains (`zoo list strategies`): full, linear-probe, partial:N, lora:R, norm-only, bias-only, lp-ft, gradual:E."""
    weights: str | None = None
    """File or folder of pretrained weights, or `random`. Empty: an installed weight package, the cache, the Hub, in this order."""
    init_from: str | None = None
    """Folder `best/` of another run (or a published one) whose backbone to start from, in place of pretrained weights."""
    keep_head: bool = False
    """Start from the rows of that model's head too, for labels of the same name; new labels come after the old ones."""
    image_size: int | None = None
    """Side of the square picture that the backbone sees, in pixels. Empty: the backbone's own."""
    max_length: int | None = None
    """Tokens of a text that the backbone sees, special ones included. Empty: as many as it can, or was trained for."""
    truncation: Literal["head", "tail", "head+tail", "window"] = "head"
    """What is kept of a text (or recording) that is longer: its beginning, its end, both, or all of it in windows whose features are
    averaged."""
    pooling: Literal["cls", "mean", "max", "last"] | None = None
    """How the features of a text's tokens (or a recording's frames) become one vector. Empty: the family's way."""
    max_seconds: float | None = None
    """Seconds of a recording that the backbone sees. Empty: the family's."""
    drop_path: float = 0.0
    """Probability of dropping a residual branch in training (stochastic depth), where the backbone can; 0 to 1."""
    lora_alpha: float | None = None
    """Strength of the LoRA update, which is scaled by alpha / rank. Empty: twice the rank."""
    lora_dropout: float = 0.0
    """Dropout before the LoRA update; 0 to 1."""
    head_fit: Literal["solved", "stepped"] = "solved"
    """How a linear head on an inert backbone is fitted: solved to its optimum, with the L2 penalty and the scaling of the features
    chosen on samples that were held out (see `refit`); or stepped by the optimiser, as every other head is."""
    head_start: Literal["auto", "solved", "random"] = "auto"
    """Where a head that is trained in steps begins: solved on the features of the backbone as it is, or at random values. auto: solved
    where the head is linear, the weights are pretrained, and more than the head is trained."""
    batch_norm: Literal["auto", "live", "frozen"] = "auto"
    """Under strategy full: whether batch-norm normalises by the statistics of a batch while training (`live`), or by those that it came
    with (`frozen`). auto: frozen where the weights are pretrained."""
    lora_targets: str | None = None
    """Regular expression for the full names of the modules that LoRA adapts. Empty: the family's."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Data"""

    data: str = "builtin:digits"
    """Folder of pictures or recordings (DIR/CLASS/* or DIR/{train,val,test}/CLASS/*), a table (.csv, .tsv, .jsonl, .parquet, .arrow)
    of texts or paths, a folder of Parquet files, a data set of the library datasets (hf:NAME, hf:NAME:CONFIGURATION, a folder that it
    saved), or builtin:digits."""
    text: str | None = None
    """Column of a table that holds the texts; two with a comma for pairs. Empty: guessed."""
    image: str | None = None
    """Column that holds the paths of pictures, relative to the table, or the pictures themselves. Empty: guessed."""
    audio: str | None = None
    """Column that holds the paths of recordings, relative to the table, or the recordings themselves. Empty: guessed."""
    label: str | None = None
    """Column that holds the label; several with commas where each is a label of its own. Empty: guessed."""
    label_delimiter: str | None = None
    """What parts several labels in one field, such as `|` or `;`."""
    streaming: bool = False
    """Keep the texts of a table (or what a Python iterable gives) on the disk instead of in memory, and read each when it is needed; order
    and results are the same."""
    split: str | None = None
    """Column that says train, val or test. Empty: one of this name, if there is."""
    group: str | None = None
    """Column that says which samples belong together, such as those of one patient or one session: they are never in two of the sets, nor
    in two folds of a cross-validation. Empty: each sample stands alone."""
    task: Literal["auto", "classification", "multilabel", "regression"] = "auto"
    """What is predicted; auto: what the labels look like."""
    val_fraction: float = 0.15
    """Share of the samples set aside to choose the best model by, where the data has no `val` part; 0 to 1."""
    test_fraction: float = 0.15
    """Share set aside to measure the chosen model, where the data has no parts; 0 to 1."""
    bit_depth: int | None = None
    """Bits that the grey values of 16-bit images use, such as 12: 0 to 4,095 is then scaled to black and white. Empty: the fewest of 8, 10,
    12, 14 and 16 that hold all values of the data; it travels with the model."""
    max_unreadable: float = 0.01
    """Share of unreadable samples that are left out; more is an error. Each is named in notices.csv of the run."""
    leaks: Literal["error", "warn", "ignore"] = "warn"
    """What to do about identical samples in two splits: stop, drop them from the later split and say so, or keep them."""
    augment: Literal["none", "light", "standard", "strong"] = "none"
    """How training pictures or recordings are varied."""
    views: int | None = None
    """Augmented views of each training sample whose features are computed once and kept; epoch e trains on view e modulo so many.
    Empty: where samples are augmented, each epoch varies them anew, and nothing is kept."""
    keep_decoded: Literal["auto", "always", "never"] = "auto"
    """Whether decoded pictures are kept in the cache for later epochs; auto: where decoding is what training waits for, as timed."""
    keep_features: Literal["auto", "always", "never"] = "auto"
    """Whether what comes before the first stage that trains is computed once and kept for all epochs; never: every step runs the whole
    network; auto: behind an inert backbone, always; between stages, where it is a fifth or more of the network's multiplications and
    there is room."""
    class_weights: Literal["none", "balanced"] = "none"
    """What a training sample counts: one, or in inverse proportion to the size of its class (scikit-learn's `balanced`)."""
    num_workers: int | None = None
    """Processes that read samples, for each training process. Empty: as few as keep up, as timed, at most one less than the cores and 8."""


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Loading"""

    shuffle: bool | None = None
    """Whether each epoch has an order of its own; no is `sampler sequential`. Empty: yes, unless a sampler is named."""
    sampler: str | None = None
    """Which training samples an epoch has, and in what order: random, sequential, weighted (classes alike, by drawing with replacement),
    balanced-batch (classes alike in every batch), stratified (classes in every batch as in the whole), length-grouped (samples of like
    length together), subset:N (N of them, the same in every epoch), a registered name, or module:function. Empty: random."""
    batch_sampler: str | None = None
    """What gives the training samples in whole batches, each of them an optimiser step: a registered name, or module:function;
    `batch_size` then counts for evaluation alone. Empty: the sampler's order, cut by `batch_size`."""
    drop_last: bool = False
    """Leave out the last step of an epoch where it has fewer samples than `batch_size`."""
    collate_fn: str | None = None
    """What makes a training batch of prepared samples: a registered name, or module:function. Empty: the backbone's own way, as in
    every evaluation."""
    timeout: float | None = None
    """Seconds that a process may take to read a batch; 0: as long as it likes. Empty: 300."""
    worker_init_fn: str | None = None
    """What each process that reads runs first, with its number: a registered name, or module:function. Empty: nothing."""
    prefetch_factor: int | None = None
    """Batches that each process reads ahead. Empty: 2."""
    persistent_workers: bool | None = None
    """Keep the processes that read the validation samples from one evaluation to the next; those of training stay for all epochs.
    Empty: yes."""
    multiprocessing_context: Literal["fork", "spawn", "forkserver"] | None = None
    """How processes that read are started. Empty: by fork on Linux, elsewhere as the system does."""
    in_order: bool = True
    """Evaluate batches in the order of the samples, and not whichever is read first; training keeps its order always, since a resumed
    run goes on from there."""
    pin_memory: bool | None = None
    """Read into memory from which a GPU copies faster. Empty: with a GPU, yes."""

    def of_workers(self) -> list[str]:
        """The options that were given and mean something only where other processes read."""
        given = ("timeout", "worker_init_fn", "prefetch_factor", "persistent_workers", "multiprocessing_context")
        return [name for name in given if getattr(self, name) not in (None, False)] + ["in_order"] * (not self.in_order)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Training"""

    epochs: float = 10
    """Passes over the training samples; fractions are allowed."""
    batch_size: int = 32
    """Samples in one optimiser step, over all processes and accumulated micro-batches together; two or more in each micro-batch where
    batch norm is live."""
    accumulate: int = 1
    """Micro-batches that a process splits its share of a step into, to save memory; the result is the same, but for live batch norm, whose
    statistics are those of a micro-batch, and dropout and drop-path, whose masks are drawn for each."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with Nesterov momentum."""
    lr: float = 1e-3
    """Peak learning rate of the head."""
    backbone_lr_scale: float = 1.0
    """Learning rate of everything else that trains, as a fraction of `lr`."""
    stage_decay: float = 1.0
    """Factor on the learning rate of each stage of the backbone per stage between it and the output; 1 for none, above 0."""
    momentum: float = 0.9
    """Momentum of SGD; AdamW uses 0.9 and 0.999."""
    weight_decay: float = 0.0
    """Decoupled weight decay for AdamW, L2 for SGD; never on norms, biases and other one-dimensional tensors."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the learning rate after the warm-up."""
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises linearly; 0 to 1."""
    clip: float | None = None
    """Largest norm of the gradient. Empty: no clipping."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes; 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """Selection and checkpoints"""

    metric: str | None = None
    """What `best` means (`zoo list metrics`), or evaluate:DIR for a local module of the evaluate library. Empty: the task's own
    (accuracy; mean_average_precision of several labels; rmse of values)."""
    refit: Literal["auto", "train", "train+val"] = "auto"
    """What a solved head is fitted to in the end: the training samples, or these and the validation samples, after it was chosen by
    cross-validation on both; auto: both where zoo set the validation samples aside, else the training samples."""
    eval_every: float = 1.0
    """Epochs between evaluations; the last step is always evaluated."""
    patience: int | None = None
    """Evaluations without a better one after which training stops. Empty: never."""
    min_delta: float = 0.0
    """Improvement over the best that resets the patience."""
    checkpoint_every: int | None = None
    """Steps between checkpoints. Empty: at each evaluation."""
    keep: int = 2
    """Checkpoints kept to resume from; the best model is kept apart."""
    max_minutes: float | None = None
    """Training stops cleanly after so long, evaluates and publishes what it has. Empty: no limit."""


@dataclass(frozen=True, kw_only=True)
class MachineConfig:
    """Machine"""

    precision: Literal["auto", "no", "fp16", "bf16"] = "auto"
    """Arithmetic of the forward and backward passes; auto: bf16 where the hardware has it, else fp32 (`no`)."""
    feature_precision: Literal["auto", "no", "fp16", "bf16"] = "auto"
    """Arithmetic of features that are computed once; auto: fp32 (`no`), as in every evaluation, unless `precision` names another.
    In bf16 they take half the time and cost up to half a point of accuracy (docs/decisions/0006)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto: a GPU if there is one."""
    compile: bool = False
    """Compile the training step by torch.compile: it takes a minute at the start, and pays on a GPU or in long runs."""
    engine: Literal["auto", "torch", "compile", "onnxruntime", "openvino"] = "auto"
    """What runs the inert part of a network (the last two come with `pip install 'zoo-finetune[cpu]'`); auto: the one that has computed
    these features before, else the fastest as timed once on this machine, with its preparation, that agrees with torch."""
    feature_batch_size: int | None = None
    """Samples in a forward pass where features are computed once. Empty: 32 of texts and recordings; of images 16 on a CPU, and on a GPU
    64 or as many as it has room for."""
    cache: str | None = None
    """Folder where features and the like are kept for other runs, or `off`. Empty: $ZOO_CACHE, else zoo/ in your cache folder."""
    cache_gb: float = 50.0
    """Size in GB at which the cache forgets what was unused for the longest."""
    processes: int = 1
    """Training processes on this machine, one a GPU. They share each step's batch; see `accumulate` for what that changes."""
    seed: int = 0
    """Source of every random choice: the split, the order, the augmentation, the head's initial weights."""


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """Output"""

    out: str | None = None
    """Folder of the run; it must not exist. Empty: a new one under runs/."""
    tensorboard: bool = True
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
        grammar.parse(self.model.strategy)
        flat = self.flat()
        for name, (low, high) in _RANGES.items():
            value = flat[name]
            if isinstance(value, (int, float)) and not low <= value <= high:
                raise ConfigError(f"{name} is {shown(value)}; it lies between {low} and {high}")
        if self.model.keep_head and self.model.init_from is None:
            raise ConfigError("keep_head keeps the head of the model that --init-from names; give that too")
        if self.model.keep_head and self.model.head_start == "solved":
            raise ConfigError("keep_head and head_start solved both say where the head begins; leave one of them out")
        if self.model.strategy == "lp-ft" and self.model.head_start == "random":
            raise ConfigError("strategy lp-ft begins at a solved head, and head_start is random: use full, or leave it out")
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
        idle = loader.of_workers()
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


_RANGES: dict[str, tuple[float, float]] = {
    "image_size": (8, 4096), "max_length": (4, 1 << 20), "max_seconds": (0.01, 1e5), "drop_path": (0, 0.99),
    "lora_alpha": (1e-6, 1e6), "lora_dropout": (0, 0.99),
    "val_fraction": (0, 0.9), "test_fraction": (0, 0.9), "max_unreadable": (0, 1), "bit_depth": (1, 16), "num_workers": (0, 256),
    "timeout": (0, 1e6), "prefetch_factor": (1, 1 << 16), "views": (1, 1 << 16), "cache_gb": (1e-6, 1e9),
    "epochs": (1e-3, 1e6), "batch_size": (1, 1 << 20), "accumulate": (1, 1 << 16), "lr": (1e-12, 100),
    "backbone_lr_scale": (1e-9, 1e3), "stage_decay": (1e-3, 1),
    "momentum": (0, 0.9999), "weight_decay": (0, 10), "warmup": (0, 1), "clip": (1e-9, 1e9),
    "label_smoothing": (0, 0.99), "eval_every": (1e-3, 1e6), "patience": (1, 1 << 20), "min_delta": (0, 1e9),
    "checkpoint_every": (1, 1 << 30), "keep": (1, 1 << 20), "max_minutes": (1e-3, 1e6), "processes": (1, 1024),
    "seed": (0, 2**32 - 1), "feature_batch_size": (1, 1 << 16),
}  # fmt: skip


READING = ("text", "image", "audio", "label", "label_delimiter", "split", "max_unreadable")
"""The options that say how labelled data are read, for what trains nothing."""


@dataclass(frozen=True)
class Option:
    """One option as help texts and checks need it."""

    name: str
    group: str
    title: str
    type: Any
    default: Scalar
    help: str


@cache
def options() -> dict[str, Option]:
    """Every option by its leaf name, in the order of definition."""
    found: dict[str, Option] = {}
    for part in fields(FinetuneConfig):
        group: type = typing.cast(type, part.default_factory)
        hints = typing.get_type_hints(group)
        texts = {item.arg_name: item.description or "" for item in parse_from_object(group).params}
        for leaf in fields(group):
            if leaf.name in found:
                raise TypeError(f"option {leaf.name} is defined twice")
            title = (group.__doc__ or "").strip().splitlines()[0]
            default = typing.cast(Scalar, leaf.default)
            found[leaf.name] = Option(leaf.name, part.name, title, hints[leaf.name], default, texts[leaf.name])
    return found


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
                checked[name] = _coerce(value, known[name])
            except ConfigError as error:
                mistakes.append(str(error))
    if mistakes:
        raise ConfigError((f"{origin}: " if origin else "") + "; ".join(mistakes))
    return checked


def _coerce(value: Any, option: Option) -> Scalar:
    """`value` as the option's type: exact, but for whole numbers where a float is wanted, and for texts that are choices."""
    if option.name == "strategy" and isinstance(value, str):
        return str(grammar.parse(value))  # one spelling: `backbone` becomes `linear-probe`
    union = typing.get_origin(option.type) in (typing.Union, types.UnionType)
    arms = typing.get_args(option.type) if union else (option.type,)
    for arm in arms:
        if arm is type(None) and value is None:
            return None
        if typing.get_origin(arm) is Literal and isinstance(value, str) and value in typing.get_args(arm):
            return value
        if arm is float and isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value):
            return float(value) if isinstance(value, float) else value
        if arm is str and isinstance(value, str) and "\0" in value:
            raise ConfigError(f"{option.name} is {shown(value)}; a text has no NUL character")
        if arm is str and value == "":  # a variable of the shell that is not set, as a rule
            raise ConfigError(f"{option.name} is empty; give a value, or leave it out")
        if arm in (int, str, bool) and type(value) is arm:
            return typing.cast(Scalar, value)
    wanted = " or ".join(_spell(arm) for arm in arms)
    choices = [choice for arm in arms if typing.get_origin(arm) is Literal for choice in typing.get_args(arm)]
    offer = nearest(value, choices, 1) if isinstance(value, str) else []
    raise ConfigError(f"{option.name} is {shown(value)}; expected {wanted}" + (f"; did you mean {offer[0]!r}?" if offer else ""))


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _spell(arm: Any) -> str:
    if typing.get_origin(arm) is Literal:
        return " | ".join(typing.get_args(arm))
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "nothing"}[arm]


@dataclass(frozen=True)
class Resolved:
    """A complete config, and where each of its values came from."""

    config: FinetuneConfig
    origins: dict[str, str]
    """By leaf name: `flag`, `recipe NAME`, `family NAME`, `default`, or what settled the value later (`device`, `backbone`)."""

    def settle(self, origin: str, **values: Scalar) -> Resolved:
        """A copy in which these values are decided by `origin`."""
        return Resolved(self.config.replace(**values), self.origins | dict.fromkeys(values, origin))


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
