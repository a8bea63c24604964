"""The Python API: what the command line calls, and what `import zoo` offers. Signatures and docstrings; the work is done below.

Imports are inside the functions, so that listing a name costs no torch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from zoo import recipes, registry, runs, strategy
from zoo.adaptation import saved_config
from zoo.errors import ConfigError, UnknownName
from zoo.folders import named
from zoo.types import Kind, Task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, Unpack

    from torch import nn

    from zoo import keywords
    from zoo.cache import Entry
    from zoo.evaluation.metrics import Metric
    from zoo.evaluation.report import Report
    from zoo.inference import Predictor
    from zoo.jobs.bench import Bench
    from zoo.jobs.doctor import Finding
    from zoo.jobs.dry_run import DryRun
    from zoo.jobs.inspect import DataReport
    from zoo.jobs.prediction_file import Written
    from zoo.jobs.show import Shown
    from zoo.registry import HeadFactory
    from zoo.runs import Run
    from zoo.types import Predictions

Row = dict[str, Any]


@overload
def finetune(
    backbone: str | None = None,
    *,
    data: Any = None,
    keys: Sequence[str] | None = None,
    head: str | HeadFactory | nn.Module | None = None,
    metric: str | Metric | Any = None,
    label_names: Sequence[str] | None = None,
    recipe: str | None = None,
    config: str | os.PathLike[str] | None = None,
    dry_run: Literal[True],
    **options: Unpack[keywords.FinetuneOptions],
) -> DryRun: ...


@overload
def finetune(
    backbone: str | None = None,
    *,
    data: Any = None,
    keys: Sequence[str] | None = None,
    head: str | HeadFactory | nn.Module | None = None,
    metric: str | Metric | Any = None,
    label_names: Sequence[str] | None = None,
    recipe: str | None = None,
    config: str | os.PathLike[str] | None = None,
    dry_run: Literal[False] = False,
    **options: Unpack[keywords.FinetuneOptions],
) -> Run: ...


def finetune(
    backbone: str | None = None,
    *,
    data: Any = None,
    keys: Sequence[str] | None = None,
    head: str | HeadFactory | nn.Module | None = None,
    metric: str | Metric | Any = None,
    label_names: Sequence[str] | None = None,
    recipe: str | None = None,
    config: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    **options: Unpack[keywords.FinetuneOptions],
) -> Run | DryRun:
    """Fine-tune a backbone, and leave the best model with its card in the `best/` of the run that is returned.

    Args:
        backbone: a curated name (`list_backbones()`), or any of timm's as `timm/NAME`.
        data: a folder of class folders, a table, `hf:NAME`, `builtin:digits`; or data in memory, one or (train, val) or (train, val,
            test) or a dictionary of them by split (a `DatasetDict`), each a torch data set of (sample, class) or of dictionaries, a list
            of such, a pandas or polars data frame, a `datasets.Dataset`, a dictionary of columns, or a pair of arrays (samples, classes).
        keys: (sample, class): which keys or columns of data in memory are what; two of samples for pairs of texts. None: guessed.
        head: a registered name, a callable `(in_features, num_outputs)`, or a module.
        metric: what `best` means: a name, `evaluate:DIR`, a module of the evaluate library, or a function of
            (targets, predictions) with an attribute `higher_is_better`.
        label_names: names of the classes of data sets, in the order of their indices.
        recipe: a named recipe, or a path that ends in .yaml.
        config: the `config.yaml` of a run, to run the same again.
        dry_run: do everything up to the first step, keep nothing, and say what would happen.
        options: every other option by its name (`zoo finetune --help`): `strategy="lora:16"`, `epochs=5`, `out="my-run"`, ...

    Raises: ZooError, in one line.
    """
    from zoo import configure

    given: dict[str, Any] = {**options} if backbone is None else {"backbone": backbone, **options}
    if isinstance(data, (str, os.PathLike)):
        given["data"] = os.fspath(data)
    if head is not None:
        given["head"] = head if isinstance(head, str) else registry.name_head(head)
    if isinstance(metric, str):
        given["metric"] = metric
    resolved = configure.configure(given, recipe=recipe, config=None if config is None else os.fspath(config))
    from zoo.backbones import weights

    chosen = resolved.config.model
    if chosen.init_from is None:
        weights.require(registry.resolve(chosen.backbone), chosen.weights)
    from zoo.jobs import dry_run as dry_running
    from zoo.jobs import finetune as training
    from zoo.jobs import preparing

    data_sets = None if data is None or isinstance(data, (str, os.PathLike)) else data
    resolved, extras = preparing.extras(resolved, data_sets, metric, label_names, keys)
    return dry_running.dry_run(resolved, extras) if dry_run else training.finetune(resolved, extras)


def resume(
    run: str | os.PathLike[str] | Run,
    *,
    data: Any = None,
    keys: Sequence[str] | None = None,
    metric: Any = None,
    label_names: Sequence[str] | None = None,
) -> Run:
    """Go on with a run from its newest whole checkpoint, with the options it was started with; on a CPU, to the last bit.

    data, keys, metric, label_names: those of the run, if they were Python objects.

    Raises: CheckpointError if it is not a run, or its data or base weights are not those it began with.
    """
    found = run if isinstance(run, runs.Run) else runs.open_run(run)
    from zoo.jobs import resume as resuming

    return resuming.resume(found, data, metric, label_names, keys)


def load(
    path: str | os.PathLike[str], *, weights: str | None = None, head: HeadFactory | None = None, device: str = "auto"
) -> Predictor:
    """The model in the `best/` of a run or in a published folder: an `nn.Module` with `.predict`, in eval mode.

    weights: base weights (file or folder), for a folder that holds the trained tensors alone.
    head: factory of a custom head that this process has not registered.
    device: where it computes: `auto` (a GPU of CUDA if there is one, else the CPU), `cpu`, `cuda` or `mps`.

    Raises: CheckpointError, WeightsError; ConfigError for a device that is not there.
    """
    saved_config.read(named(path))  # before the imports that take seconds
    from zoo import inference

    return inference.load(path, weights=weights, head=head, device=device)


def evaluate(
    path: str | os.PathLike[str],
    data: str | os.PathLike[str] | Any = None,
    *,
    keys: Sequence[str] | None = None,
    metric: Any = None,
    weights: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
    **options: Unpack[keywords.EvaluateOptions],
) -> Report:
    """Measure a fine-tuned model.

    Args:
        path: the `best/` of a run, or a published folder.
        data: a folder of class folders (or with split folders: its test images, else its validation images), `builtin:digits`,
            a table; data in memory, as in `finetune`; None: what the run itself set aside for its test.
        keys: of data in memory, as in `finetune`; None: those that training read, if they are there, else guessed.
        metric: one or a list of metrics to report, as in `finetune`; None: all of zoo's.
        weights: base weights, for a folder that holds the trained tensors alone.
        device: where it computes, as in `load`.
        options: those of `finetune` about tables, such as `text="body"`, `label="stars"`; what is not given is as in training, where
            the table has such columns, else guessed.

    Raises: CheckpointError; ConfigError; DataError, also if the data have a class that the model does not know.
    """
    saved_config.read(named(path))  # before the imports that take seconds
    from zoo.jobs import evaluate as evaluating

    return evaluating.evaluate(
        Path(path), data, metric=metric, weights=weights, batch_size=batch_size, device=device, keys=keys, options=options
    )


def predict(
    path: str | os.PathLike[str],
    inputs: Any,
    *,
    column: str | None = None,
    threshold: float | None = None,
    weights: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
) -> Predictions:
    """Predictions of a fine-tuned model, as many as inputs, in their order.

    What cannot be read (a damaged file, None, NaN, an empty text) says why in its place: its `label` is None, and `error` is the reason.
    So `frame["label"] = [one.label for one in zoo.predict(best, frame)]` fits, whatever the frame holds.

    Args:
        path: the `best/` of a run, or a published folder.
        inputs: one or many paths, images, texts, pairs of texts (a tuple each) or tensors, in any iterable or array; or rows: a data
            frame of pandas or polars, a pyarrow table, a dictionary of columns, a list of dictionaries, a `datasets.Dataset`. A path
            of a folder stands for the files in it, one of a table for the inputs in its rows, `-` for the lines of stdin.
        column: of tables and data frames, the one with the inputs; two with a comma for pairs of texts; None: what training read, if it
            is there, else guessed, which is said.
        threshold: probability from which a label holds, where several may; None: each label's own, as chosen in training.
        weights: base weights (file or folder), for a folder that holds the trained tensors alone.
        device: where it computes, as in `load`.

    Raises: CheckpointError; DataError if a path does not exist, or the inputs are not of the kind that the model takes (pairs of texts
    and single ones are two kinds); ConfigError or UnknownName for the column.
    """
    saved_config.read(named(path))  # before the imports that take seconds
    from zoo import inference

    return inference.predict_files(
        path, inputs, column=column, threshold=threshold, weights=weights, batch_size=batch_size, device=device
    )


def predict_to(
    out: str | os.PathLike[str],
    path: str | os.PathLike[str],
    inputs: Any,
    *,
    top: int | None = 1,
    threshold: float | None = None,
    column: str | None = None,
    engine: str = "auto",
    weights: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
) -> Written:
    """As `predict`, into a file, for more inputs than memory holds; a call that was killed goes on where it was, if called again.

    Args:
        out: .csv, .jsonl or .parquet. It has a row for each input, in their order; where one cannot be read, `error` says why, and
            `OUT.unreadable.csv` lists these reasons.
        top: classes to give for each, most probable first; None: the probability of every class.
        threshold: probability from which a label holds, where several may; None: each label's own, as chosen in training.
        engine: what runs the network: `auto` is the one that is expected to be done first, `torch` gives `predict`'s very bits.

    Raises: OutputError if `out` holds predictions already; ConfigError; and as `predict`.
    """
    target = named(out)
    saved_config.read(named(path))  # before the imports that take seconds
    from zoo.jobs import predict as predicting

    return predicting.predict_to(
        target,
        Path(path),
        inputs,
        top=top,
        threshold=threshold,
        column=column,
        engine=engine,
        weights=weights,
        device=device,
        batch_size=batch_size,
    )


def publish(path: str | os.PathLike[str], to: str | os.PathLike[str], *, force: bool = False, private: bool = True) -> str:
    """Copy a `best/` into a folder, or upload it to the Hub (`owner/name`); gives the folder or the address.

    A card that differs is not replaced without `force`. Raises: OutputError, CheckpointError.
    """
    from zoo.publishing import uploading

    return uploading.publish(named(path), os.fspath(to), force=force, private=private)


def show(name: str, strategy: str | None = None) -> Shown:
    """Describe a backbone, and what a strategy would train. Needs no weights and no network. Raises: UnknownName, ConfigError."""
    registry.resolve(name)
    from zoo.jobs import show as showing

    return showing.show(name, strategy)


def inspect(
    data: str | os.PathLike[str] | Sequence[Any],
    backbone: str | None = None,
    *,
    label_names: Sequence[str] | None = None,
    page: str | os.PathLike[str] | None = None,
    **options: Unpack[keywords.InspectOptions],
) -> DataReport:
    """Describe some data: counts, sizes, what cannot be read, duplicates, leaks, contradicting labels; nothing is changed or left out.

    Args:
        data: as in `finetune`.
        backbone: whose features likely label errors are found by; None: they are not looked for.
        label_names: as in `finetune`.
        page: HTML file to write, in the place of an earlier one; None: none. (`.html()` of the report gives it, too.)
        options: those of `finetune` about data, the backbone and the machine: `text="body"`, `label="class"`, `weights=...`, ...

    Raises: ZooError, in one line, where there is nothing to describe; OutputError if `page` is a file of another kind.
    """
    from zoo import configure

    given: dict[str, Any] = {**options} if backbone is None else {"backbone": backbone, **options}
    data_sets = None
    if isinstance(data, (str, os.PathLike)):
        given["data"] = os.fspath(data)
    else:
        data_sets = data
    resolved = configure.configure(given)
    if backbone is not None:
        from zoo.backbones import weights

        weights.require(registry.resolve(backbone), resolved.config.model.weights)
    from zoo.jobs import inspect as inspecting
    from zoo.jobs import preparing

    resolved, extras = preparing.extras(resolved, data_sets, None, label_names)
    out = None if page is None else named(page)
    return inspecting.inspect(resolved, extras.splits, judged=backbone is not None, out=out)


def bench(backbone: str | None = None, **options: Unpack[keywords.BenchOptions]) -> Bench:
    """Measure each part of the work on this machine: decoding, resizing, the forward pass by each engine, backward, the probe.

    options: those of `finetune` that change what is measured: `data`, `image_size`, `augment`, `batch_size`, ...

    Raises: ZooError, in one line.
    """
    from zoo import configure

    given = options if backbone is None else {"backbone": backbone, **options}
    resolved = configure.configure(given)
    from zoo.backbones import weights

    chosen = resolved.config.model
    weights.require(registry.resolve(chosen.backbone), chosen.weights)
    from zoo.jobs import bench as benching

    return benching.bench(resolved)


def list_backbones(pattern: str = "", kind: str | None = None) -> list[Row]:
    """The backbones whose name contains `pattern`, or matches it if it has wildcards.

    `weights` says where the pretrained weights are on this machine, and is empty if they are nowhere; no network is used.

    kind: those that take one kind of sample alone: `image`, `text` or `audio`. Raises: UnknownName for another.
    """
    from zoo.backbones import weights

    if kind is not None and kind not in set(Kind):
        raise UnknownName("kind", kind, [one.value for one in Kind], f"(they are: {', '.join(Kind)})")
    return [
        {
            "name": spec.name,
            "family": spec.family.name if spec.family else None,
            "kind": spec.kind.value,
            "params_m": spec.params_m,
            "feature_dim": spec.feature_dim,
            "input_size": spec.input_size,
            "max_length": spec.max_length,
            "licence": spec.licence,
            "weights": weights.local(spec) or "",
        }
        for spec in registry.backbones(pattern)
        if kind in (None, spec.kind)
    ]


def list_heads(pattern: str = "") -> list[Row]:
    """The names of the heads, filtered as in `list_backbones`."""
    return _matching([{"name": name} for name in registry.heads()], pattern)


def list_strategies(pattern: str = "") -> list[Row]:
    """How each strategy is written and when to use it, filtered as in `list_backbones`."""
    return _matching([{"name": form.written(), "use": form.use} for form in strategy.forms().values()], pattern)


def list_recipes(pattern: str = "") -> list[Row]:
    """The named recipes, and the training loop that can be copied, filtered as in `list_backbones`."""
    return _matching(recipes.rows(), pattern)


def list_metrics(pattern: str = "") -> list[Row]:
    """The metrics, the tasks they are for, which way is better and what they are, filtered as in `list_backbones`."""
    from zoo.evaluation import metrics

    rows: dict[str, Row] = {}
    for task in Task:
        for name, one in metrics.known(task).items():
            if name in rows:
                rows[name]["tasks"] += f", {task}"
                rows[name]["what"] += f"; {task}: {one.title.partition(': ')[2]}"
            else:
                better = "higher" if one.higher_is_better else "lower"
                rows[name] = {"name": name, "tasks": task.value, "better": better, "what": one.title}
    return _matching(list(rows.values()), pattern)


def list_runs(folder: str | os.PathLike[str] = "runs") -> list[Run]:
    """Every run directly under `folder`, oldest first. Raises: ConfigError if there is no such folder."""
    return runs.list_runs(folder)


def recipe_text(name: str) -> str:
    """The text of a recipe, or of the loop. Raises: UnknownName, ConfigError."""
    return recipes.text(name)


def copy_recipe(name: str, to: str | os.PathLike[str] = ".", *, force: bool = False) -> Path:
    """Copy a recipe, or the loop, to a file or into a folder, and give its path.

    Raises: UnknownName; OutputError if the file exists (unless `force`).
    """
    return recipes.copy(name, named(to), force=force)


def validate_recipe(name: str) -> Row:
    """The values of a recipe whose keys, types, ranges and names are all good. Raises: ConfigError, UnknownName."""
    from zoo import configure

    config = configure.configure({}, recipe=name).config
    recipe = registry.recipe(name)
    if "metric" in recipe.values:
        from zoo.evaluation import metrics

        metric, task = config.selection.metric, config.data.task
        asked = list(Task) if task == "auto" else [Task(task)]
        fits = next((one for one in asked if metric in metrics.known(one)), asked[0])
        metrics.resolve(metric, task=fits)
    return dict(recipe.values)


def examine(path: str | os.PathLike[str] | None = None) -> list[Finding]:
    """What of a run, its `best/`, a published folder or a cache is whole, and what to do about what is not; nothing is changed.

    path: None is the cache. Raises: ConfigError for anything else, or without a cache.
    """
    from zoo.jobs import doctor

    return doctor.examine(_cache_folder(None) if path is None else named(path))


def environment() -> dict[str, Any]:
    """Versions, processor, engines and caches of this machine, for a bug report."""
    from zoo.jobs import env as machine

    return machine.environment()


def cache_entries(cache: str | os.PathLike[str] | None = None) -> tuple[Path, list[Entry]]:
    """The folder of the cache, and what is in it, what was used last first. `cache`: as the option of `finetune`.

    Raises: ConfigError if it is `off`.
    """
    from zoo.cache import entries

    place = _cache_folder(cache)
    return place, entries(place)


def verify_cache(cache: str | os.PathLike[str] | None = None) -> list[Path]:
    """Remove the files of the cache whose bytes are not those they were written with, and list them."""
    from zoo.cache import verify

    return verify(_cache_folder(cache))


def clear_cache(
    kind: str | None = None, *, older_than_days: float = 0.0, cache: str | os.PathLike[str] | None = None
) -> list[Entry]:
    """Remove what is in the cache: of a kind, or not used for so many days; lists what was removed.

    Raises: ConfigError if there is nothing of that kind.
    """
    from zoo.cache import clear

    return clear(_cache_folder(cache), kind, older_than_days)


def _cache_folder(cache: str | os.PathLike[str] | None) -> Path:
    from zoo.cache import place

    folder = place(None if cache is None else os.fspath(cache))
    if folder is None:
        raise ConfigError("cache is off; name its folder")
    return folder


def _matching(rows: list[Row], pattern: str) -> list[Row]:
    return [row for row in rows if registry.matches(row["name"], pattern)]
