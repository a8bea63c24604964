"""What a card says of a model and its numbers, in the words of its task and of the kind of its samples, as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from zoo.evaluation.metrics.metric import RESAMPLES
from zoo.evaluation.outputs import THRESHOLD
from zoo.evaluation.report import Report, Value
from zoo.types import Kind, Task

_SPECIAL = re.compile(r"[|`*\[\]~$\\]|://|(?<![^\W_])_|_(?![^\W_])|^(?:[-+#](?=\s|$)|=+$|-{2,}|\d+[.)](?=\s|$))")
_PATH = re.compile(r"(?:(?<=[\s:])|^)(?:~|\.{0,2}/).*$", re.S)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
FOLDED = 30
"""Tables with more rows than this open on a click."""
ENOUGH = 10
"""Samples of a class or label below which its own numbers say little. Our own choice."""
_METRICS = {"accuracy": "Accuracy", "mean_average_precision": "Mean average precision", "rmse": "Root mean squared error"}
_NETWORKS = {Kind.IMAGE: "An image", Kind.TEXT: "A text", Kind.AUDIO: "An audio"}
_KEPT = {
    "head": "the first {most} of {one}",
    "tail": "the last {most} of {one}",
    "head+tail": "{most} of {one}, of its beginning and its end",
    "window": "{one} in windows of {most}, whose features are averaged",
}
ROWS = {Task.CLASSIFICATION: "class", Task.MULTILABEL: "label", Task.REGRESSION: "value"}
"""What each output of the model stands for."""


def escape(text: str) -> str:
    """`text` as one line that Markdown and HTML show as it is; control and direction characters become a space.

    >>> escape("a|b <i>")
    'a&#124;b &lt;i&gt;'
    """
    line = _CONTROL.sub(" ", text).strip()
    return _SPECIAL.sub(lambda match: "".join(f"&#{ord(sign)};" for sign in match[0]), html.escape(line, quote=False))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: int = 0) -> str:
    """A Markdown table; the last `right` columns are aligned to the right. Cells are Markdown already."""
    marks = ["---"] * (len(header) - right) + ["---:"] * right
    lines = [f"| {' | '.join(cells)} |" for cells in (header, marks, *rows)]
    return "\n".join(lines)


def without_folders(text: str) -> str:
    """`text` whose path, if it ends in one, is cut to its last part: folders belong to the author's machine.

    >>> without_folders("file /Users/ann/my weights/a.safetensors"), without_folders("Hub timm/resnet50")
    ('file a.safetensors', 'Hub timm/resnet50')
    """
    path = _PATH.search(text)
    return text[: path.start()] + PurePath(path[0]).name if path else text


def folded(title: str, body: str, *, fold: bool) -> str:
    """The body; where `fold` is set, behind a title that opens it."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>" if fold else body


def kind_of(config: Mapping[str, Any]) -> Kind:
    """What the model of a config takes. `config` is the `zoo` part of config.json; one without a kind is of images."""
    return Kind(config["preprocess"].get("kind", Kind.IMAGE))


def base_id(base: Mapping[str, Any]) -> str | None:
    """What the Hub calls the base; None where its weights are not known to be there: random ones, those of a user's own file or run."""
    origin, _, place = str(base["source"]).partition(" ")
    if origin in ("cache", "Hub"):
        return place
    named = str(base["id"]) if base.get("loader") == "transformers" else f"timm/{base['id']}"
    return named if origin == "package" else None


def summary(config: Mapping[str, Any], report: Report, held_out: str = "") -> str:
    """What it is, what it reaches, and what can be had without looking. `held_out`: how that was measured, if not on other samples."""
    base, against = config["base"], report.baseline
    base_name = base_id(base)
    origin = f"`{base_name}`" if base_name else f"a `{base['name']}` with weights of the user's own"
    if base["seed"] is not None:
        origin = "random weights (a baseline: nothing was pretrained)"
    measured_on = held_out or f"on {report.n} {kind_of(config).nouns}"
    return (
        f"{_NETWORKS[kind_of(config)]} {_purpose(report)}, fine-tuned with zoo from {origin} by the strategy "
        f"`{config['strategy']}`. {_METRICS[against.metric]} {report.values[against.metric]} {measured_on}; "
        f"{against.answer} gives {against.value:.4f}."
    )


