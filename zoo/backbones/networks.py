"""Networks of transformers: built without a pooler or a head, weights loaded strictly, from local files alone; and pooling."""

from __future__ import annotations

import contextlib
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils import logging

from zoo import registry, upstream
from zoo.backbones import generator, stages
from zoo.backbones import weights as sources
from zoo.backbones.backbone import Stage, WeightsOrigin
from zoo.errors import ConfigError, UnknownName, WeightsError, reported
from zoo.registry import BackboneSpec
from zoo.types import Kind

_HEADS = re.compile(
    r"(\w+\.){0,2}(pooler|cls|lm_head|classifier|score|head|decoder|predictions|sop_classifier|qa_outputs|pre_classifier|position_ids|"
    r"vocab_(transform|layer_norm|projector)|(lm|mask|discriminator|generator)_predictions|generator_lm_head|masked_spec_embed|"
    r"quantizer|project_(q|hid)|projector|layer_weights|proj_out)(\..*)?"
)
"""Tensors that a file may have and the backbone has not: heads, poolers, what served pretraining alone, and older files' positions."""
_ENCODERS = {"whisper": WhisperEncoder}
"""Where the encoder of a network with a decoder is taken alone, by `model_type`."""
_SETTLED = {"use_cache": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0, "encoder_layerdrop": 0.0}
"""What a configuration may not choose: what a decoder keeps for its next token, and what masks frames or leaves layers out in training,
by numpy's global generator, so that some tensors would have no gradient."""
_ASIDE = ("architectures", "auto_map", "dtype", "id2label", "label2id", "torch_dtype", "transformers_version", "_name_or_path")
"""Keys of a configuration that do not say what the network is."""


@dataclass(frozen=True)
class Network:
    """A network of transformers with its weights, and what is known of it."""

    spec: BackboneSpec
    """With its family, and its whole configuration as arguments."""
    net: nn.Module
    folder: Path | None
    """What has the files that belong to the weights; None: there is no such folder here."""
    origin: WeightsOrigin

    def __post_init__(self) -> None:
        # Whoever reads all attributes of a network, as tracers do, is else told by transformers that a loss is missing.
        self.net.loss_function = None  # type: ignore[assignment]

    def stages(self) -> list[Stage]:
        """Its stages: as the family's expressions say, else one a layer."""
        names = [name for name, _ in self.net.named_parameters()]
        return stages.family_stages(self.spec.family, names) if self.spec.family else stages.layers(self.net)

    def beside(self, name: str) -> dict[str, Any]:
        """What a file of JSON beside the weights says; nothing where there is none. Raises: WeightsError if it is damaged."""
        path = self.folder / name if self.folder else None
        return sources.read_json(path) if path and path.is_file() else {}


def open_network(spec: BackboneSpec, weights: str | None, seed: int) -> Network:
    """Build a network and fill it: with the file's tensors, or with random ones. Raises: ConfigError, UnknownName, WeightsError."""
    if weights == "random":
        spec = _described(spec, sources.configuration(spec, weights) or {})
        with generator.forked(seed):
            net = _build(spec)
        return Network(spec, net, sources.folder(spec, weights), WeightsOrigin(f"random, seed {seed}", None, "unknown"))
    found = sources.find(spec, weights)
    asked, spec = spec, _described(spec, sources.read_json(found.path.parent / sources.CONFIGURATION))
    expected = asked.arguments.get("model_type", spec.arguments["model_type"])
    if spec.arguments["model_type"] != expected:
        raise WeightsError(f"{found.source} does not fit {spec.name}: a {spec.arguments['model_type']}, expected a {expected}")
    net = _load_strictly(spec, found)
    return Network(spec, net, found.path.parent, WeightsOrigin(found.source, found.sha256, found.licence))


def build_empty(spec: BackboneSpec) -> nn.Module:
    """The network without memory (on torch's meta device), in eval mode: names and shapes only. Raises: ConfigError, UnknownName."""
    with torch.device("meta"):
        return _build(_described(spec, spec.arguments)).eval()


def _described(spec: BackboneSpec, values: Mapping[str, Any]) -> BackboneSpec:
    """`spec` with this configuration as its arguments, and the family that it tells. Raises: UnknownName, ConfigError."""
    model_type = values.get("model_type")
    if model_type is None:
        raise ConfigError(f"{spec.name}: no model_type in its configuration; expected transformers' {sources.CONFIGURATION}")
    if model_type not in CONFIG_MAPPING:
        raise UnknownName(
            "network of transformers", str(model_type), CONFIG_MAPPING, "(networks with code of their own are not loaded)"
        )
    kept = {name: value for name, value in values.items() if name not in _ASIDE}
    return replace(spec, arguments=kept, family=spec.family or registry.family_of("transformers", model_type))


