"""Building timm's networks and loading weights into them, strictly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from tiny import BY_FAMILY, TINY
from torch import Tensor, nn

from zoo import backbones, registry
from zoo.backbones import timm_networks as loader
from zoo.errors import ConfigError, UnknownName, WeightsError
from zoo.registry import BackboneSpec

each = pytest.mark.parametrize("spec", TINY, ids=lambda spec: spec.name)


def classified(spec: BackboneSpec, classes: int = 7) -> nn.Module:
    """The plain timm network of a tiny backbone, with a classifier."""
    size = {"img_size": spec.input_size} if timm.models.get_pretrained_cfg(spec.id).fixed_input_size else {}
    torch.manual_seed(1)
    return timm.create_model(spec.id, num_classes=classes, **size, **spec.arguments).eval()


def picture(spec: BackboneSpec, count: int = 2) -> Tensor:
    size = spec.input_size
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3))


@each
def test_a_file_with_a_classifier_gives_the_features_of_the_plain_network(spec: BackboneSpec, tmp_path: Path) -> None:
    net = classified(spec)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    backbone = backbones.load(spec, str(tmp_path / "w.safetensors"))
    images = picture(spec)
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(images), pre_logits=True)
        assert torch.equal(backbone(images), expected)
    assert backbone.origin.source == f"file {tmp_path / 'w.safetensors'}"
    assert backbone.origin.licence == "unknown"
    assert not backbone.training
    assert "state_dict" not in backbone.net.pretrained_cfg


@each
def test_a_file_without_classifier_loads_too(spec: BackboneSpec, tmp_path: Path) -> None:
    first = backbones.load(spec, "random", seed=4)
    save_file(first.net.state_dict(), tmp_path / "w.safetensors")
    second = backbones.load(spec, str(tmp_path / "w.safetensors"))
    assert second.base_sha256 == first.base_sha256


@each
def test_what_a_backbone_says_of_itself(spec: BackboneSpec) -> None:
    backbone = backbones.load(spec, "random")
    images = picture(spec)
    with torch.no_grad():
        features, tokens = backbone(images), backbone.tokens(images)
    assert features.shape == (2, backbone.feature_dim)
    assert tokens.shape[::2] == (2, backbone.token_dim)
    assert tokens.ndim == 3
    listed = [name for stage in backbone.stages for name in stage.parameters]
    assert sorted(listed) == sorted(name for name, _ in backbone.net.named_parameters())
    assert len(backbone.stages) >= 3
    assert backbone.norms
    assert backbone.preprocess.size == spec.input_size
    assert all(tensor.dtype == torch.float32 for tensor in backbone.parameters())


@pytest.mark.parametrize("family", ["convnext", "swin"])
def test_tokens_are_the_positions_of_the_map(family: str) -> None:
    backbone = backbones.load(BY_FAMILY[family], "random")
    with torch.no_grad():
        images = picture(backbone.spec)
        tokens = backbone.tokens(images)
        layers = backbone.net.forward_features(images)
    by_position = layers if family == "swin" else layers.permute(0, 2, 3, 1)
    assert torch.equal(tokens, by_position.reshape(2, -1, backbone.token_dim))


def test_random_weights_are_a_function_of_the_seed_and_of_nothing_else() -> None:
    spec = BY_FAMILY["vit"]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = backbones.load(spec, "random", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again = backbones.load(spec, "random", seed=1)
    other = backbones.load(spec, "random", seed=2)
    assert one.base_sha256 == again.base_sha256 != other.base_sha256
    assert one.origin.source == "random, seed 1"
    assert one.origin.sha256 is None


def test_loading_a_file_leaves_the_random_state_alone(tmp_path: Path) -> None:
    spec = BY_FAMILY["resnet"]
    save_file(classified(spec).state_dict(), tmp_path / "w.safetensors")
    before = torch.get_rng_state()
    backbones.load(spec, str(tmp_path / "w.safetensors"))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_digest_sees_values_names_and_buffers() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    first = loader.digest(net)
    net[1].running_mean[0] = 1.0
    second = loader.digest(net)
    with torch.no_grad():
        net[0].bias[0] = 9.0
    assert len({first, second, loader.digest(net), loader.digest(nn.Sequential(net[1], net[0]))}) == 4


def rename(state: dict[str, Tensor]) -> None:
    state["layer1.0.konv1.weight"] = state.pop("layer1.0.conv1.weight")


def drop(state: dict[str, Tensor]) -> None:
    del state["layer2.0.bn1.running_mean"]


def add(state: dict[str, Tensor]) -> None:
    state["layer9.weight"] = torch.zeros(2)


def reshape(state: dict[str, Tensor]) -> None:
    state["layer3.0.conv1.weight"] = torch.zeros(3, 3)


def thin_head(state: dict[str, Tensor]) -> None:
    state["fc.bias"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (rename, "tensor 'layer1.0.conv1.weight' is missing (1 more do not fit)"),
        (drop, "tensor 'layer2.0.bn1.running_mean' is missing"),
        (add, "tensor 'layer9.weight' is unknown there"),
        (reshape, "tensor 'layer3.0.conv1.weight' has shape [3, 3], expected [32, 24, 3, 3]"),
        (thin_head, "tensor 'fc.bias' has shape [3], expected [7]"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_does_not_fit_is_refused_by_the_tensor(
    damage: Callable[[dict[str, Tensor]], None], complaint: str, tmp_path: Path
) -> None:
    spec = BY_FAMILY["resnet"]
    state = classified(spec).state_dict()
    damage(state)
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    with pytest.raises(WeightsError) as caught:
        backbones.load(spec, str(path))
    assert str(caught.value) == f"file {path} does not fit tiny_resnet: {complaint}"


@each
def test_another_networks_file_is_refused_in_one_line(spec: BackboneSpec, tmp_path: Path) -> None:
    other = BY_FAMILY["resnet"] if spec.name != "tiny_resnet" else BY_FAMILY["vit"]
    save_file(classified(other).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=f"does not fit {spec.name}: ") as caught:
        backbones.load(spec, str(tmp_path / "w.safetensors"))
    assert "\n" not in str(caught.value)


def test_where_timm_is_not_strict_zoo_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """timm passes over missing tensors of ConvNeXt's masked-autoencoder weights."""
    spec = BackboneSpec(
        "tiny", "convnextv2_atto.fcmae", registry.families()["convnext"], arguments=BY_FAMILY["convnext"].arguments
    )
    state = backbones.load(spec, "random").net.state_dict()
    del state["head.norm.weight"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="head.norm.weight"):
        backbones.load(spec, str(tmp_path / "w.safetensors"))
    assert not caplog.records