def _purpose(report: Report) -> str:
    count = len(report.labels)
    if report.task is Task.CLASSIFICATION:
        return f"classifier for {count} classes"
    if report.task is Task.MULTILABEL:
        return f"classifier for {count} labels, of which any number may hold at once"
    return f"regressor of {escape(report.labels.names[0])}" if count == 1 else f"regressor of {count} values"


def intended_use(config: Mapping[str, Any], report: Report) -> str:
    """What it is for, what it takes in, and what it predicts for what it is not for."""
    kind, names = kind_of(config), [escape(name) for name in report.labels.names]
    nouns, noun = kind.nouns, kind.nouns.removesuffix("s")
    listed = ", ".join(names[:FOLDED]) + (f" and {len(names) - FOLDED} more, listed below" if len(names) > FOLDED else "")
    purpose, predicts, otherwise = {
        Task.CLASSIFICATION: (
            f"To tell apart {nouns} of these {len(names)} classes: {listed}.",
            "gives a probability for each class",
            f"It always predicts one of its classes, also for {kind.one} of something else; the probabilities say how sure it is "
            "only as far as the calibration below goes.",
        ),
        Task.MULTILABEL: (
            f"To say which of these {len(names)} labels hold for {kind.one}: {listed}.",
            "gives each label a probability of its own",
            "A label is said to hold from the threshold that the table of labels names. It may say that none holds.",
        ),
        Task.REGRESSION: (
            f"To predict from {kind.one}: {listed}.",
            "gives numbers in the unit of the training data",
            f"It predicts a number for any {noun}, also one unlike those it was trained on, and does not say how sure it is.",
        ),
    }[report.task]
    takes = _input(config["preprocess"], kind)
    return f"{purpose} {takes}, and {predicts}. It is meant for {nouns} like those it was trained on.\n\n{otherwise}"


def _input(preprocess: Mapping[str, Any], kind: Kind) -> str:
    if kind is Kind.IMAGE:
        depth = preprocess.get("bit_depth")
        scaled = f" (of 16-bit images, values from 0 to {(1 << depth) - 1:,} as black to white)" if depth else ""
        return f"It sees an image as {preprocess['size']} x {preprocess['size']} pixels in RGB{scaled}"
    kept, pooling = _KEPT[preprocess["truncation"]], f"makes one vector of its features by `{preprocess['pooling']}`"
    if kind is Kind.AUDIO:
        most = f"{preprocess['max_seconds']:g} seconds"
        return f"It hears {kept.format(most=most, one=kind.one)}, as one channel at {preprocess['rate']:,} Hz, {pooling}"
    prefix = f", behind `{preprocess['prefix'].strip()}`" if preprocess.get("prefix") else ""
    most = f"{preprocess['max_length']} tokens"
    return f"It reads {kept.format(most=most, one=kind.one)}{prefix}, {pooling}"


def metrics_table(report: Report) -> str:
    """Every metric with its interval."""
    rows = []
    for name, value in report.values.items():
        arrow = "higher is better" if value.higher_is_better else "lower is better"
        number = f"{value.value:.4f}" if value.value is not None else f"undefined: {escape(value.why or '')}"
        rows.append([escape(without_folders(name)), number, _interval(value), arrow])
    return table(["metric", "value", "95 % interval", ""], rows)


def _interval(value: Value) -> str:
    if value.value is None:
        return ""
    if value.low is None:
        return f"none: {escape(value.why)}" if value.why else "none"
    notes = [f"{value.resamples} resamples"] if value.resamples != RESAMPLES else []
    notes += [f"{value.dropped} of them undefined and left out"] if value.dropped else []
    return f"[{value.low:.4f}, {value.high:.4f}]" + (f" ({', '.join(notes)})" if notes else "")


