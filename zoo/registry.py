"""Names: families and their backbones, heads, recipes. Read from YAML, names of files and entry-point metadata alone.

No torch here, and no plug-in is imported until its name is used. Packages add names through the entry-point groups
`zoo.backbones` (a `BackboneSpec`), `zoo.heads` (a head factory) and `zoo.recipes` (the path of a YAML). A plug-in that is broken breaks
itself alone (`zoo.plugins`).
A program adds them with `register_backbone` and `register_head`; and functions that loading data can name, with `register_sampler`,
`register_batch_sampler`, `register_collate` and `register_worker_init`.
"""

from __future__ import annotations

import copy
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo import content, plugins
from zoo.errors import ConfigError, UnknownName
from zoo.plugins import HEADS
from zoo.strategy import Strategy
from zoo.types import Kind

LOADERS = ("timm", "transformers")

HeadFactory = Callable[[int, int], Any]
"""`(in_features, num_outputs)` to a module from `[B, in_features]` to `[B, num_outputs]`."""

SAMPLERS = ("random", "sequential", "weighted", "balanced-batch", "stratified", "length-grouped", "subset")
"""Those that zoo has, in `zoo.data.loading.samplers`."""

Function = Callable[..., Any]


@dataclass(frozen=True)
class Family:
    """How the backbones of one family are adapted: `adapters/<name>.yaml`. Names are relative to the network, without prefix."""

    name: str
    summary: str
    architectures: str | None
    """Regular expression that a timm architecture's whole name, or the `model_type` of transformers' configuration, matches if it
    belongs here; None: nothing but the members does."""
    stages: Mapping[str, str]
    """Input to output, name to a regular expression on parameter names (`re.match`). A group, as in `blocks\\.(\\d+)\\.`, makes one
    stage of each of its values, in numeric order."""
    tail: str | None
    """Parameters that join the last stage (the final norm), or None."""
    norms: str
    """Regular expression on the whole names of the normalisation modules."""
    head_slot: str | None
    """Name of the classifier in timm's network, a single Linear; None for transformers' networks, which are built without."""
    lora: str | None
    """Regular expression on the whole names of the modules that LoRA adapts; None if it cannot."""
    lora_never: str
    """Regular expression (`re.search`) on names that LoRA never adapts, whatever is asked."""
    channels_last: bool
    """Whether the network is faster in channels_last memory format (convolutional nets)."""
    loader: str = "timm"
    """The library that its networks come from: `timm` or `transformers`."""
    kind: Kind = Kind.IMAGE
    """What one sample is."""
    pooling: str | None = None
    """Of texts and audio clips: how the features of the tokens or frames become one vector (`cls`, `mean`, `max`, `last`)."""
    recipes: Mapping[str, str] = field(default_factory=dict)
    """Recipes other than those that networks for samples of this kind have by convention, by kind of strategy."""


@dataclass(frozen=True)
class BackboneSpec:
    """One named backbone."""

    name: str
    id: str
    """timm's `architecture.tag`, or the Hub's `organisation/name` of what transformers loads."""
    family: Family | None
    """None: the family is not known; stages are timm's own or those of the list that holds most of it, and LoRA needs `lora_targets`."""
    loader: str = "timm"
    """`timm` or `transformers`."""
    feature_dim: int | None = None
    """Width of the pooled features; None if it is not known before the network is built."""
    params_m: float | None = None
    """Millions of parameters without the classifier."""
    input_size: int | None = None
    """Side of the image in pixels at which zoo uses it by default."""
    max_length: int | None = None
    """Tokens of a text, special ones included, at which zoo uses it by default."""
    prefix: str = ""
    """What the network was trained to see before each text."""
    licence: str = "unknown"
    """SPDX identifier of the pretrained weights' licence, or `unknown`."""
    licence_source: str = ""
    """Where the licence is stated."""
    pretraining: str = "unknown"
    """`supervised`, `self-supervised`, ..."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the loader: of `timm.create_model`, or what transformers' configuration says (`model_type`, sizes)."""

    def __post_init__(self) -> None:
        if self.loader not in LOADERS:
            raise ConfigError(f"backbone {self.name!r}: no loader {self.loader!r}; the loaders are: {', '.join(LOADERS)}")

    @property
    def kind(self) -> Kind:
        """What one sample is. Of transformers' networks whose family is not known yet: a text."""
        if self.family:
            return self.family.kind
        return Kind.IMAGE if self.loader == "timm" else Kind.TEXT


@dataclass(frozen=True)
class Recipe:
    """Named values of options: a YAML of leaf names, or the user's own file."""

    name: str
    path: Path
    values: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """The first comment line of the file."""
        first = self.path.read_text(encoding="utf-8").partition("\n")[0]
        return first.removeprefix("#").strip()


_backbones: dict[str, BackboneSpec] = {}
_heads: dict[str, HeadFactory] = {}
_functions: dict[str, dict[str, Function]] = {"sampler": {}, "batch_sampler": {}, "collate_fn": {}, "worker_init_fn": {}}
"""By the option that names them."""