def test_torchvisions_file_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    other = torchvision.models.resnet18(weights=None).eval()
    torch.save(other.state_dict(), tmp_path / "resnet18.pth")
    backbone = backbones.load(registry.resolve("resnet18"), str(tmp_path / "resnet18.pth"))
    other.fc = nn.Identity()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), other(images))


def test_position_tables_are_resampled_for_another_size(tmp_path: Path) -> None:
    spec = BY_FAMILY["vit"]
    save_file(classified(spec).state_dict(), tmp_path / "w.safetensors")
    backbone = backbones.load(spec, str(tmp_path / "w.safetensors"), image_size=64)
    assert backbone.net.pos_embed.shape == (1, 17, 64)
    assert backbone(torch.rand(1, 3, 64, 64)).shape == (1, 64)
    assert backbone.preprocess.size == 64


@pytest.mark.parametrize(
    ("family", "size", "complaint"),
    [
        ("vit", 40, "image_size 40 is not a multiple of 16, the side of its patches; try 32 or 48"),
        ("dinov2", 5, "image_size 5 is not a multiple of 14, the side of its patches; try 14 or 28"),
        ("swin", 30, "image_size 30 is not a multiple of 4"),
        ("convnext", 4, "tiny_convnext cannot take images of 4 x 4"),
        ("resnet", 0, "image_size is 0; expected 1 or more pixels"),
        ("resnet", -8, "image_size is -8; expected 1 or more pixels"),
    ],
)
def test_an_impossible_size_is_refused(family: str, size: int, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        backbones.load(BY_FAMILY[family], "random", image_size=size)
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_drop_path_acts_in_train_mode_only() -> None:
    spec = replace(BY_FAMILY["vit"], arguments={"depth": 3})
    images = picture(spec)
    for rate, varies in ((0.0, False), (0.9, True)):
        backbone = backbones.load(spec, "random", drop_path=rate)
        assert torch.equal(backbone(images), backbone(images))
        backbone.train()
        assert torch.equal(backbone(images), backbone(images)) is not varies


def test_a_network_without_drop_path_says_so() -> None:
    with pytest.raises(ConfigError, match=r"timm/vgg11\.\w+ has no drop-path: leave drop_path at 0"):
        backbones.load(registry.resolve("timm/vgg11"), "random", drop_path=0.1)


def test_an_argument_that_timm_does_not_know_is_named() -> None:
    with pytest.raises(ConfigError, match="tiny_vit cannot be built with .*no_such_thing"):
        backbones.load(replace(BY_FAMILY["vit"], arguments={"no_such_thing": 1}), "random")


def test_a_feature_width_that_is_not_so_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tiny_vit: features are \(1, 64\); expected \(1, 63\)"):
        backbones.load(replace(BY_FAMILY["vit"], feature_dim=63), "random")


def test_an_unknown_timm_name_offers_the_nearest_three() -> None:
    with pytest.raises(UnknownName) as caught:
        backbones.load(registry.resolve("timm/resnot50"), "random")
    assert str(caught.value).count("'") == 8
    assert "'resnet50'" in str(caught.value)
    with pytest.raises(UnknownName, match="did you mean 'a1_in1k'"):
        backbones.load(registry.resolve("timm/resnet18.a1_in2k"), "random")


def test_a_timm_name_without_tag_gets_the_default_one() -> None:
    spec = loader.tagged(registry.resolve("timm/resnet18"))
    assert (spec.name, spec.id) == ("timm/resnet18.a1_in1k", "resnet18.a1_in1k")
    assert registry.resolve(spec.name) == spec
    assert loader.tagged(registry.resolve("timm/test_maxvit")).id == "test_maxvit"


def test_preprocessing_is_that_of_the_pretrained_weights() -> None:
    backbone = backbones.load(replace(registry.resolve("tf_efficientnet_lite0"), arguments={}), "random", image_size=96)
    ours = backbone.preprocess
    assert (ours.mean, ours.std, ours.interpolation, ours.crop_fraction) == ((0.5,) * 3, (0.5,) * 3, "bicubic", 0.875)
    assert ours.size == 96
