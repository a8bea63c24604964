"""A member of every family of every kind, and of none, trains under every strategy by the recipe that it gets."""

import csv
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from every_strategy import STRATEGIES
from PIL import Image
from sounding import TINY_SOUND, tone, write
from tiny import TINY, TINY_TEXT, WORDS, text_folder

import zoo
from zoo import registry
from zoo.registry import BackboneSpec
from zoo.strategy import parse
from zoo.types import Kind

STRANGERS = [
    BackboneSpec("tiny_unknown", "test_vit2.r160_in1k", None, input_size=32),
    BackboneSpec("tiny_eurobert", "x/eurobert", None, loader="transformers", arguments={
        "model_type": "eurobert", "vocab_size": 256, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64, "pad_token_id": 1, "bos_token_id": 2,
        "eos_token_id": 3, "mask_token_id": 4,
    }),
]  # fmt: skip
"""Of no family that is known."""
MEMBERS = {spec.name: spec for spec in (*TINY, *TINY_TEXT, *TINY_SOUND.values(), *STRANGERS)}
PAIRS = [(name, strategy) for name in MEMBERS for strategy in STRATEGIES]
SAMPLE = [
    *random.Random(7).sample(PAIRS, 10),
    ("tiny_eurobert", "partial:1"),
    ("tiny_eurobert", "norm-only"),
    ("tiny_wavlm", "gradual:0.5"),
]


def samples(kind: Kind, folder: Path) -> Path:
    """Twelve samples of two classes."""
    if kind is Kind.TEXT:
        path = folder / "texts.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("text", "label"))
            rows.writerows((f"{WORDS[number]} {'good' if number % 2 else 'bad'} film", "ab"[number % 2]) for number in range(12))
        return path
    for number in range(12):
        place = folder / "samples" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        if kind is Kind.AUDIO:
            write(place / f"{number}.wav", tone(200 + 50 * number, 0.5))
        else:
            values = np.random.default_rng(number).integers(0, 255, (40, 40, 3))
            Image.fromarray(values.astype("uint8")).save(place / f"{number}.png")
    return folder / "samples"


def check(name: str, strategy: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = MEMBERS[name]
    monkeypatch.setitem(registry._backbones, name, spec)  # as register_backbone does, for this test alone
    loaded = str(text_folder(folder, spec)) if spec.kind is Kind.TEXT else "random"
    targets = {"lora_targets": r".*(q_proj|attn\.qkv)"} if parse(strategy).adapter and spec.family is None else {}
    no_biases = strategy == "bias-only" and name in ("tiny_modernbert", "tiny_eurobert")
    options = {"epochs": 6 if strategy.startswith("gradual") else 1, "batch_size": 8, "engine": "torch", "num_workers": 0}
    with warnings.catch_warnings():
        if no_biases:
            with pytest.raises(zoo.ConfigError, match="has no biases"):
                zoo.finetune(name, data=samples(spec.kind, folder), weights=loaded, strategy=strategy, **options)
            return
        run = zoo.finetune(
            name, data=samples(spec.kind, folder), weights=loaded, strategy=strategy, tensorboard=False, out=str(folder / "run"),
            cache="off", **options, **targets,
        )  # fmt: skip
    assert (run.best / "config.json").is_file()


@pytest.mark.parametrize(("name", "strategy"), SAMPLE)
def test_a_sample(name: str, strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(name, strategy, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "strategy"), PAIRS)
def test_all(name: str, strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(name, strategy, tmp_path, monkeypatch)
