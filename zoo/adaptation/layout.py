"""How a fine-tuned model's tensors are named in its file, and what makes the file a plain timm checkpoint.

`timm`    whole weights under timm's own names, the head in the classifier's place, and a config.json that
          `timm.create_model("local-dir:FOLDER", pretrained=True)` reads: everything trained, and the head a single Linear.
`transformers`  whole weights, the backbone's under transformers' own names and the head's under `head.`, and a config.json from which
          `AutoModel.from_pretrained(FOLDER)` gives the backbone: everything trained, and a backbone of transformers' that is not a part
          of what AutoModel builds, as Whisper's encoder is.
`whole`   whole weights under zoo's names (`backbone.net.…`, `head.…`): everything trained, and another head or backbone.
`adapter` the trained tensors alone, tied to the digest of the base weights: the backbone's own weights rest, and others have them.
"""

from __future__ import annotations

import json
from typing import Any

import timm
import torch
from timm.models import get_model_args
from torch import Tensor, nn

from zoo.adaptation.model import AdaptedModel
from zoo.adaptation.plan import NET
from zoo.backbones.images import ImagePreprocess
from zoo.registry import BackboneSpec
from zoo.types import Task

_SOURCE = ("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source", "custom_load", "architecture")
_OTHER_CLASSES = ("label_offset", "label_names", "label_descriptions")
_OTHER_SIZES = ("test_input_size", "test_crop_pct", "min_input_size", "pool_size", "test_pool_size")
"""Entries of timm's pretrained_cfg that speak of the base's file, classes and image sizes, not of ours."""
_OF_CLASSIFIERS = ("id2label", "label2id", "num_labels", "problem_type", "finetuning_task")
"""Entries of transformers' configurations that speak of a classifier."""
_PROBLEMS: dict[Task, dict[str, str]] = {
    Task.CLASSIFICATION: {},
    Task.MULTILABEL: {"problem_type": "multi_label_classification"},
    Task.REGRESSION: {"problem_type": "regression"},
}
"""What tells transformers' pipelines what logits stand for; without it, they take those of several classes for alternatives."""


def describe(model: AdaptedModel) -> tuple[str, dict[str, Any]]:
    """The layout that fits the model, and timm's part of config.json (empty unless the layout is `timm`)."""
    if not (model.plan.strategy.ships_whole or model.backbone.origin.own):
        return "adapter", {}
    if model.plan.strategy.adapter:
        return "whole", {}
    if model.backbone.spec.loader == "transformers":
        return ("transformers", _transformers_config(model)) if _is_auto_model(model.backbone.net) else ("whole", {})
    plain = _timm_config(model)
    return ("timm", plain) if plain else ("whole", {})


def tensors(model: AdaptedModel, layout: str) -> dict[str, Tensor]:
    """What the file holds, by its names in the file; the model's own tensors, so that filling them fills the model."""
    if layout == "adapter":
        return model.trained_state()
    state = model.state_dict()
    if layout == "whole":
        return dict(state)
    if layout == "transformers":
        return {name.removeprefix(NET): tensor for name, tensor in state.items()}
    slot = head_slot(model.backbone.spec, model.backbone.net)
    own = {name.removeprefix(NET): tensor for name, tensor in state.items() if name.startswith(NET)}
    return own | {f"{slot}.{leaf}": state[f"head.{leaf}"] for leaf in ("weight", "bias")}


def head_slot(spec: BackboneSpec, net: nn.Module) -> str | None:
    """Name of the classifier in timm's network, if it is known and one module."""
    slot: Any = spec.family.head_slot if spec.family else getattr(net, "pretrained_cfg", {}).get("classifier")
    return slot if isinstance(slot, str) else None


def is_plain_linear(head: nn.Module) -> bool:
    """Whether the head is one Linear with a bias, as timm's classifiers are."""
    return type(head) is nn.Linear and head.bias is not None


def _is_auto_model(net: Any) -> bool:
    """Whether transformers' AutoModel builds such a network from its configuration, and not one that has it as a part."""
    from transformers import MODEL_MAPPING

    classes = MODEL_MAPPING[type(net.config)]
    return type(net) in (classes if isinstance(classes, tuple) else (classes,))


def _transformers_config(model: AdaptedModel) -> dict[str, Any]:
    """config.json as transformers reads it: that of the backbone.

    Nothing in it speaks of labels. transformers' classifiers have other layers between backbone and labels than zoo's head, and would
    draw them at random: under our labels, such a model would pass for this one.
    """
    net: Any = model.backbone.net
    config: dict[str, Any] = json.loads(net.config.to_json_string(use_diff=False))
    return {name: value for name, value in config.items() if name not in _OF_CLASSIFIERS} | {
        "architectures": [type(net).__name__]
    }


def _timm_config(model: AdaptedModel) -> dict[str, Any]:
    """config.json as timm reads it, proven against a network built from it; empty if timm has no place for this model."""
    backbone, preprocess = model.backbone, model.backbone.preprocess
    slot = head_slot(backbone.spec, backbone.net)
    if slot is None or not is_plain_linear(model.head) or model.scale is not None or not isinstance(preprocess, ImagePreprocess):
        return {}
    # The number of classes stands beside the arguments, where timm and transformers' loader of timm's networks look for it.
    arguments = {name: value for name, value in get_model_args(backbone.net).items() if name != "num_classes"}
    dropped = {*_SOURCE, *_OTHER_CLASSES, *_OTHER_SIZES}
    pretrained = {key: value for key, value in backbone.net.pretrained_cfg.items() if key not in dropped}  # type: ignore[union-attr, operator]
    pretrained |= {
        "input_size": [3, preprocess.size, preprocess.size],
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "interpolation": preprocess.interpolation,
        "crop_pct": preprocess.crop_fraction,
        "crop_mode": "center",
        "num_classes": model.num_outputs,
        "classifier": slot,
        "license": backbone.origin.licence,
    }
    config = {
        "architecture": backbone.spec.id.partition(".")[0],
        "num_classes": model.num_outputs,
        "num_features": backbone.feature_dim,
        "model_args": arguments,
        "pretrained_cfg": pretrained,
    }
    # Of 1000 classes without names, transformers would say that they are ImageNet's.
    config["label_names"] = list(model.labels.names) if model.labels else [str(number) for number in range(model.num_outputs)]
    config |= _PROBLEMS[model.task]
    config = json.loads(json.dumps(config))
    ours = {name: tensor.shape for name, tensor in tensors(model, "timm").items()}
    return config if _timm_shapes(config) == ours else {}


def _timm_shapes(config: dict[str, Any]) -> dict[str, torch.Size] | None:
    """Shape of every tensor of the network that timm builds from this config; None if it cannot."""
    try:
        with torch.device("meta"):
            net = timm.create_model(
                config["architecture"], pretrained=False, num_classes=config["num_classes"], **config["model_args"]
            )
    except Exception:  # whatever a network raises at arguments that do not suit it
        return None
    return {name: tensor.shape for name, tensor in net.state_dict().items()}
