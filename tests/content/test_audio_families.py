"""Every curated network for audio clips, built without memory, against the regular expressions and the card of its family."""

import re
from dataclasses import replace

import pytest
from torch import nn

from zoo import content, registry
from zoo.backbones import networks, stages
from zoo.backbones.audio_networks import FORMS
from zoo.registry import BackboneSpec, Family
from zoo.types import Kind

FAMILIES = [family for family in registry.families().values() if family.kind is Kind.AUDIO]
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
    depth = "encoder_layers" if spec.arguments["model_type"] == "whisper" else "num_hidden_layers"
    return networks.build_empty(replace(spec, arguments={**spec.arguments, depth: LAYERS}))


def test_there_are_many() -> None:
    assert len(FAMILIES) >= 7
    assert len(MEMBERS) >= 14
    named = {"wav2vec2-base", "wav2vec2-xls-r-300m", "hubert-base-ls960", "distilhubert", "wavlm-base-plus", "whisper-tiny"}
    assert named <= {spec.name for spec in MEMBERS}


@each_member
def test_the_expressions_of_the_family(spec: BackboneSpec) -> None:
    net, family = _shallow(spec), _family(spec)
    names = [name for name, _ in net.named_parameters()]
    found = stages.family_stages(family, names)
    assert sorted(name for stage in found for name in stage.parameters) == sorted(names)
    first = ["embeddings"] if family.name in ("whisper", "ast") else ["convolutions", "projection"]
    assert [stage.name for stage in found] == [*first, "layer0", "layer1"]
    for pattern in filter(None, (*family.stages.values(), family.tail)):
        assert any(re.match(pattern, name) for name in names), pattern
    norms = {
        name
        for name, module in net.named_modules()
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm)) and list(module.parameters())
    }
    assert set(stages.norm_modules(net, family)) == norms


@each_member
def test_lora_adapts_the_linear_layers_of_attention_and_mlp_and_no_other(spec: BackboneSpec) -> None:
    net, family = _shallow(spec), _family(spec)
    targets = {name: module for name, module in net.named_modules() if re.fullmatch(family.lora or "", name)}
    assert len(targets) == 6 * LAYERS
    assert all(type(module) is nn.Linear for module in targets.values())
    assert not [name for name in targets if re.search(family.lora_never, name)]
    others = {name for name, module in net.named_modules() if not list(module.children()) and list(module.parameters())} - set(
        targets
    )
    assert [name for name in sorted(others) if not re.search(family.lora_never, name)] == []


@each_member
def test_the_figures_are_true(spec: BackboneSpec) -> None:
    net = networks.build_empty(spec)
    assert spec.params_m == pytest.approx(sum(tensor.numel() for tensor in net.parameters()) / 1e6, abs=0.006)
    assert spec.feature_dim == net.config.hidden_size
    assert not any("masked_spec_embed" in name for name, _ in net.named_parameters())


@each_member
def test_the_licence_is_stated_with_its_source(spec: BackboneSpec) -> None:
    assert re.fullmatch(r"[a-z0-9.-]+", spec.licence)
    assert spec.licence_source
    assert spec.pretraining in ("supervised", "self-supervised")
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", spec.id)
    assert spec.id.rpartition("/")[2].startswith(spec.name)


@each_family
def test_what_a_family_says(family: Family) -> None:
    assert (family.loader, family.head_slot) == ("transformers", None)
    assert family.pooling == ("cls" if family.name == "ast" else "mean")


@each_member
def test_the_card_says_how_long_a_recording_may_be(spec: BackboneSpec) -> None:
    text = content.files("model_cards", ".md")[_family(spec).name].read_text(encoding="utf-8")
    length = {"whisper": "30 s", "ast-finetuned-audioset": "10.24 s", "ast-finetuned-speech-commands": "1.28 s"}
    seconds = length.get(spec.name, length.get(_family(spec).name, "10 s"))
    assert f"| `{spec.name}` | `{spec.id}` | {spec.params_m:g} | {spec.feature_dim} | {seconds} | {spec.licence} |" in text


@pytest.mark.parametrize("model_type", FORMS)
def test_families_are_told_by_model_type(model_type: str) -> None:
    found = registry.family_of("transformers", model_type)
    assert found is not None
    assert found.kind is Kind.AUDIO
    net = networks.build_empty(BackboneSpec("any", "any/any", None, loader="transformers", arguments={"model_type": model_type}))
    stages.family_stages(found, [name for name, _ in net.named_parameters()])