@cache
def families() -> dict[str, Family]:
    """Every family by name."""
    return {name: family for name, (family, _) in _content().items()}


def family(name: str) -> Family | None:
    """The family of this name; None without one."""
    path = content.files("adapters", ".yaml").get(name)
    return None if path is None else _family(name, path)[0]


def _content() -> dict[str, tuple[Family, dict[str, BackboneSpec]]]:
    return {name: _family(name, path) for name, path in content.files("adapters", ".yaml").items()}


@cache
def _family(name: str, path: Path) -> tuple[Family, dict[str, BackboneSpec]]:
    """A family and its members, by name."""
    values = content.read_yaml(path)
    members = values.pop("members")
    family = Family(name=name, **{**values, "kind": Kind(values.get("kind", Kind.IMAGE))})
    specs = [BackboneSpec(family=family, loader=family.loader, **member) for member in members]
    return family, {spec.name: spec for spec in specs}


def _curated(name: str) -> BackboneSpec | None:
    """A member of a family. To read all families takes half a second, so that only those are whose text has the name."""
    for family, path in content.files("adapters", ".yaml").items():
        if name in path.read_text(encoding="utf-8") and name in (members := _family(family, path)[1]):
            return members[name]
    return None


def family_of(loader: str, architecture: str) -> Family | None:
    """The family that a timm architecture, or a `model_type` of transformers, belongs to."""
    found = (one for one in families().values() if one.loader == loader and one.architectures is not None)
    return next((one for one in found if re.fullmatch(one.architectures or "", architecture)), None)


def backbones(pattern: str = "*") -> list[BackboneSpec]:
    """The curated and registered backbones whose name contains `pattern`, or matches it if it has wildcards."""
    known = {spec.name: spec for _, specs in _content().values() for spec in specs.values()}
    for plugin, spec in plugins.load_all("zoo.backbones", _not_a_spec).items():
        if known.setdefault(spec.name, spec) is not spec:
            plugins.leave_out("zoo.backbones", plugin, f"gives a backbone {spec.name!r}, a name that is taken")
    return [spec for spec in (*known.values(), *_backbones.values()) if matches(spec.name, pattern)]


def _not_a_spec(value: Any) -> str | None:
    return None if isinstance(value, BackboneSpec) else f"is a {type(value).__name__}, not a BackboneSpec"


