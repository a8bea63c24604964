"""Every engine says what the network says, row by row, and leaves the network as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from running import Keeping, Tokens, pictures, prepared, small
from tiny import BY_FAMILY, TINY
from torch import nn

from zoo import backbones, engines
from zoo.backbones.backbone import Backbone
from zoo.engines.catalogue import has_bf16
from zoo.registry import BackboneSpec

converters = pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
quick = pytest.mark.parametrize("name", ["torch", "openvino", "onnxruntime"])


def loaded(spec: BackboneSpec) -> Backbone:
    backbone = backbones.load(spec, "random")
    for name, parameter in backbone.named_parameters():
        if name.endswith(".gamma"):  # ConvNeXt starts the scale of its branches at 1e-6
            parameter.data.fill_(0.5)
    return backbone


def plain(net: nn.Module, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return net.eval()(images).numpy()


def bytes_of(net: nn.Module) -> dict[str, Any]:
    return {name: (tensor.numpy().tobytes(), tensor.stride()) for name, tensor in net.state_dict().items()}


@quick
@pytest.mark.parametrize("spec", TINY, ids=lambda spec: spec.name)
def test_pooled_features_are_those_of_the_network(spec: BackboneSpec, name: str) -> None:
    backbone, images = loaded(spec), pictures(3, spec.input_size)
    rows = prepared(name, backbone, images, channels_last=spec.family.channels_last)(images)
    assert (rows.dtype, rows.shape) == (np.float32, (3, backbone.feature_dim))
    assert engines.agreement(rows, plain(backbone, images)) < 1e-4


@pytest.mark.parametrize("spec", TINY, ids=lambda spec: spec.name)
def test_tokens_by_openvino(spec: BackboneSpec) -> None:
    net, images = Tokens(loaded(spec)), pictures(3, spec.input_size)
    assert engines.agreement(prepared("openvino", net, images)(images), plain(net, images)) < 1e-4


@pytest.mark.parametrize("family", ["mobilenetv3", "swin"])
def test_tokens_by_onnxruntime(family: str) -> None:
    net, images = Tokens(loaded(BY_FAMILY[family])), pictures(2, BY_FAMILY[family].input_size)
    assert engines.agreement(prepared("onnxruntime", net, images)(images), plain(net, images)) < 1e-4


def test_compiled() -> None:
    """On a small network, as compiling takes long."""
    net, images = small(), pictures(4)
    engine = prepared("compile", net, images)
    assert engines.agreement(engine(images[:3]), plain(net, images[:3])) < 1e-4
    assert engine.name == "compile"


@quick
@pytest.mark.parametrize("family", ["mobilenetv3", "vit"])
def test_bits_do_not_depend_on_how_many_pictures_came_along(name: str, family: str) -> None:
    spec = BY_FAMILY[family]
    images = pictures(5, spec.input_size)
    engine = prepared(name, loaded(spec), images)
    full = engine(images)
    for count in range(1, 5):
        assert np.array_equal(engine(images[:count]), full[:count])
    with pytest.raises(ValueError, match="6 samples for an engine of batches of 5"):
        engine(pictures(6, spec.input_size))
    with pytest.raises(ValueError, match="0 samples"):
        engine(images[:0])


@quick
def test_rows_outlive_the_next_call(name: str) -> None:
    images = pictures(2)
    engine = prepared(name, small(), images)
    rows = engine(images)
    before = rows.copy()
    engine(pictures(2, seed=1))
    assert np.array_equal(rows, before)


@converters
def test_a_converted_network_is_read_again(name: str, tmp_path: Path) -> None:
    net, images = small(), pictures(2)
    first = prepared(name, net, images, tmp_path)(images)
    net[0].weight.data.zero_()
    assert np.array_equal(prepared(name, net, images, tmp_path)(images), first)
    other_size = pictures(2, 24)
    assert engines.agreement(prepared(name, net, other_size, tmp_path)(other_size), plain(net, other_size)) < 1e-5


@converters
@pytest.mark.parametrize("harm", ["truncated", "removed"])
def test_a_damaged_one_is_converted_again(name: str, harm: str, tmp_path: Path) -> None:
    net, images = small(), pictures(2)
    prepared(name, net, images, tmp_path)
    net[0].weight.data.mul_(2)
    file = next(tmp_path.glob("*/model.*"))
    file.write_bytes(file.read_bytes()[:-9]) if harm == "truncated" else file.unlink()
    assert engines.agreement(prepared(name, net, images, tmp_path)(images), plain(net, images)) < 1e-5
    assert len(list(tmp_path.glob(f"{name}*"))) == 1


@quick
def test_the_network_is_left_as_it_was_and_can_be_trained(name: str) -> None:
    spec = BY_FAMILY["efficientnet"]
    net, images = loaded(spec).train(), pictures(2, spec.input_size)
    before = bytes_of(net)
    prepared(name, net, images, channels_last=True)(images)
    assert bytes_of(net) == before
    assert all(module.training for module in net.modules())
    net(images).square().mean().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("used_before", [False, True])
def test_what_a_network_keeps_is_not_made_of_inference_tensors(used_before: bool) -> None:
    net, images = Keeping(), pictures(2)
    if used_before:
        net(images)
    rows = prepared("torch", net, images)(images)
    assert engines.agreement(rows, 2 * images.mean((2, 3)).numpy()) < 1e-6
    net(images).sum().backward()


@converters
def test_converted_weights_do_not_follow_the_network(name: str) -> None:
    net, images = small(), pictures(2)
    engine = prepared(name, net, images)
    before = engine(images)
    net[0].weight.data.zero_()
    assert np.array_equal(engine(images), before)


def test_lower_precision() -> None:
    net, images = small(), pictures(4)
    rows = prepared("torch", net, images, precision="bf16")(images)
    assert rows.dtype == np.float32
    assert 1e-4 < engines.agreement(rows, plain(net, images)) < engines.TOLERANCE["bf16"]


@pytest.mark.skipif(not has_bf16(), reason="needs a processor that multiplies in bf16")
def test_openvino_in_bf16_rounds_as_torch_does() -> None:
    """As much, not alike: what it gives is neither fp32 nor wrong."""
    net, images = small(), pictures(4)
    reference = plain(net, images)
    rows = prepared("openvino", net, images, precision="bf16")(images)
    assert (
        1e-4
        < engines.agreement(rows, reference)
        < 4 * engines.agreement(prepared("torch", net, images, precision="bf16")(images), reference)
    )
    assert engines.agreement(prepared("openvino", net, images)(images), reference) < 1e-5


def test_versions_name_the_library_and_the_precision() -> None:
    net, images = small(), pictures(2)
    assert prepared("torch", net, images).version == f"torch {torch.__version__}"
    assert prepared("torch", net, images, precision="bf16").version == f"torch {torch.__version__} bf16"
    assert prepared("openvino", net, images).version.startswith("OpenVINO 20")


def test_agreement_by_hand() -> None:
    reference = np.array([[[3.0, 4.0]], [[0.0, 1.0]]])
    assert engines.agreement(reference + np.array([[[0.0, 0.5]], [[0.0, 0.0]]]), reference) == pytest.approx(0.1)
    assert engines.agreement(reference, reference) == 0
    assert engines.agreement(np.full((2, 1, 2), np.nan), reference) == np.inf
    assert engines.agreement(reference[:1], reference) == np.inf
    assert engines.agreement(np.ones((1, 2)), np.zeros((1, 2))) == np.inf
    assert engines.agreement(np.zeros((1, 2)), np.zeros((1, 2))) == 0


def test_another_network_does_not_agree() -> None:
    images = pictures(4)
    assert engines.agreement(prepared("openvino", small(1), images)(images), plain(small(0), images)) > 0.1
