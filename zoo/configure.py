"""From what a user said to a complete config: names are looked up, recipes are laid under the flags. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo import backbones, folders, registry, runs, strategy
from zoo.config import Resolved, check, resolve
from zoo.errors import ConfigError


def configure(flags: Mapping[str, Any], *, recipe: str | None = None, config: str | None = None) -> Resolved:
    """The options of a run. Weakest first: defaults, the family's recipe for the strategy, `recipe`, `flags`.

    Args:
        flags: values by leaf name that were given as flags or keywords.
        recipe: name of a recipe, or path of a YAML.
        config: path of a run's `config.yaml`, which takes the place of recipes; its `out` is not taken over.

    Raises: ConfigError or UnknownName, naming the origin.
    """
    check(flags)
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if config is not None:
        if recipe is not None:
            raise ConfigError("--config holds every option already; give --recipe or --config, not both")
        values = runs.read_config(folders.named(config)).config.flat()
        layers.append((f"config {config}", {name: value for name, value in values.items() if name != "out"}))
    if recipe is not None:
        named = registry.recipe(recipe)
        layers.append((f"recipe {named.name}", named.values))
    layers.append(("flag", flags))
    chosen = resolve(layers).config.model
    source = [] if chosen.init_from is None else [(f"run {chosen.init_from}", runs.inputs_of(Path(chosen.init_from)))]
    chosen = resolve([*source, *layers]).config.model
    if source and chosen.backbone != source[0][1]["backbone"]:
        raise ConfigError(f"backbone is {chosen.backbone}, and {chosen.init_from} has {source[0][1]['backbone']}; leave it out")
    spec = backbones.identify(registry.resolve(chosen.backbone), chosen.weights)
    if chosen.head not in registry.heads():
        registry.head(chosen.head)  # says which names are near
    beneath = [] if config is not None else _family_layers(spec, chosen.strategy)
    return resolve([*beneath, *source, *layers])


def _family_layers(spec: registry.BackboneSpec, text: str) -> list[tuple[str, Mapping[str, Any]]]:
    layers: list[tuple[str, Mapping[str, Any]]] = []
    family = f"family {spec.family.name}" if spec.family else "no family"
    recipe = registry.default_recipe(spec, strategy.parse(text))
    values = {name: value for name, value in recipe.values.items() if name != "strategy"}
    layers.append((f"{family}: recipe {recipe.name}", values))
    for name, value in (("image_size", spec.input_size), ("max_length", spec.max_length)):
        if value is not None:
            layers.append((family, {name: value}))
    return layers