def _class(spec: BackboneSpec) -> tuple[Any, Any]:
    """(class, configuration) of an encoder. Raises: ConfigError for what is not an encoder of texts, or an impossible configuration."""
    with reported(f"{spec.name} cannot be built"):
        with _quiet():
            configuration = CONFIG_MAPPING[spec.arguments["model_type"]].from_dict(dict(spec.arguments))
        network: Any = _ENCODERS.get(configuration.model_type) or MODEL_MAPPING.get(type(configuration), None)
    if network is None:
        raise ConfigError(f"{spec.name}: transformers has no plain network of the type {configuration.model_type}")
    network = network[0] if isinstance(network, (list, tuple)) else network
    if getattr(configuration, "is_encoder_decoder", False) and configuration.model_type not in _ENCODERS:
        raise ConfigError(f"{spec.name} is an encoder with a decoder ({network.__name__}); take an encoder, such as roberta-base")
    with reported(
        f"{spec.name} cannot be built"
    ):  # what stands for a network whose library is not installed raises when it is looked at
        takes_texts = "input_ids" in inspect.signature(network.forward).parameters
    if spec.kind is Kind.TEXT and not takes_texts:
        raise ConfigError(f"{spec.name} ({network.__name__}) takes no texts; its family is not known to zoo")
    for name, value in _SETTLED.items():
        if hasattr(configuration, name):
            setattr(configuration, name, value)
    return network, configuration


def _arguments(network: Any) -> dict[str, Any]:
    """Of the class's constructor: no pooler, which is mostly untrained, and the fastest exact attention that it has."""
    no_pooler = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(network.__init__).parameters else {}
    return {**no_pooler, "attn_implementation": "sdpa" if upstream.has_fused_attention(network) else "eager"}


def _build(spec: BackboneSpec) -> nn.Module:
    network, configuration = _class(spec)
    with reported(f"{spec.name} cannot be built"), _quiet():
        net = upstream.built_from(network, configuration, dtype=torch.float32, **_arguments(network))
    return net


def _load_strictly(spec: BackboneSpec, found: sources.Weights) -> nn.Module:
    """transformers' own loading renames the tensors of its older layouts; what it leaves out or makes up is refused here."""
    network, configuration = _class(spec)
    state = found.state() if configuration.model_type not in _ENCODERS else _of_encoder(found.state())
    with reported(f"{found.source} does not fit {spec.name}", WeightsError), generator.forked(), _quiet():
        net, report = network.from_pretrained(
            None,
            config=configuration,
            state_dict=state,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **_arguments(network),
        )
    shapes = sorted(report["mismatched_keys"])
    faults = [f"tensor {name!r} has shape {tuple(given)}, expected {tuple(wanted)}" for name, given, wanted in shapes]
    faults += [f"tensor {name!r} is missing" for name in sorted(report["missing_keys"])]
    faults += [f"tensor {name!r} is unknown there" for name in sorted(report["unexpected_keys"]) if not _HEADS.fullmatch(name)]
    if faults:
        more = f" ({len(faults) - 1} more do not fit)" if len(faults) > 1 else ""
        raise WeightsError(f"{found.source} does not fit {spec.name}: {faults[0]}{more}")
    loaded: nn.Module = net
    return loaded


def _of_encoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the encoder, by its own names, of a file that has the decoder too; all of a file that has not."""
    inside = {name: re.match(r"(model\.)?encoder\.", name) for name in state}
    return {name[match.end() :]: state[name] for name, match in inside.items() if match} or state


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and the reports that transformers prints while it loads; what matters of them is checked here."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            with warnings.catch_warnings():  # of a user who has forbidden the Hub's bars for good
                warnings.simplefilter("ignore")
                logging.enable_progress_bar()  # type: ignore[no-untyped-call]


POOLINGS = ("cls", "mean", "max", "last")
"""First token, mean, greatest value of each feature, last token."""


def pool(states: Tensor, present: Tensor, pooling: str) -> Tensor:
    """`[N, D]` of states `[N, T, D]` and present `[N, T] bool`, of which each row has one that is true, the first among them."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        last = present.sum(1) - 1
        return states[torch.arange(len(states), device=states.device), last]
    if pooling == "max":
        return states.masked_fill(~present.unsqueeze(-1), float("-inf")).amax(1)
    counted = present.unsqueeze(-1).to(states.dtype)
    return (states * counted).sum(1) / counted.sum(1)


def average_windows(features: Tensor, present: Tensor) -> Tensor:
    """`[B, D]` of the features `[N, D]` of all windows that exist, and present `[B, W, T] bool`: a token counts as much as any other.

    So a last window of few tokens counts little.
    """
    exists = present[:, :, 0]
    counts = present.sum(2)[exists].to(features.dtype)
    owner = exists.nonzero()[:, 0]
    sums = features.new_zeros(len(present), features.shape[1]).index_add(0, owner, features * counts.unsqueeze(1))
    return sums / present.sum((1, 2)).to(features.dtype).unsqueeze(1)
