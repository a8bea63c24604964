"""Backbones small enough that a forward pass takes milliseconds: one of each family, for tests, with random weights.

    from tiny import TINY, TINY_TEXT, text_folder
    backbone = zoo.backbones.load(TINY[0], "random")
    backbone = zoo.backbones.load(TINY_TEXT[0], str(text_folder(tmp_path, TINY_TEXT[0])))  # with a tokenizer

Each has dropout and drop-path in it, so that a part which should be inert and is not shows; the
convolutional ones have batch-norm (ConvNeXt aside).
None is registered: `registry.register_backbone(spec)` makes one available by name, in a process that does not mind.
"""

import json
from pathlib import Path
from typing import Any

from zoo import registry
from zoo.registry import BackboneSpec


def _tiny(family: str, identity: str, size: int, **arguments: Any) -> BackboneSpec:
    return BackboneSpec(
        name=f"tiny_{family}",
        id=identity,
        family=registry.families()[family],
        input_size=size,
        arguments={"drop_path_rate": 0.2, **arguments},
    )


TINY: list[BackboneSpec] = [
    _tiny("resnet", "resnet18.a1_in1k", 32, layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), drop_rate=0.1),
    _tiny("efficientnet", "test_efficientnet.r160_in1k", 32, drop_rate=0.1),
    _tiny("mobilenetv3", "mobilenetv3_small_050.lamb_in1k", 64, drop_rate=0.1),
    _tiny("convnext", "convnext_atto.d2_in1k", 32, depths=(1, 1, 2, 1), dims=(16, 24, 32, 40), drop_rate=0.1),
    _tiny("vit", "test_vit.r160_in1k", 32, depth=3, proj_drop_rate=0.1),
    _tiny("dinov2", "vit_small_patch14_dinov2.lvd142m", 28, embed_dim=48, depth=3, num_heads=3, proj_drop_rate=0.1),
    _tiny(
        "swin",
        "swin_tiny_patch4_window7_224.ms_in1k",
        32,
        embed_dim=16,
        depths=(2, 2),
        num_heads=(1, 2),
        window_size=4,
        proj_drop_rate=0.1,
    ),
]
"""One a family: resnet, efficientnet, mobilenetv3, convnext, vit, dinov2, swin."""

BY_FAMILY: dict[str, BackboneSpec] = {spec.family.name: spec for spec in TINY if spec.family}
"""The same by family."""


def _tiny_text(family: str, model_type: str, **arguments: Any) -> BackboneSpec:
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    return BackboneSpec(
        name=f"tiny_{family}",
        id=f"tiny/{family}",
        family=registry.families()[family],
        loader="transformers",
        arguments={
            "model_type": model_type,
            "vocab_size": 256,
            "max_position_embeddings": 64,
            "pad_token_id": 1,
            **sizes,
            **arguments,
        },
    )


_ROBERTA = {"max_position_embeddings": 66, "type_vocab_size": 1}
_DEBERTA = {
    "type_vocab_size": 0,
    "relative_attention": True,
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
}
_MODERNBERT = {
    "eos_token_id": 3,
    "bos_token_id": 2,
    "cls_token_id": 2,
    "sep_token_id": 3,
    "local_attention": 16,
    "attention_dropout": 0.1,
    "embedding_dropout": 0.1,
    "mlp_dropout": 0.1,
}
_ALBERT = {"embedding_size": 16, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}

TINY_TEXT: list[BackboneSpec] = [
    _tiny_text("bert", "bert"),
    _tiny_text("roberta", "roberta", **_ROBERTA),
    _tiny_text("distilbert", "distilbert"),
    _tiny_text("deberta-v2", "deberta-v2", **_DEBERTA),
    _tiny_text("modernbert", "modernbert", **_MODERNBERT),
    _tiny_text("albert", "albert", **_ALBERT),
    _tiny_text("mpnet", "mpnet", max_position_embeddings=66),
    _tiny_text("electra", "electra", embedding_size=16),
]
"""One each of bert, roberta, distilbert, deberta-v2, modernbert, albert, mpnet, electra: 3 layers, width 32, at most 64 tokens."""

_TEXT = """
the a of and to in is was it that for on with as his they be at one have this from or had by not word but what some we can
out other were all there when up use your how said an each she which do their time if will way about many then them write
would like so these her long make thing see him two has look more day could go come did number sound no most people my over
know water than call first who may down side been now find good bad film story great poor
"""
WORDS = _TEXT.split()
"""What the tiny tokenizer knows as whole words; others it spells, letter by letter."""


def text_folder(folder: Path, spec: BackboneSpec, seed: int = 0) -> Path:
    """A tiny backbone of texts as it is published: `config.json`, `model.safetensors` and a tokenizer. Gives its folder."""
    from safetensors.torch import save_file

    from zoo import backbones

    place = folder / spec.name
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.json").write_text(json.dumps(dict(spec.arguments)))
    save_file(backbones.load(spec, "random", seed=seed).net.state_dict(), place / "model.safetensors")
    tokenizer_folder(place)
    return place


def tokenizer_folder(place: Path) -> Path:
    """Write a WordPiece tokenizer of 256 entries at most: `[PAD]` is 1, `[CLS]` 2, `[SEP]` 3."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    entries = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", ".", ",", *letters, *(f"##{letter}" for letter in letters), *WORDS]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(place / "tokenizer.json"))
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    values = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 10**30, "model_input_names": inputs, **special}
    (place / "tokenizer_config.json").write_text(json.dumps(values))
    return place
