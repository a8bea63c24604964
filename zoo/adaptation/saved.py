"""The folder of a fine-tuned model: `model.safetensors` and `config.json`, and how they become a model again.

Nothing in them is code. The safetensors file has one metadata key, `zoo`, so that its bytes are reproducible (with two or more
keys their order differs from run to run). See layout.py for which tensors it holds.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from zoo import backbones, folders, registry
from zoo.adaptation import layout, saved_config
from zoo.adaptation.model import AdaptedModel, fill
from zoo.adaptation.saved_config import CONFIG, FORMAT
from zoo.backbones.backbone import Backbone, WeightsOrigin
from zoo.backbones.digest import unfilled
from zoo.errors import CheckpointError, UnknownName, shown
from zoo.registry import BackboneSpec, HeadFactory
from zoo.scale import Scale
from zoo.strategy import parse
from zoo.types import Kind, Labels, Schema

WEIGHTS = "model.safetensors"


def save(folder: Path, model: AdaptedModel, facts: Mapping[str, Any]) -> None:
    """Write the model into an existing folder. `facts` are the caller's, plain values, kept in the config as they are.

    The caller sees to it that the folder appears whole or not at all. Raises: OSError, SafetensorError.
    """
    kind, plain = layout.describe(model)
    metadata = {"format": FORMAT, "layout": kind, "labels_sha256": model.labels.sha256 if model.labels else None}
    path = folder / WEIGHTS
    path.touch()
    mode = path.stat().st_mode  # as the umask has it; safetensors puts a file of mode 0600 in its place
    save_file(_storable(layout.tensors(model, kind)), path, metadata={"zoo": json.dumps(metadata, sort_keys=True)})
    path.chmod(mode)
    model.backbone.preprocess.save(folder)
    config = plain | {"zoo": _block(model, kind) | {"facts": dict(facts)}}
    (folder / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def open_saved(folder: Path, *, weights: str | None = None, head: HeadFactory | None = None) -> AdaptedModel:
    """The saved model, in eval mode, on the CPU, of files that are as they were written.

    weights: the base weights of a folder that holds trained tensors alone; None searches as for a new model. A folder of whole
        weights needs none, and never looks for any.
    head: factory of a custom head that this process has not registered.

    Raises: CheckpointError for whatever is missing, damaged, of another model or on another base; WeightsError.
    """
    return open_with_config(folder, weights=weights, head=head)[0]


def open_with_config(
    folder: Path, *, weights: str | None = None, head: HeadFactory | None = None, backbone: Backbone | None = None
) -> tuple[AdaptedModel, dict[str, Any]]:
    """As `open_saved`, and what its config says (`saved_config.read`).

    backbone: one with the base weights of a folder that holds trained tensors alone, and nothing inserted; None: it is loaded.
    """
    saved_config.read(folder)  # a folder that is not a model is not one without a manifest
    return folders.read_whole(folder, lambda: _open(folder, weights, head, backbone), (WEIGHTS, CONFIG), for_people)


def verify(folder: Path) -> list[str]:
    """The names of the files of a saved model whose files are as they were written; its card may have been edited.

    Raises: CheckpointError naming the first file that is missing or damaged.
    """
    entries = folders.verify(folder, (WEIGHTS, CONFIG), ignored=for_people)
    if missing := [name for name in entries if not (folder / name).is_file()]:
        raise CheckpointError(f"{folder / missing[0]}: missing; use another copy of the folder")
    return list(entries)


def for_people(name: str) -> bool:
    """The card and its figures: no model is read from them, and on the Hub they are edited in place."""
    return name == "README.md" or name.startswith("figures/")


def _open(
    folder: Path, weights: str | None, head: HeadFactory | None, given: Backbone | None
) -> tuple[AdaptedModel, dict[str, Any]]:
    block = saved_config.read(folder)
    path = folder / WEIGHTS
    state, metadata = _read(path)
    try:
        if metadata["format"] != FORMAT or metadata["layout"] != block["layout"]:
            raise CheckpointError(f"{path}: written for another {CONFIG} than the one beside it; use another copy")
        labels = _labels(folder, block, metadata)
        with unfilled() if block["layout"] != "adapter" else contextlib.nullcontext():
            backbone = _backbone(folder, block, weights, given)
            model = _rebuild(block, backbone, labels, _head(folder, block, head))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / CONFIG}: damaged: {type(error).__name__} {error}; use another copy") from error
    fill(layout.tensors(model, block["layout"]), state, str(path))
    return model.eval(), block


def _storable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous, on the CPU, and none sharing memory with another, as safetensors wants them. Tied tensors are stored each."""
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        where = plain.untyped_storage().data_ptr()
        stored[name] = plain.clone() if where in seen else plain
        seen.add(where)
    return stored