def rows_title(task: Task) -> str:
    """The heading of `rows_table`."""
    return {Task.CLASSIFICATION: "Classes", Task.MULTILABEL: "Labels", Task.REGRESSION: "Values"}[task]


def rows_table(report: Report, kind: Kind) -> str:
    """A row for each class, label or value."""
    header: tuple[str, ...]
    if report.task is Task.REGRESSION:
        header = ("mean", "deviation", "bias", "MAE", "RMSE", "R²", "residuals: 5 %", "median", "95 %")
        numbers = [
            [*map(_number, (row.mean, row.deviation, row.bias, row.mae, row.rmse, row.r2, *row.residuals[1:4]))]
            for row in report.per_value
        ]
    elif report.task is Task.MULTILABEL:
        header = ("precision", "recall", "F1", "threshold", kind.nouns, "predicted")
        numbers = [
            [*map(_share, (row.precision, row.recall, row.f1, row.threshold)), str(row.support), str(row.predicted)]
            for row in report.per_label
        ]
    else:
        header = ("precision", "recall", "F1", kind.nouns)
        numbers = [[*map(_share, (row.precision, row.recall, row.f1)), str(row.support)] for row in report.per_class]
    rows = [[str(index), escape(report.labels.names[index]), *cells] for index, cells in enumerate(numbers)]
    body = table(["", ROWS[report.task], *header], rows, right=len(header))
    return folded(f"All {len(rows)} {rows_title(report.task).lower()}", body, fold=len(rows) > FOLDED)


def thresholds_words(config: Mapping[str, Any], report: Report, held_out: str = "") -> str:
    """Of multilabel, where the thresholds come from; else empty. `held_out`: as of `CardFacts`."""
    if report.task is not Task.MULTILABEL:
        return ""
    nouns = kind_of(config).nouns
    if config.get("thresholds") is None:
        return f"Every label holds from a probability of {THRESHOLD}."
    chosen = held_out or f"on the validation {nouns}"
    return (
        f"Each label holds from the threshold of the highest F1 {chosen}; one with fewer than {ENOUGH} {nouns} there "
        f"keeps {THRESHOLD}."
    )


def confused_table(report: Report, kind: Kind) -> str:
    """Of classification, the classes that are taken for others most often; of other tasks nothing."""
    if report.task is not Task.CLASSIFICATION:
        return ""
    pairs = report.most_confused(10)
    if not pairs:
        return f"Nothing: every {kind.nouns.removesuffix('s')} was classified rightly."
    rows = [[escape(one.true), escape(one.predicted), str(one.count), f"{one.share:.1%}"] for one in pairs]
    return table(["true class", "taken for", kind.nouns, "of the true class"], rows, right=2)


def limits(report: Report, kind: Kind, *, optimistic: str = "") -> list[str]:
    """A line for each thing that the numbers do not say. `optimistic`: why they are too good, where they are."""
    found = [escape(warning) for warning in report.warnings] + ([optimistic] if optimistic else [])
    supports = {row.name: row.support for row in report.per_class} | {row.name: row.support for row in report.per_label}
    low = [name for name, support in supports.items() if support < ENOUGH]
    if low:
        few = ", ".join(escape(name) for name in low[:10]) + (", ..." if len(low) > 10 else "")
        several = rows_title(report.task).lower()
        found.append(f"Fewer than {ENOUGH} {kind.nouns} were there to measure {len(low)} of the {several}: {few}.")
    others = {
        Kind.IMAGE: "other cameras, places, times or people",
        Kind.TEXT: "other languages, subjects, times or ways of writing",
        Kind.AUDIO: "other microphones, rooms, noises or voices",
    }[kind]
    return [*found, f"It knows what its training {kind.nouns} held: {others} were not measured."]


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
