"""The model card, README.md of a publishable folder: `model_cards/_template.md` filled with what was measured on that folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from zoo import content, folders
from zoo.errors import CheckpointError, OutputError
from zoo.evaluation.report import Report, Value
from zoo.evaluation.shipped import RESAMPLES
from zoo.publishing import figures, metadata
from zoo.publishing.markdown import escape, folded, table, without_folders

CARD = "README.md"
WEIGHTS = "model.safetensors"
TEMPLATE = "_template"
_FOLDED = 30
"""Tables with more rows than this open on a click."""
_SPLITS = {
    "test": "the test pictures, which were used neither to train nor to choose",
    "val": "the validation pictures: **validation, used for selection**, so the numbers are optimistic (there was no test split)",
}


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """Everything that a card says, as plain values."""

    report: Report
    """Measured on the model as it was loaded again from the folder."""
    config: Mapping[str, Any]
    """The `zoo` part of the folder's config.json."""
    options: Mapping[str, Any]
    """Every resolved option by its leaf name."""
    origins: Mapping[str, str]
    """Where each option's value came from."""
    data: Mapping[str, Any]
    """`name`, `sha256`, `licence` (or None), `counts` {split: {class: pictures}}, `notices` [sentences about unreadable files,
    identical pictures in two splits, and the like]."""
    trains: str
    """What trained, in one line: tensors, parameters, share."""
    environment: Mapping[str, str]
    """Versions, device, precision."""
    seconds: float
    """Wall time of the training."""
    split: str
    """What `report` was measured on: `test`, `val`, or the name of other data."""
    step: str = ""
    """Which step of how many the model is from, by which metric; empty if that is not known."""
    reload_difference: float | None = None
    """Largest difference of the logits between the model in memory and the one loaded again."""

    @property
    def data_name(self) -> str:
        """What the data are called, without the folders they lie in."""
        return without_folders(self.data["name"])


def write_card(folder: Path, facts: CardFacts) -> Path:
    """Write the figures and README.md into a folder that holds the model already, and give the card's path.

    The caller sees to it that the folder appears whole or not at all, and that the manifest is written afterwards.
    Raises: OutputError; CheckpointError if the folder has no weights.
    """
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{folder}: has no {WEIGHTS}, so there is nothing to describe")
    text = render(facts, folders.sha256(weights))
    metadata.validate(text, CARD)
    try:
        figures.write_figures(folder, facts.report)
        (folder / CARD).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder / CARD} cannot be written: {error.strerror or error}") from error
    return folder / CARD


def render(facts: CardFacts, weights_sha256: str) -> str:
    """The text of the card."""
    strategy, base = facts.config["strategy"], facts.config["base"]["name"]
    name = f"{base} {strategy} {facts.data_name}"
    head = metadata.build(facts.config, facts.report, facts.data_name, without_folders(facts.split), name)
    template = content.files("model_cards", ".md")[TEMPLATE].read_text(encoding="utf-8")
    card = ModelCard.from_template(head, template_str=template, **_words(facts, weights_sha256))
    return re.sub(r"\n{3,}", "\n\n", str(card)).rstrip() + "\n"


def _words(facts: CardFacts, weights_sha256: str) -> dict[str, Any]:
    """Every variable of the template."""
    config, report = facts.config, facts.report
    return {
        "title": escape(f"{config['base']['name']}, {config['strategy']}, on {facts.data_name}"),
        "summary": _summary(facts),
        "useless": not report.beats_majority,
        "intended_use": _intended_use(facts),
        "timm_loads": config["layout"] == "timm",
        "adapter_words": _adapter_words(config),
        "data_summary": _data_summary(facts.data),
        "data_table": _data_table(facts.data, report),
        "data_notices": [escape(notice) for notice in facts.data["notices"]],
        "training_table": _training_table(facts),
        "options_table": _options_table(facts),
        "split_words": _SPLITS.get(facts.split, escape(without_folders(facts.split))) + f" ({report.n} of them)",
        "resamples": RESAMPLES,
        "metrics_table": _metrics_table(report),
        "class_table": _class_table(report),
        "confused_table": _confused_table(report),
        "limits": _limits(facts),
        "environment_table": table(["", ""], [[escape(key), escape(str(value))] for key, value in facts.environment.items()]),
        "check_words": f"the {report.n} pictures of {escape(without_folders(facts.split))}",
        "digest_table": _digest_table(facts, weights_sha256),
    }


def _summary(facts: CardFacts) -> str:
    base, accuracy = facts.config["base"], facts.report.values["accuracy"]
    origin = "random weights (a baseline: nothing was pretrained)" if base["seed"] is not None else f"`timm/{base['id']}`"
    return (
        f"An image classifier for {len(facts.report.labels)} classes, fine-tuned with zoo from {origin} by the strategy "
        f"`{facts.config['strategy']}`. Accuracy {accuracy} on {facts.report.n} pictures; always answering the most frequent "
        f"class gives {facts.report.majority:.4f}."
    )


def _intended_use(facts: CardFacts) -> str:
    names = [escape(name) for name in facts.report.labels.names]
    size = facts.config["preprocess"]["size"]
    shown = ", ".join(names[:_FOLDED]) + (f" and {len(names) - _FOLDED} more, listed below" if len(names) > _FOLDED else "")
    return (
        f"To tell apart pictures of these {len(names)} classes: {shown}. It sees a picture as {size} x {size} pixels in RGB and "
        "gives a probability for each class. It is meant for pictures like those it was trained on."
    )