def _block(model: AdaptedModel, kind: str) -> dict[str, Any]:
    """Everything that is needed to build the model again, and where it comes from."""
    backbone, spec, origin = model.backbone, model.backbone.spec, model.backbone.origin
    seed = re.fullmatch(r"random, seed (\d+)", origin.source)
    strategy = model.plan.strategy
    targets = model.adapter.targets or (spec.family.lora if spec.family else None)
    return {
        "format": FORMAT,
        "layout": kind,
        "task": model.task.value,
        "labels": {"names": list(model.labels.names), "sha256": model.labels.sha256} if model.labels else None,
        "schema": model.schema.to_dict() if model.schema else None,
        "preprocess": backbone.preprocess.to_dict(),
        "strategy": str(strategy),
        "merged_from": str(model.merged_from) if model.merged_from else None,
        "output": None if model.scale is None else {"mean": list(model.scale.mean), "std": list(model.scale.std)},
        "head": {
            "name": "linear" if layout.is_plain_linear(model.head) else model.head_name,
            "in_features": backbone.token_dim if model.takes_tokens else backbone.feature_dim,
            "num_outputs": model.num_outputs,
        },
        "lora": {"alpha": model.adapter.alpha, "dropout": model.adapter.dropout, "targets": targets}
        if strategy.adapter
        else None,
        "base": {
            "name": spec.name,
            "id": spec.id,
            "family": spec.family.name if spec.family else None,
            "loader": spec.loader,
            "arguments": dict(spec.arguments),
            "licence": origin.licence,
            "source": origin.source,
            "sha256": origin.sha256,
            "tensors_sha256": backbone.base_sha256,
            "seed": int(seed[1]) if seed else None,
            "own": origin.own,
        },
    }


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Every tensor of a safetensors file, and its metadata. Raises: CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("zoo", "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; the folder is incomplete, use another copy") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file: {error}; use another copy") from error
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: not a model that zoo saved: its metadata has no `zoo` key")
    return state, metadata


def _labels(folder: Path, block: Mapping[str, Any], metadata: Mapping[str, Any]) -> Labels | None:
    labels = Labels(tuple(block["labels"]["names"])) if block["labels"] else None
    recorded = block["labels"]["sha256"] if block["labels"] else None
    found = labels.sha256 if labels else None
    if not found == recorded == metadata["labels_sha256"]:
        raise CheckpointError(
            f"{folder / CONFIG}: its labels are not those that {WEIGHTS} was trained with (another order or other names); "
            "use another copy"
        )
    return labels


def _backbone(folder: Path, block: Mapping[str, Any], weights: str | None, given: Backbone | None) -> Backbone:
    base = block["base"]
    family = None if base["family"] is None else registry.family(base["family"])
    if family is None and base["family"] is not None:
        raise CheckpointError(f"{folder / CONFIG}: no family {base['family']!r} here; install what provides it")
    spec = BackboneSpec(
        base["name"], base["id"], family, loader=base.get("loader", "timm"), licence=base["licence"], arguments=base["arguments"]
    )
    preprocess = backbones.restore_preprocess(block["preprocess"], folder)
    whole = block["layout"] != "adapter"
    seed = base["seed"] or 0
    if type(seed) is not int or seed < 0:
        raise CheckpointError(f"{folder / CONFIG}: the seed of its random weights is {shown(seed)}; use another copy")
    if whole or (weights is None and base["seed"] is not None):
        weights = "random"
    tokenizer = folder if preprocess.kind is Kind.TEXT else None
    loaded = None if whole else given
    backbone = loaded or backbones.load(spec, weights, **preprocess.options(), tokenizer=tokenizer, seed=seed)
    if whole:  # the file brings every value; what is kept is where the training began
        backbone.base_sha256 = base["tensors_sha256"]
        backbone.origin = WeightsOrigin(base["source"], base["sha256"], base["licence"], base.get("own", False))
    elif backbone.base_sha256 != base["tensors_sha256"]:
        raise CheckpointError(
            f"{folder}: trained on other base weights than {backbone.origin.source}: {base['name']} from {base['source']}, "
            f"tensors' sha256 {base['tensors_sha256'][:12]}, found {backbone.base_sha256[:12]}; give the right ones as weights"
        )
    backbone.preprocess = preprocess
    return backbone


def _head(folder: Path, block: Mapping[str, Any], head: HeadFactory | None) -> str | HeadFactory:
    if head is not None:
        return head
    name: str = block["head"]["name"]
    try:
        registry.head(name)
    except UnknownName as error:
        raise CheckpointError(
            f"{folder}: its head {name!r} is not registered in this process; pass its factory as head=, or register it"
        ) from error
    return name


def _rebuild(
    block: Mapping[str, Any], backbone: Backbone, labels: Labels | None, head: str | HeadFactory | nn.Module
) -> AdaptedModel:
    lora = block["lora"] or {"alpha": None, "dropout": 0.0, "targets": None}
    model = AdaptedModel.build(
        backbone,
        block["head"]["num_outputs"],
        head=head,
        strategy=block["strategy"],
        labels=labels,
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        lora_targets=lora["targets"],
        task=block["task"],
    )
    if block.get("output"):
        model.scale = Scale(tuple(block["output"]["mean"]), tuple(block["output"]["std"]))
    model.merged_from = parse(block["merged_from"]) if block["merged_from"] else None
    model.schema = Schema.from_dict(block["schema"]) if block.get("schema") else None
    return model