def matches(name: str, pattern: str) -> bool:
    """Whether `name` contains `pattern`, or matches it as a whole if it has wildcards."""
    return fnmatch(name, pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*")


def resolve(name: str) -> BackboneSpec:
    """The backbone of this name; `timm/NAME` is any of timm's, its family guessed from its architecture; `hf/ORGANISATION/NAME` is
    any encoder of the Hub that transformers loads: as it is curated, or its family told by its configuration when that is read.

    Raises: UnknownName, with the nearest names. (Whether timm or the Hub has NAME is found when the network is built.)
    """
    if name.startswith("timm/"):
        identity = name.removeprefix("timm/")
        return BackboneSpec(name=name, id=identity, family=family_of("timm", identity.partition(".")[0]))
    if re.fullmatch(r"hf/[^/\s]+/[^/\s]+", name):
        identity = name.removeprefix("hf/")
        curated = next((spec for spec in backbones() if spec.loader == "transformers" and spec.id == identity), None)
        return replace(curated, name=name) if curated else BackboneSpec(name, identity, family=None, loader="transformers")
    if curated := _curated(name):
        return curated
    known = {spec.name: spec for spec in backbones()}
    if name not in known:
        hint = "(`zoo list backbones` shows all; `timm/NAME` is any of timm's, `hf/ORGANISATION/NAME` any encoder of the Hub's)"
        raise UnknownName("backbone", name, known, hint)
    return known[name]


def register_backbone(spec: BackboneSpec) -> BackboneSpec:
    """Add a backbone to those that can be named in this process. Raises: ConfigError if the name is taken."""
    if spec.name in {other.name for other in backbones()}:
        raise ConfigError(f"a backbone {spec.name!r} is registered already")
    _backbones[spec.name] = spec
    return spec


def heads(*, installed: bool = False) -> list[str]:
    """Names of every head, sorted; with `installed`, only of those that another process would know too."""
    return sorted({*HEADS.names(), *({} if installed else _heads)})


def head(name: str) -> HeadFactory:
    """The factory of this name. Raises: UnknownName, ConfigError if its plug-in cannot be imported."""
    if name not in heads():
        raise UnknownName("head", name, heads(), f"(heads: {', '.join(heads())})")
    factory: HeadFactory = _heads[name] if name in _heads else HEADS.get(name)
    return factory


def head_name(factory: HeadFactory) -> str:
    """The name under which `factory` is registered, or `custom`. Imports nothing."""
    module = getattr(factory, "__module__", "")
    own = f"{module}:{getattr(factory, '__qualname__', '')}"
    known = [name for name, place in HEADS.own().items() if place == module and HEADS.get(name) is factory]
    known += [name for name, point in HEADS.added().items() if point.value == own]
    known += [name for name, other in _heads.items() if other is factory]
    return next(iter(known), "custom")


def register_head(name: str) -> Callable[[HeadFactory], HeadFactory]:
    """Decorator: name a head factory in this process. Raises: ConfigError if the name is taken by another factory."""

    def register(factory: HeadFactory) -> HeadFactory:
        if name in heads(installed=True) or _heads.get(name, factory) is not factory:
            raise ConfigError(f"a head {name!r} is registered already")
        _heads[name] = factory
        return factory

    return register


def register_sampler(name: str) -> Callable[[Function], Function]:
    """Decorator: name a function `(samples, seed, epoch) -> order`, the indices of an epoch (any number of them, as many each epoch).

    samples: a `zoo.data.SampleSet`: its length, `targets`, `sizes`. The order is to depend on the three alone: each process asks for
        it by itself, and so does a resumed run.

    Raises: ConfigError if the name is taken.
    """
    return _register("sampler", name)


def register_batch_sampler(name: str) -> Callable[[Function], Function]:
    """Decorator: name a function `(samples, seed, epoch) -> batches`, the indices of each optimiser step of an epoch, over all processes
    (as many batches each epoch); else as `register_sampler`."""
    return _register("batch_sampler", name)


def register_collate(name: str) -> Callable[[Function], Function]:
    """Decorator: name a function `(samples) -> batch`, from a list of the tensors that the backbone's `Preprocess.prepare` gives to one
    tensor with a row for each, which `Preprocess.ready` takes. Targets are joined to it afterwards, in this order. What it draws from
    torch's generator is the same in every run. Raises: ConfigError if the name is taken."""
    return _register("collate_fn", name)


def register_worker_init(name: str) -> Callable[[Function], Function]:
    """Decorator: name a function `(number) -> None` that each process that reads runs first. Raises: ConfigError if the name is taken."""
    return _register("worker_init_fn", name)


def _register(option: str, name: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        taken = SAMPLERS if option == "sampler" else ()
        if name in taken or _functions[option].get(name, function) is not function:
            raise ConfigError(f"a {option} {name!r} is registered already")
        if ":" in name:
            raise ConfigError(f"{option} {name!r}: a name has no colon, which parts a module from its function")
        _functions[option][name] = function
        return function

    return register


def only_here(option: str, name: str) -> bool:
    """Whether `name` is registered in this process, and no other would know it."""
    return name in _functions[option]


def function(option: str, name: str) -> Function:
    """What `sampler`, `batch_sampler`, `collate_fn` or `worker_init_fn` names: a registered function, or `module:function`.

    Raises: UnknownName, with the nearest; ConfigError if there is no such module or function.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        known = [*_functions[option], *(SAMPLERS if option == "sampler" else ())]
        if name not in _functions[option]:
            raise UnknownName(
                option, name, known, f"(there are: {', '.join(known) or 'none registered'}; or give module:function)"
            )
        return _functions[option][name]
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # whatever the module raises
        raise ConfigError(f"{option} {name}: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    if not callable(found):
        raise ConfigError(f"{option} {name}: a {type(found).__name__}; expected a function")
    loaded: Function = found
    return loaded


def name_head(head: Any) -> str:
    """The name of a head that a caller passes as an object: its own if it is registered, else a new one in this process.

    head: a factory, or a module, of which each model gets a copy as it is now.
    """
    factory: HeadFactory = head
    if not isinstance(head, type) and hasattr(head, "state_dict"):
        original = copy.deepcopy(head)
        factory = lambda in_features, num_outputs: copy.deepcopy(original)  # noqa: E731
    elif head_name(head) != "custom":
        return head_name(head)
    name = f"custom-{uuid.uuid4().hex[:8]}"  # no other process can mean another head by it
    _heads[name] = factory
    return name


def recipes() -> dict[str, Path]:
    """Path of every named recipe, ours and plug-ins'."""
    ours = content.files("recipes", ".yaml")
    return {name: Path(value) for name, value in plugins.load_all("zoo.recipes", _not_a_recipe, ours).items()} | ours


def _not_a_recipe(value: Any) -> str | None:
    try:
        content.read_yaml(Path(value))
    except (TypeError, ConfigError) as error:
        return f"is not a recipe: {error}"
    return None


def recipe(name: str) -> Recipe:
    """The recipe of this name; a name with a `/` or ending in `.yaml` is the user's own file. Raises: ConfigError, UnknownName."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = Path(name)
    else:
        known = recipes()
        if name not in known:
            raise UnknownName("recipe", name, known, "(`zoo recipes list` shows all; a path ends in .yaml)")
        path = known[name]
    return Recipe(name, path, content.read_yaml(path))


def default_recipe(spec: BackboneSpec, strategy: Strategy) -> Recipe:
    """The recipe that the backbone's family names for this kind of strategy, else the one that all networks for such samples have: of
    images, the one named after the strategy; of texts and audio, with the kind before it (`text-full`, `audio-linear-probe`)."""
    of_family = spec.family.recipes.get(strategy.kind) if spec.family else None
    of_kind = strategy.kind if spec.kind is Kind.IMAGE else f"{spec.kind.value}-{strategy.kind}"
    return recipe(of_family or of_kind)
