"""Backbones from transformers: its encoders of texts, with their tokenizers; those of audio clips are built in `audio_networks`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from zoo.backbones import backbone, stages
from zoo.backbones.audio_networks import audio_backbone
from zoo.backbones.backbone import TRUNCATIONS, Backbone
from zoo.backbones.digest import digest
from zoo.backbones.networks import POOLINGS, Network, average_windows, open_network, pool
from zoo.backbones.texts import ABSENT, UNLIMITED, TextPreprocess, has_tokenizer, open_tokenizer
from zoo.errors import ConfigError, UnknownName, WeightsError, reported
from zoo.registry import BackboneSpec
from zoo.types import Kind

LONGEST = 512
"""Tokens of a text by default, where the network takes more: the cost grows, and what decides a label mostly stands early."""
SHORTEST = 8
"""The least that leaves room for text beside the special tokens of a pair."""


class TransformersBackbone(Backbone):
    """One of transformers' encoders of texts. Names of `net` are those of transformers' live modules, not of its files."""

    preprocess: TextPreprocess

    def __init__(self, loaded: Network, preprocess: TextPreprocess) -> None:
        super().__init__()
        self.spec = loaded.spec
        self.net = loaded.net
        self.stages = loaded.stages()
        self.norms = stages.norm_modules(loaded.net, loaded.spec.family)
        self.preprocess = preprocess
        self.origin = loaded.origin
        self.base_sha256 = digest(loaded.net)
        pad: Any = getattr(loaded.net.config, "pad_token_id", None)
        self._pad = int(pad) if pad in range(preprocess.vocabulary) else 0  # what stands there is masked; some have none, or -1
        self.eval()
        with reported(f"{self.spec.name} cannot take texts"), torch.no_grad():
            self.feature_dim = self.token_dim = self(preprocess.example(1)).shape[1]
        if self.spec.feature_dim not in (None, self.feature_dim):
            width = f"features are {self.feature_dim} wide, expected {self.spec.feature_dim}"
            raise WeightsError(f"{self.origin.source} does not fit {self.spec.name}: {width}")

    def forward(self, inputs: Tensor) -> Tensor:
        """Pooled features `[B, feature_dim]` of tokens `[B, W, 2, T] int32`, -1 where there is none.

        Of several windows, the mean, in which each window counts as many tokens as it has.
        """
        present = inputs[:, :, 0] != ABSENT
        windows, kept = inputs.flatten(0, 1), present.flatten(0, 1)
        if inputs.shape[1] == 1:
            return pool(self._states(windows, kept), kept, self.preprocess.pooling)
        exist = kept[:, 0]  # what a shorter text does not have is not computed
        windows, kept = windows[exist], kept[exist]
        return average_windows(pool(self._states(windows, kept), kept, self.preprocess.pooling), present)

    def tokens(self, inputs: Tensor) -> Tensor:
        """Features before pooling, `[B, T, token_dim]`, NaN where there is no token. Raises: ConfigError for several windows."""
        if inputs.shape[1] != 1:
            raise ConfigError("a head on tokens takes one window; choose truncation head, tail or head+tail")
        present = inputs[:, 0, 0] != ABSENT
        return self._states(inputs[:, 0], present).masked_fill(~present.unsqueeze(-1), float("nan"))

    def _states(self, windows: Tensor, present: Tensor) -> Tensor:
        """The last hidden states, `[N, T, D]`, of windows `[N, 2, T]`."""
        tokens, segments = windows.long().unbind(1)
        given = {"input_ids": tokens.where(present, self._pad), "attention_mask": present.long()}
        if self.preprocess.segments:
            given["token_type_ids"] = segments.clamp(min=0)
        states: Tensor = self.net(**given).last_hidden_state
        return states


def load(spec: BackboneSpec, weights: str | None, given: backbone.Options, *, drop_path: float = 0.0, seed: int = 0) -> Backbone:
    """As `zoo.backbones.load`, for transformers' networks."""
    if drop_path:
        raise ConfigError(f"{spec.name} has no drop-path: leave drop_path at 0")
    loaded = open_network(spec, weights, seed)
    backbone.check_options(loaded.spec, given)
    if loaded.spec.kind is Kind.AUDIO:
        return audio_backbone(loaded, given["max_seconds"], given["truncation"], given["pooling"])
    return _text_backbone(loaded, given["max_length"], given["truncation"], given["pooling"], given["tokenizer"])


