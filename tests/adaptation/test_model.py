"""AdaptedModel: building it, its state, and its logits."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from adapting import LABELS, STRATEGIES, pictures, train
from closeness import assert_close
from tiny import BY_FAMILY

from zoo import registry
from zoo.adaptation.model import AdaptedModel
from zoo.backbones.backbone import Backbone
from zoo.errors import CheckpointError, ConfigError, UnknownName
from zoo.scale import Scale
from zoo.types import Labels

Build = Callable[..., AdaptedModel]


def test_build_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_backbones", {"tiny_vit": BY_FAMILY["vit"]})
    model = AdaptedModel.build("tiny_vit", 5, weights="random", image_size=48, seed=3, labels=LABELS)
    assert not model.training
    assert model.backbone.origin.source == "random, seed 3"
    assert model(torch.randn(2, 3, 48, 48)).shape == (2, 5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"strategy": "lorra:16"}, UnknownName, "did you mean 'lora'"),
        ({"num_outputs": 0}, ConfigError, "num_outputs is 0"),
        ({"labels": Labels(("a", "b"))}, ConfigError, "2 labels for 5 outputs"),
        ({"image_size": 64}, ConfigError, "are for a backbone given by its name"),
        ({"weights": "random"}, ConfigError, "are for a backbone given by its name"),
    ],
)
def test_options_that_do_not_fit(
    tiny: Callable[..., Backbone], options: dict[str, object], error: type[Exception], message: str
) -> None:
    arguments = {"num_outputs": 5, **options}
    with pytest.raises(error, match=message):
        AdaptedModel.build(tiny("vit"), **arguments)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", ["efficientnet", "swin"])
def test_trained_state_carries_a_model_over(adapted: Build, family: str, strategy: str) -> None:
    """All that training changed is in it: put into a fresh model, it gives the same bytes."""
    trained, fresh = adapted(family, strategy), adapted(family, strategy)
    train(trained, steps=2)
    images = pictures(trained)
    assert not torch.equal(trained.eval()(images), fresh(images))
    fresh.load_trained_state({name: tensor.clone() for name, tensor in trained.trained_state().items()})
    assert torch.equal(trained(images), fresh(images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.bias"), r"here: tensors are missing: head\.bias"),
        (lambda state: state.update(extra=torch.zeros(1)), "here: unexpected tensors: extra"),
        (lambda state: state.update({"head.bias": torch.zeros(3)}), r"tensor head\.bias has shape \[3\], the model's has \[5\]"),
    ],
)
def test_loading_a_trained_state_is_strict(
    adapted: Build, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    model = adapted("vit", "linear-probe")
    state = {name: torch.full_like(tensor, 2.0) for name, tensor in model.trained_state().items()}
    change(state)
    with pytest.raises(CheckpointError, match=message):
        model.load_trained_state(state, "here")
    assert not model.head.weight.any()  # nothing was copied


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_are_float32_under_autocast(adapted: Build, dtype: torch.dtype) -> None:
    model = adapted("vit", "lora:2")
    torch.nn.init.normal_(model.head.weight)
    with torch.autocast("cpu", dtype):
        logits = model(pictures(model))
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, model(pictures(model)))


def test_outputs_in_their_own_unit(adapted: Build) -> None:
    """`std` times what the head gives, and `mean`, in float64: float32 has no room for a spread of 50 at 1.7e9."""
    model = AdaptedModel.build(adapted("vit", "linear-probe").backbone, 2, task="regression")
    torch.nn.init.normal_(model.head.weight)
    with torch.no_grad():
        plain = model(pictures(model)).numpy()
    assert np.array_equal(model.predicted(plain), plain.astype(np.float64))
    model.scale = Scale((1.7e9, -2.0), (50.0, 1e-3))
    values = model.predicted(plain)
    assert values.dtype == np.float64
    assert_close(values - [1.7e9, -2.0], plain.astype(np.float64) * [50.0, 1e-3])
    learnt = model.learnt(torch.from_numpy(values))
    assert learnt.dtype == torch.float32
    assert_close(learnt.numpy(), plain)
