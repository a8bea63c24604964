"""Gradient checkpointing: the same result, from blocks that run twice a step; refused where the result would be another."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sounding import TINY_SOUND
from test_every_family import samples
from tiny import BY_FAMILY, TINY_TEXT, text_folder

import zoo
from zoo import backbones, registry
from zoo.adaptation.model import AdaptedModel
from zoo.errors import ConfigError
from zoo.registry import BackboneSpec
from zoo.runs import Run
from zoo.strategy import parse
from zoo.training.recomputing import recomputed
from zoo.types import Kind

TINY = {"vit": BY_FAMILY["vit"], "convnext": BY_FAMILY["convnext"], "bert": TINY_TEXT[0], "wav2vec2": TINY_SOUND["wav2vec2"]}


def trained(spec: BackboneSpec, strategy: str, folder: Path, name: str, **options: object) -> Run:
    weights = str(text_folder(folder / spec.name, spec)) if spec.kind is Kind.TEXT else "random"
    return zoo.finetune(
        spec.name,
        data=str(samples(spec.kind, folder)),
        weights=weights,
        strategy=strategy,
        out=str(folder / name),
        epochs=2,
        batch_size=4,
        num_workers=0,
        keep_features="never",
        head_start="random",
        tensorboard=False,
        cache="off",
        val_fraction=0.3,
        test_fraction=0,
        **options,
    )


@pytest.mark.parametrize("strategy", ["full", "lora:2"])
@pytest.mark.parametrize("name", TINY)
def test_the_result_is_the_same_and_blocks_run_twice(
    name: str, strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 on a CPU, to the bit; dropout draws the same masks again."""
    spec = TINY[name]
    monkeypatch.setitem(registry._backbones, spec.name, spec)  # as register_backbone does, for this test alone
    options = {"precision": "no", "device": "cpu", "batch_norm": "frozen"} | ({"lora_dropout": 0.3} if "lora" in strategy else {})
    calls: list[int] = []

    def counted(original: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
        calls[-1] += torch.is_grad_enabled()
        return original(*inputs)

    for layer in (torch.nn.Linear, torch.nn.Conv2d):
        monkeypatch.setattr(layer, "forward", _bound(counted, layer.forward))
    digests = []
    for wanted in (False, True):
        calls.append(0)
        run = trained(spec, strategy, tmp_path, f"run {wanted}", gradient_checkpointing=wanted, **options)
        digests.append(hashlib.sha256((run.best / "model.safetensors").read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    assert calls[1] > 1.4 * calls[0] > 0


def _bound(function: Callable[..., torch.Tensor], original: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda *inputs: function(original, *inputs)


def model(spec: BackboneSpec, strategy: str = "full", **options: object) -> AdaptedModel:
    return AdaptedModel.build(backbones.load(spec, "random"), 3, strategy=parse(strategy), **options)


def test_a_network_is_left_as_it_was() -> None:
    for spec in (TINY["vit"], TINY["wav2vec2"]):
        made = model(spec)
        before = {name: dict(vars(module)) for name, module in made.named_modules()}
        with recomputed(made, wanted=True):
            pass
        after = {name: vars(module) for name, module in made.named_modules()}
        assert all(before[name].keys() == after[name].keys() for name in before)
        assert not getattr(made.backbone.net, "grad_checkpointing", False)


def test_statistics_that_would_count_twice_are_refused() -> None:
    with (
        pytest.raises(ConfigError, match="gradient_checkpointing: .*use --batch-norm frozen"),
        recomputed(model(BY_FAMILY["resnet"], batch_norm="live"), wanted=True),
    ):
        pass


def test_a_network_without_blocks_is_refused() -> None:
    with (
        pytest.raises(ConfigError, match=r"gradient_checkpointing: timm/dla46_c.* does not support it .*leave it out"),
        recomputed(model(registry.resolve("timm/dla46_c"), batch_norm="frozen"), wanted=True),
    ):
        pass