def _adapter_words(config: Mapping[str, Any]) -> str:
    if config["layout"] == "whole":
        return ", whole, under zoo's names for the tensors: load it with zoo."
    base = config["base"]
    return (
        f" alone; `zoo.load` adds the base weights ({escape(base['name'])}, sha256 of the tensors `{base['tensors_sha256']}`) "
        "and refuses others."
    )


def _data_summary(data: Mapping[str, Any]) -> str:
    licence = escape(data["licence"]) if data["licence"] else "not known; find out before you pass the model on"
    name = escape(without_folders(data["name"]))
    return f"{name}, sha256 of names, classes and pictures `{data['sha256']}`. Licence of the data: {licence}."


def _data_table(data: Mapping[str, Any], report: Report) -> str:
    splits = list(data["counts"])
    rows = [[escape(name), *(str(data["counts"][one].get(name, 0)) for one in splits)] for name in report.labels.names]
    rows.append(["**all**", *(f"**{sum(data['counts'][one].values())}**" for one in splits)])
    body = table(["class", *map(escape, splits)], rows, right=len(splits))
    return folded("Pictures of each class and split", body, fold=len(rows) > _FOLDED)


def _training_table(facts: CardFacts) -> str:
    config, base = facts.config, facts.config["base"]
    head = config["head"]
    rows = [
        ["strategy", f"`{config['strategy']}`" + (f", merged from `{config['merged_from']}`" if config["merged_from"] else "")],
        ["what trained", escape(facts.trains)],
        ["base", f"{escape(base['name'])} (`{base['id']}`)"],
        ["base weights from", escape(without_folders(base["source"]))],
        ["head", f"{escape(head['name'])}, {head['in_features']} to {head['num_outputs']}"],
        ["training took", _duration(facts.seconds)],
    ]
    if facts.step:
        rows.append(["this model", escape(facts.step)])
    return table(["", ""], rows)


def _options_table(facts: CardFacts) -> str:
    rows = [
        [name, escape(without_folders(_text(value))), escape(without_folders(facts.origins.get(name, "")))]
        for name, value in facts.options.items()
        if name not in ("out", "tensorboard")
    ]
    return folded("Every option, its value and where that came from", table(["option", "value", "from"], rows), fold=True)


def _metrics_table(report: Report) -> str:
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


def _class_table(report: Report) -> str:
    rows = [
        [str(index), escape(row.name), _share(row.precision), _share(row.recall), _share(row.f1), str(row.support)]
        for index, row in enumerate(report.per_class)
    ]
    body = table(["", "class", "precision", "recall", "F1", "pictures"], rows, right=4)
    return folded(f"All {len(rows)} classes", body, fold=len(rows) > _FOLDED)


def _confused_table(report: Report) -> str:
    pairs = report.most_confused(10)
    if not pairs:
        return "Nothing: every picture was classified rightly."
    rows = [[escape(one.true), escape(one.predicted), str(one.count), f"{one.share:.1%}"] for one in pairs]
    return table(["true class", "taken for", "pictures", "of the true class"], rows, right=2)


def _limits(facts: CardFacts) -> str:
    found = [f"- {escape(warning)}" for warning in facts.report.warnings]
    if facts.split == "val":
        found.append("- The numbers are of the pictures by which this model was chosen, so they are optimistic.")
    low = [row.name for row in facts.report.per_class if row.support < 10]
    if low:
        few = ", ".join(escape(name) for name in low[:10]) + (", ..." if len(low) > 10 else "")
        found.append(f"- Fewer than 10 pictures were there to measure {len(low)} of the classes: {few}.")
    if facts.config["base"]["licence"] == "unknown":
        found.append("- The licence of the base weights is not known; find out before you pass the model on.")
    found.append("- It knows what its training pictures showed: other cameras, places, times or people were not measured.")
    family = facts.config["base"]["family"]
    inherited = family_limits(family) if family else ""
    if inherited:
        found.append(f"\nOf the backbone ({escape(family)}):\n\n{inherited}")
    return "\n".join(found)


def family_limits(family: str) -> str:
    """The section on limits of a family's hand-written card; empty if there is no card or no such section."""
    path = content.files("model_cards", ".md").get(family)
    if path is None:
        return ""
    section = re.search(r"^## [^\n]*\blimits\b[^\n]*\n(.*?)(?=^## |\Z)", path.read_text(encoding="utf-8"), re.M | re.S | re.I)
    return section[1].strip() if section else ""


def _digest_table(facts: CardFacts, weights_sha256: str) -> str:
    rows = [
        [f"sha256 of {WEIGHTS}", f"`{weights_sha256}`"],
        ["sha256 of the data", f"`{facts.data['sha256']}`"],
        ["sha256 of the class names in order", f"`{facts.report.labels.sha256}`"],
        [
            "sha256 of the base weights",
            f"`{facts.config['base']['sha256']}`" if facts.config["base"]["sha256"] else "none: random",
        ],
    ]
    if facts.reload_difference is not None:
        rows.append(["largest difference of a logit after loading the file again", f"{facts.reload_difference:.3g}"])
    return table(["", ""], rows)


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"