def _text_backbone(
    loaded: Network, max_length: int | None, truncation: str, pooling: str | None, tokenizer: str | Path | None
) -> TransformersBackbone:
    """An encoder of texts with its tokenizer, if that is here, and every option settled. Raises: ConfigError, WeightsError."""
    if truncation not in TRUNCATIONS:
        raise UnknownName("truncation", truncation, TRUNCATIONS, f"(they are: {', '.join(TRUNCATIONS)})")
    pooling = pooling or _pooling(loaded)
    if pooling not in POOLINGS:
        raise UnknownName("pooling", pooling, POOLINGS, f"(they are: {', '.join(POOLINGS)})")
    net: Any = loaded.net
    vocabulary = getattr(net.config, "vocab_size", None)
    if not isinstance(vocabulary, int):
        raise ConfigError(f"{loaded.spec.name} ({type(net).__name__}) has no vocabulary of tokens; take another encoder of texts")
    opened = None
    if tokenizer is not None or has_tokenizer(loaded.folder):
        opened = open_tokenizer(Path(tokenizer or loaded.folder or ""), vocabulary)
    preprocess = TextPreprocess(
        max_length=_max_length(loaded, max_length, opened.limit if opened else None),
        truncation=truncation,
        pooling=pooling,
        vocabulary=vocabulary,
        segments=(getattr(net.config, "type_vocab_size", None) or 0) > 1
        and "token_type_ids" in inspect.signature(net.forward).parameters,
        prefix=loaded.spec.prefix,
        tokenizer_sha256=opened.sha256 if opened else None,
        tokenizer=opened,
    )
    return TransformersBackbone(loaded, preprocess)


def _max_length(loaded: Network, asked: int | None, tokenizer_limit: int | None) -> int:
    """Tokens of a window: as asked, else the backbone's own, at most what network and tokenizer take. Raises: ConfigError."""
    limits = [limit for limit in (_positions(loaded.net), tokenizer_limit) if limit is not None]
    limit = min(limits, default=UNLIMITED)
    if asked is None:
        trained = loaded.beside("sentence_bert_config.json").get("max_seq_length")
        return min(loaded.spec.max_length or trained or LONGEST, limit)
    if not SHORTEST <= asked <= limit:
        raise ConfigError(f"max_length is {asked}; {loaded.spec.name} takes {SHORTEST} to {limit} tokens")
    return asked


def _positions(net: Any) -> int | None:
    """How many tokens the network has positions for; None if it does not say. RoBERTa's table has two more rows than positions."""
    tables = (module for name, module in net.named_modules() if name.endswith("position_embeddings"))
    table = next((module for module in tables if isinstance(module, nn.Embedding)), None)
    if table is None:
        positions: int | None = getattr(net.config, "max_position_embeddings", None)
        return positions if positions is None or positions > 0 else None  # XLNet says -1
    return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)


def _pooling(loaded: Network) -> str:
    """As sentence-transformers' files beside the weights say, else the family, else the mean (the last token of a decoder)."""
    said = loaded.beside("1_Pooling/config.json")
    modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "last": "lasttoken"}
    for pooling, mode in modes.items():
        if said.get(f"pooling_mode_{mode}"):
            return pooling
    if loaded.spec.family and loaded.spec.family.pooling:
        return loaded.spec.family.pooling
    # What is trained to go on with a text, and not to fill gaps in it, only looks back.
    configuration: Any = type(loaded.net.config)
    looks_back = configuration in MODEL_FOR_CAUSAL_LM_MAPPING and configuration not in MODEL_FOR_MASKED_LM_MAPPING
    return "last" if looks_back else "mean"
