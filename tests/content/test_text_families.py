"""Every curated encoder of texts, built without memory, against the regular expressions of its family."""

import re
from dataclasses import replace

import pytest
from torch import nn
from transformers import AutoConfig

from zoo import registry
from zoo.backbones import networks, stages
from zoo.backbones.networks import POOLINGS
from zoo.registry import BackboneSpec, Family
from zoo.types import Kind

FAMILIES = [family for family in registry.families().values() if family.kind is Kind.TEXT]
MEMBERS = [spec for spec in registry.backbones() if spec.family in FAMILIES]
LAYERS = 2
"""So many of each member are built: a deep network's have the same names, and building hundreds of modules takes seconds."""

each_member = pytest.mark.parametrize("spec", MEMBERS, ids=lambda spec: spec.name)
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def _family(spec: BackboneSpec) -> Family:
    assert spec.family is not None
    return spec.family


def _shallow(spec: BackboneSpec) -> nn.Module:
    """The network on the meta device, with two layers."""
    depth = "n_layers" if spec.arguments["model_type"] == "distilbert" else "num_hidden_layers"
    return networks.build_empty(replace(spec, arguments={**spec.arguments, depth: LAYERS}))


def _hits(pattern: str, net: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in net.named_modules() if re.fullmatch(pattern, name)}


def test_there_are_many() -> None:
    assert len(FAMILIES) >= 10
    assert len(MEMBERS) >= 20
    assert {"all-MiniLM-L6-v2", "bert-base-uncased", "distilbert-base-uncased", "roberta-base"} <= {spec.name for spec in MEMBERS}


@each_member
def test_the_expressions_of_the_family(spec: BackboneSpec) -> None:
    net, family = _shallow(spec), _family(spec)
    names = [name for name, _ in net.named_parameters()]
    found = stages.family_stages(family, names)
    assert sorted(name for stage in found for name in stage.parameters) == sorted(names)
    assert [stage.name for stage in found] == {
        "albert": ["embeddings", "group0"],
    }.get(family.name, ["embeddings", "layer0", "layer1"])
    for pattern in filter(None, (*family.stages.values(), family.tail)):
        assert any(re.match(pattern, name) for name in names), pattern
    norms = {name for name, module in net.named_modules() if isinstance(module, nn.LayerNorm)}
    assert set(stages.norm_modules(net, family)) == norms
    assert not any("pooler" in name for name in names)


@each_member
def test_lora_adapts_every_linear_layer_of_attention_and_mlp_and_no_other(spec: BackboneSpec) -> None:
    net, family = _shallow(spec), _family(spec)
    assert family.lora is not None
    targets = _hits(family.lora, net)
    layers = re.compile(next(pattern for name, pattern in family.stages.items() if name != "embeddings"))
    inside = {name for name, module in net.named_modules() if type(module) is nn.Linear and layers.match(f"{name}.")}
    assert set(targets) == inside
    assert not [name for name in targets if re.search(family.lora_never, name)]
    kept = {name for name, module in net.named_modules() if isinstance(module, (nn.Embedding, nn.LayerNorm))}
    outside = {name for name, module in net.named_modules() if isinstance(module, nn.Linear)} - inside
    assert [name for name in sorted(kept | outside) if not re.search(family.lora_never, name)] == []


@each_member
def test_the_figures_are_true(spec: BackboneSpec) -> None:
    net = networks.build_empty(spec)
    assert spec.params_m == pytest.approx(sum(tensor.numel() for tensor in net.parameters()) / 1e6, abs=0.006)
    assert spec.feature_dim == net.config.hidden_size
    assert spec.max_length is not None
    assert 128 <= spec.max_length <= net.config.max_position_embeddings


@each_member
def test_the_licence_is_stated_with_its_source(spec: BackboneSpec) -> None:
    assert re.fullmatch(r"[a-z0-9.-]+", spec.licence)
    assert spec.licence_source
    assert spec.pretraining in ("supervised", "self-supervised")
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", spec.id)
    assert spec.id.rpartition("/")[2] == spec.name
    assert spec.prefix == ("query: " if _family(spec).name == "e5" else "")


@each_family
def test_what_a_family_says(family: Family) -> None:
    assert family.loader == "transformers"
    assert family.head_slot is None
    assert family.pooling in POOLINGS
    assert family.pooling == ("cls" if family.name == "bge" else "mean")


@pytest.mark.parametrize(
    ("model_type", "family"),
    [("bert", "bert"), ("camembert", "roberta"), ("xlm-roberta", "xlm-roberta"), ("deberta", None), ("deberta-v2", "deberta-v2")],
)
def test_families_are_told_by_model_type(model_type: str, family: str | None) -> None:
    found = registry.family_of("transformers", model_type)
    assert (found.name if found else None) == family
    if found:
        arguments = {**AutoConfig.for_model(model_type).to_dict(), "num_hidden_layers": LAYERS, "pad_token_id": 1}
        net = networks.build_empty(BackboneSpec("any", "any/any", None, loader="transformers", arguments=arguments))
        stages.family_stages(found, [name for name, _ in net.named_parameters()])
    assert registry.family_of("timm", model_type) is None
