"""Every network that timm and transformers have: planned by each strategy as it says, or refused in one line of zoo's."""

import random
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import timm
import torch
from every_strategy import STRATEGIES
from timm.models._registry import _model_to_module
from torch import nn
from transformers import CONFIG_MAPPING

from zoo import backbones, registry
from zoo.adaptation.model import AdaptedModel
from zoo.backbones import networks
from zoo.backbones import timm_networks as loader
from zoo.backbones.backbone import Backbone, WeightsOrigin
from zoo.errors import ZooError
from zoo.registry import BackboneSpec
from zoo.strategy import parse

Given = TypeVar("Given")

LONGEST = 600
LARGE = 60_000_000
"""Parameters above which a network of transformers is built without memory alone."""
NOT_A_NORM = (nn.Embedding, nn.Linear, nn.Conv1d, nn.Conv2d, nn.MultiheadAttention)

TIMM_PECULIAR = """
    rdnet_tiny crossvit_9_240 coat_tiny efficientvim_m1 pit_ti_224 pit_xs_distilled_224 poolformer_s12 convformer_s18
    csatv2 nest_tiny dm_nfnet_f0 davit_tiny vit_small_patch16_rope_mixed_224 resnetv2_18 gemma4_vit_167m_enc
    resmlp_12_224 hrnet_w18_small maxvit_nano_rw_256
""".split()  # noqa: SIM905 - as a list it would take a line each
TIMM_SAMPLE = random.Random(12).sample(timm.list_models(), 12)
TYPES = sorted(CONFIG_MAPPING.keys())
TYPES_PECULIAR = """
    xlnet canine rwkv roberta-prelayernorm inkling_text afmoe mamba codegen dpr xmod bros layoutlmv2 lxmert levit swin
    gpt_neo t5 clip eurobert mobilebert funnel wav2vec2-bert vits whisper higgs_audio_v2_tokenizer
""".split()  # noqa: SIM905 - as a list it would take a line each
TYPES_SAMPLE = random.Random(12).sample(TYPES, 24)
SIZES: dict[str, Any] = {
    "vocab_size": 128, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "emb_dim", "embedding_size", "word_embed_proj_dim", "attention_hidden_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_head", "n_heads", "num_heads"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "num_experts", "n_routed_experts", "num_local_experts"), 2),
    **dict.fromkeys(("intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "ffn_dim"), 64),
    **dict.fromkeys(("head_dim", "d_kv", "num_conv_pos_embeddings"), 16),
    "moe_intermediate_size": 32, "num_experts_per_tok": 1, "conv_dim": [16] * 7, "num_conv_pos_embedding_groups": 2,
    "max_source_positions": 100,
}  # fmt: skip
"""What makes most networks of transformers small; a configuration takes those that it has."""


def attempt(make: Callable[[], Given]) -> Given | None:
    """What is made, or None where zoo refuses in one line. Anything else is the test's failure."""
    try:
        return make()
    except ZooError as error:
        said = str(error)
        assert "\n" not in said
        assert 10 < len(said) < LONGEST
        return None


def check(backbone: Backbone) -> list[str]:
    """Apply every strategy; which of them have a plan."""
    planned = []
    everything = dict(backbone.net.named_parameters())
    total = sum(one.numel() for one in everything.values())
    modules = dict(backbone.net.named_modules())
    assert sorted(name for stage in backbone.stages for name in stage.parameters) == sorted(everything)
    for strategy in STRATEGIES:
        adapter = parse(strategy).adapter
        if adapter and strategy != "lora:2":  # changes the network as lora does, which is the last
            continue
        named = {"lora_targets": ".*"} if adapter and backbone.spec.family is None else {}
        model = attempt(lambda strategy=strategy, named=named: AdaptedModel.build(backbone, 3, strategy=strategy, **named))
        if model is None:
            continue
        planned.append(strategy)
        trained = [name.removeprefix("backbone.net.") for name in model.plan.tensors if not name.startswith("head.")]
        share = sum(everything[name].numel() for name in trained if name in everything) / total
        if strategy == "partial:1":
            assert 0 < share < 0.96, [stage.name for stage in backbone.stages]
        if strategy == "norm-only":
            owners = {name: modules[name.rpartition(".")[0]] for name in trained}
            assert not {name for name, module in owners.items() if isinstance(module, NOT_A_NORM)}
            assert not {name for name in trained if everything[name].numel() != max(everything[name].shape, default=1)}
        if strategy == "bias-only":
            assert not {
                name
                for name in trained
                if not name.endswith("bias") or isinstance(modules[name.rpartition(".")[0]], nn.Embedding)
            }
        if adapter:
            assert all("lora_" in name for name in trained)
    assert {"full", "linear-probe", "gradual:0.5", "lp-ft"} <= set(planned)
    return planned


def sketched(name: str) -> Backbone:
    """A backbone of timm's without memory: its names, shapes and forward pass."""
    spec = loader.tagged(registry.resolve(f"timm/{name}"))
    net = loader.build_empty(spec)
    widths = loader._widths(spec, net, None)
    return loader.TimmBackbone(spec, net, loader.input_size(spec), widths, WeightsOrigin("none", None, "unknown"))


def check_timm(name: str) -> list[str] | None:
    backbone = attempt(lambda: sketched(name))
    return None if backbone is None else check(backbone)


def small(model_type: str) -> BackboneSpec:
    """A network of this type as a user's folder describes it, as small as its configuration lets it be."""
    arguments: dict[str, Any] = {"model_type": model_type}
    try:
        default = CONFIG_MAPPING[model_type]()
    except Exception:  # some have no defaults
        default = None
    for name, value in SIZES.items():
        try:
            known = default is not None and hasattr(default, name)
            if known:
                setattr(default, name, value)
        except Exception:  # one value a layer, or none that may be chosen
            known = False
        arguments |= {name: value} if known else {}
    return BackboneSpec(f"hf/x/{model_type}", f"x/{model_type}", None, loader="transformers", arguments=arguments)


def check_transformers(model_type: str) -> list[str] | None:
    spec = small(model_type)
    empty = attempt(lambda: networks.build_empty(spec))
    if empty is None or sum(one.numel() for one in empty.parameters()) > LARGE:
        return None
    backbone = attempt(lambda: backbones.load(spec, "random"))
    return None if backbone is None else check(backbone)


@pytest.mark.parametrize("name", dict.fromkeys([*TIMM_PECULIAR, *TIMM_SAMPLE]))
def test_a_sample_of_timm(name: str) -> None:
    planned = check_timm(name)
    assert (planned is None) == name.endswith("_enc")
    if name in ("rdnet_tiny", "crossvit_9_240", "coat_tiny", "efficientvim_m1", "pit_ti_224", "poolformer_s12", "csatv2"):
        assert planned is not None
        assert "partial:1" in planned


@pytest.mark.parametrize("model_type", dict.fromkeys([*TYPES_PECULIAR, *TYPES_SAMPLE]))
def test_a_sample_of_transformers(model_type: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of configurations whose defaults do not fit each other
        planned = check_transformers(model_type)
    if model_type in ("roberta-prelayernorm", "inkling_text", "rwkv", "mobilebert", "eurobert", "xlnet"):
        assert planned is not None


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_all_of_timm() -> None:
    outcomes = {name: check_timm(name) for name in timm.list_models()}
    assert len(outcomes) > 1000
    assert {_model_to_module[name] for name, planned in outcomes.items() if planned is None} <= {
        "deepseek_vit", "gemma4_vit", "qwen3_vit", "vision_transformer", "naflexvit", "mobilenetv5", "hieradet_sam2",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_all_of_transformers() -> None:
    outcomes = {model_type: check_transformers(model_type) for model_type in TYPES}
    assert sum(planned is not None for planned in outcomes.values()) > 100


def test_nothing_of_torch_is_left_on_the_meta_device() -> None:
    attempt(lambda: sketched("test_vit"))
    assert torch.empty(1).device.type == "cpu"
