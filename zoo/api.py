"""The Python API: what the command line calls, and what `import zoo` offers. Signatures and docstrings; the work is done below.

Imports are inside the functions, so that listing a name costs no torch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import recipes, registry, runs, strategy

if TYPE_CHECKING:
    from zoo.runs import Run

Row = dict[str, Any]


def list_backbones(pattern: str = "") -> list[Row]:
    """The backbones whose name contains `pattern`, or matches it if it has wildcards.

    `weights` says where the pretrained weights are on this machine, and is empty if they are nowhere; no network is used.
    """
    from zoo.backbones import weights

    return [
        {
            "name": spec.name,
            "family": spec.family.name if spec.family else None,
            "params_m": spec.params_m,
            "feature_dim": spec.feature_dim,
            "input_size": spec.input_size,
            "licence": spec.licence,
            "weights": weights.local(spec) or "",
        }
        for spec in registry.backbones(pattern)
    ]


def list_heads(pattern: str = "") -> list[Row]:
    """The names of the heads, filtered as in `list_backbones`."""
    return _matching([{"name": name} for name in registry.heads()], pattern)


def list_strategies(pattern: str = "") -> list[Row]:
    """How each strategy is written and when to use it, filtered as in `list_backbones`."""
    return _matching([{"name": form, "use": text} for form, (_, text) in strategy.FORMS.items()], pattern)


def list_recipes(pattern: str = "") -> list[Row]:
    """The named recipes, and the training loop that can be copied, filtered as in `list_backbones`."""
    return _matching(recipes.rows(), pattern)


def list_metrics(pattern: str = "") -> list[Row]:
    """The metrics, what they are and which way is better, filtered as in `list_backbones`."""
    from zoo.evaluation import metrics

    found = [metrics.get(name) for name in metrics.names()]
    rows = [{"name": one.name, "better": "higher" if one.higher_is_better else "lower", "what": one.title} for one in found]
    return _matching(rows, pattern)


def list_runs(folder: str | os.PathLike[str] = "runs") -> list[Run]:
    """Every run directly under `folder`, oldest first. Raises: ConfigError if there is no such folder."""
    return runs.list_runs(folder)


def recipe_text(name: str) -> str:
    """The text of a recipe, or of the loop. Raises: UnknownName, ConfigError."""
    return recipes.text(name)


def copy_recipe(name: str, to: str | os.PathLike[str] = ".", *, force: bool = False) -> Path:
    """Copy a recipe, or the loop, to a file or into a folder, and give its path.

    Raises: UnknownName; OutputError if the file exists (unless `force`).
    """
    return recipes.copy(name, Path(to), force=force)


def validate_recipe(name: str) -> Row:
    """The values of a recipe whose keys, types, ranges and names are all good. Raises: ConfigError, UnknownName."""
    from zoo import configure

    config = configure.configure({}, recipe=name).config
    recipe = registry.recipe(name)
    if "metric" in recipe.values:
        from zoo.evaluation import metrics

        metrics.resolve(config.selection.metric)
    return dict(recipe.values)


def _matching(rows: list[Row], pattern: str) -> list[Row]:
    return [row for row in rows if registry.matches(row["name"], pattern)]
