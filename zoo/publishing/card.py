"""The model card, README.md of a publishable folder: `model_cards/_template.md` filled with what was measured on that folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from zoo import content, folders
from zoo.config import marked
from zoo.errors import CheckpointError, OutputError
from zoo.evaluation.metrics.metric import RESAMPLES
from zoo.evaluation.report import Report
from zoo.options import OFF_CARD
from zoo.publishing import measured, metadata
from zoo.publishing.measured import FOLDED, escape, folded, table, without_folders
from zoo.types import Kind, Task

CARD = "README.md"
WEIGHTS = "model.safetensors"
TEMPLATE = "_template"
HELD_OUT = "held-out"
"""What a report is of where nothing was left that the model was not fitted to: predictions by others of its kind."""
_SPLITS = {
    "test": "the test {}, which were used neither to train nor to choose",
    "val": "the validation {}: **validation, used for selection**, so the numbers are optimistic (there was no test split)",
}
_USES = {
    Kind.IMAGE: ('["image.jpg"]', "IMAGES", "IMAGES/CLASS/*: "),
    Kind.TEXT: ('["a text"]', "TABLE.csv", ""),
    Kind.AUDIO: ('["clip.wav"]', "CLIPS", "CLIPS/CLASS/*: "),
}
"""By kind: what to predict from, what to evaluate on, and how that is laid out."""
_PREDICTION = {
    Task.CLASSIFICATION: "prediction.label, prediction.probability",
    Task.MULTILABEL: "prediction.label, prediction.probabilities",
    Task.REGRESSION: "prediction.values",
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
    """`name`, `sha256`, `licence` (or None), `sizes` {split: samples}, `counts` {split: {class or label: samples}}, `notices`
    [sentences about unreadable files, identical samples in two splits, and the like]."""
    trains: str
    """What trained, in one line: tensors, parameters, share."""
    environment: Mapping[str, str]
    """Versions, device, precision."""
    seconds: float
    """Wall time of the training."""
    split: str
    """What `report` was measured on: `test`, `val`, or the name of other data."""
    held_out: str = ""
    """How predictions were had for samples that the model was fitted to in the end: `in 5-fold cross-validation of ...`; empty where it was
    fitted to none that it was chosen by."""
    step: str = ""
    """Which step of how many the model is from, by which metric; empty if that is not known."""
    reload_difference: float | None = None
    """Largest difference of the logits between the model in memory and the one loaded again."""

    @property
    def data_name(self) -> str:
        """What the data are called, without the folders they lie in."""
        return without_folders(self.data["name"])

    @property
    def kind(self) -> Kind:
        """What the model takes."""
        return measured.kind_of(self.config)


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
    from zoo.publishing import figures  # matplotlib is imported while others compute

    try:
        figures.write_figures(folder, facts.report, facts.kind)
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
    from zoo.publishing import figures

    config, report, kind = facts.config, facts.report, facts.kind
    split = escape(without_folders(facts.split))
    example, place, places = _USES[kind]
    return {
        "title": escape(f"{config['base']['name']}, {config['strategy']}, on {facts.data_name}"),
        "summary": measured.summary(config, report, facts.held_out if facts.split == HELD_OUT else ""),
        "useless": report.baseline.beaten is False,
        "intended_use": measured.intended_use(config, report),
        "example": example,
        "prediction": _PREDICTION[report.task],
        "layout": config["layout"],
        "adapter_words": _adapter_words(config),
        "data_summary": _data_summary(facts),
        "data_table": _data_table(facts),
        "data_notices": [escape(notice) for notice in facts.data["notices"]],
        "training_table": _training_table(facts),
        "options_table": _options_table(facts),
        "split_words": f"{_SPLITS[facts.split].format(kind.nouns) if facts.split in _SPLITS else split} ({report.n} of them)",
        "estimate": facts.held_out if facts.split == HELD_OUT else "",
        "nouns": kind.nouns,
        "resamples": RESAMPLES,
        "metrics_table": measured.metrics_table(report),
        "rows_title": measured.rows_title(report.task),
        "rows_table": measured.rows_table(report, kind),
        "thresholds_words": measured.thresholds_words(config, report, facts.held_out),
        "confused_table": measured.confused_table(report, kind),
        "figures": figures.drawings(report.task),
        "limits": _limits(facts),
        "environment_table": table(["", ""], [[escape(key), escape(str(value))] for key, value in facts.environment.items()]),
        "place": place,
        "check_words": f"{places}{kind.nouns} that it was not fitted to"
        if facts.split == HELD_OUT
        else f"{places}the {report.n} {kind.nouns} of {split}",
        "digest_table": _digest_table(facts, weights_sha256),
    }


def _adapter_words(config: Mapping[str, Any]) -> str:
    if config["layout"] == "whole":
        return ", whole, under zoo's names for the tensors: load it with zoo."
    base = config["base"]
    return (
        f" alone; `zoo.load` adds the base weights ({escape(base['name'])}, sha256 of the tensors `{base['tensors_sha256']}`) "
        "and refuses others."
    )


def _data_summary(facts: CardFacts) -> str:
    data, targets = facts.data, measured.rows_title(facts.report.task).lower()
    licence = escape(data["licence"]) if data["licence"] else "not known; find out before you pass the model on"
    return f"{escape(facts.data_name)}, sha256 of {targets} and {facts.kind.nouns} `{data['sha256']}`. Licence of the data: {licence}."


def _data_table(facts: CardFacts) -> str:
    report, counts, sizes = facts.report, facts.data["counts"], facts.data["sizes"]
    splits = list(sizes)
    counted = () if report.task is Task.REGRESSION else report.labels.names
    rows = [[escape(name), *(str(counts[one].get(name, 0)) for one in splits)] for name in counted]
    rows.append(["**all**", *(f"**{sizes[one]}**" for one in splits)])
    body = table(
        [{Task.CLASSIFICATION: "class", Task.MULTILABEL: "label"}.get(report.task, ""), *splits], rows, right=len(splits)
    )
    return folded(f"{facts.kind.nouns.capitalize()} of each split", body, fold=len(rows) > FOLDED + 1)


def _training_table(facts: CardFacts) -> str:
    config, base = facts.config, facts.config["base"]
    head = config["head"]
    rows = [
        ["strategy", f"`{config['strategy']}`" + (f", merged from `{config['merged_from']}`" if config["merged_from"] else "")],
        ["what trained", escape(facts.trains)],
        ["base", escape(base["name"]) + (f" (`{known}`)" if (known := measured.base_id(base)) else "")],
        ["base weights from", escape(without_folders(base["source"]))],
        ["head", f"{escape(head['name'])}, {head['in_features']} to {head['num_outputs']}"],
        ["training took", _duration(facts.seconds)],
    ]
    if facts.step:
        rows.append(["this model", escape(facts.step)])
    return table(["", ""], rows)


def _options_table(facts: CardFacts) -> str:
    left_out = marked(OFF_CARD)
    rows = [
        [name, escape(without_folders(_text(value))), escape(without_folders(facts.origins.get(name, "")))]
        for name, value in facts.options.items()
        if name not in left_out
    ]
    return folded("Every option, its value and where that came from", table(["option", "value", "from"], rows), fold=True)


def _limits(facts: CardFacts) -> str:
    found = measured.limits(facts.report, facts.kind, optimistic=_optimistic(facts))
    if facts.config["base"]["licence"] == "unknown":
        found.append("The licence of the base weights is not known; find out before you pass the model on.")
    family = facts.config["base"]["family"]
    inherited = family_limits(family) if family else ""
    lines = [f"- {line}" for line in found] + ([f"\nOf the backbone ({escape(family)}):\n\n{inherited}"] if inherited else [])
    return "\n".join(lines)


def _optimistic(facts: CardFacts) -> str:
    """Why the numbers are better than those of other samples will be; empty where nothing is known."""
    nouns = facts.kind.nouns
    if facts.split == "val":
        return f"The numbers are of the {nouns} by which this model was chosen, so they are optimistic."
    if facts.split == HELD_OUT:
        several = facts.report.task is Task.MULTILABEL
        chosen = "The strength of the penalty and the thresholds were" if several else "The strength of the penalty was"
        return (
            f"The numbers are of the procedure, not of this file: of models that were each fitted to a part of these {nouns}. {chosen} "
            "chosen by the same predictions, which makes them a little optimistic."
        )
    return ""


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
        [f"sha256 of the {measured.ROWS[facts.report.task]} names in order", f"`{facts.report.labels.sha256}`"],
        [
            "sha256 of the base weights",
            f"`{facts.config['base']['sha256']}`" if facts.config["base"]["sha256"] else "none: random",
        ],
    ]
    if facts.config["preprocess"].get("tokenizer_sha256"):
        rows.append(["sha256 of what the tokenizer does", f"`{facts.config['preprocess']['tokenizer_sha256']}`"])
    if facts.reload_difference is not None:
        rows.append(["largest difference of an output after loading the file again", f"{facts.reload_difference:.3g}"])
    return table(["", ""], rows)


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"
