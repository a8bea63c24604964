"""The head of a card, as the Hub reads it: licence, base, data, measured values, tags."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml
from huggingface_hub import CardData, EvalResult, ModelCard, ModelCardData

from zoo.config import slug
from zoo.errors import CheckpointError
from zoo.evaluation.report import Report
from zoo.publishing.measured import base_id, kind_of, without_folders
from zoo.strategy import parse
from zoo.types import Kind, Task

TASKS = {Kind.IMAGE: "image-classification", Kind.TEXT: "text-classification", Kind.AUDIO: "audio-classification"}
"""The Hub's names of what a model does (huggingface.co/tasks). It has none for numbers predicted from images, texts or audio clips;
transformers' own regressors of texts are found under text-classification."""

LICENCES = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0
    artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0
    cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0
    cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0
    epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research
    intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1
    ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2
    llama3.3 llama4 gemma unknown other
    """.split()  # noqa: SIM905 - as a list it would take eighty lines
)
"""Licence identifiers that the Hub knows (huggingface.co/docs/hub/repositories-licenses); another is `other`, with its name."""


def build(config: Mapping[str, Any], report: Report, data: str, split: str, name: str) -> ModelCardData:
    """The metadata of a card. `config` is the `zoo` part of config.json; only defined values get into the model index.

    `data` is the data's name, `split` that of the measured part, `name` the model's in the index.
    """
    base, task = config["base"], TASKS[kind_of(config)]
    known = base_id(base)
    metrics = {_word(metric): value.value for metric, value in report.values.items() if value.value is not None}
    terms = licence(base["licence"])
    own = [] if report.task is Task.CLASSIFICATION else [report.task.value]
    results = [
        EvalResult(
            task_type=task,
            dataset_type=slug(data),
            dataset_name=data,
            dataset_split=split,
            metric_type=metric,
            metric_value=round(value, 6),
        )
        for metric, value in metrics.items()
    ]
    return ModelCardData(
        license=terms["license"],
        license_name=terms.get("license_name"),
        library_name="timm" if config["layout"] == "timm" else "zoo",
        pipeline_tag=task,
        base_model=known,
        base_model_relation=None if known is None else "adapter" if parse(config["strategy"]).adapter else "finetune",
        datasets=[slug(data)],
        metrics=list(metrics),
        tags=["zoo", base.get("loader", "timm"), task, *own, config["strategy"].partition(":")[0]],
        model_name=name,
        eval_results=results,
    )


def _word(metric: str) -> str:
    return slug(without_folders(metric)).replace("-", "_")


def licence(identifier: str) -> dict[str, str]:
    """The licence as the Hub spells it: an identifier it knows, `unknown`, or `other` with the name.

    >>> licence("dinov3-license")
    {'license': 'other', 'license_name': 'dinov3-license'}
    """
    known = identifier.casefold()
    if known in LICENCES - {"other"}:
        return {"license": known}
    return {"license": "other", "license_name": slug(identifier)}


def validate(text: str, name: str) -> CardData:
    """Check a card's head by what the Hub demands of it, without asking the Hub.

    Raises: CheckpointError, which calls the card `name` and says what is wrong.
    """
    try:
        card = ModelCard(text)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{name}: its metadata cannot be read: {str(error).splitlines()[0]}; mend the lines above ---"
        ) from error
    mistakes = list(_mistakes(card.data))
    if mistakes:
        raise CheckpointError(f"{name}: {'; '.join(mistakes)}; mend the lines above ---")
    return card.data


def _mistakes(data: Any) -> list[str]:
    found = []
    if data.get("license") not in LICENCES:
        found.append(f"license is {data.get('license')!r}, which the Hub does not know (use `other` and license_name)")
    if data.get("license") == "other" and not data.get("license_name"):
        found.append("license is `other` without a license_name")
    for key in ("tags", "metrics", "datasets"):
        value = data.get(key, [])
        if not (isinstance(value, list) and all(isinstance(item, str) and item for item in value)):
            found.append(f"{key} is not a list of words")
    bases = data.get("base_model", [])
    for base in [bases] if isinstance(bases, str) else bases:
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(base)):
            found.append(f"base_model {base!r} is not a model's name")
    for result in data.get("eval_results", []):
        value = result.metric_value
        if isinstance(value, float) and not math.isfinite(value):
            found.append(f"the value of {result.metric_type} is {value}")
    return found
