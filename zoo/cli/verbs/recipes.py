"""`zoo recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output, table

recipes = App(name="recipes", help="List, show, copy and check recipes.", help_format="plaintext")


@recipes.command(name="list")
def list_recipes(*, filter: str = "", common: Common = flags.NONE) -> Output:
    """List the named recipes.

    Args:
        filter: Part of a name, or a pattern with * and ?.
    """
    from zoo import api

    rows = api.list_recipes(filter)
    return Output({"recipes": rows}, table(rows) if rows else f"no recipes match {filter!r}")


@recipes.command
def show(name: Annotated[str, Parameter(completer=flags.COMPLETERS["copied"])], /, *, common: Common = flags.NONE) -> Output:
    """Print a recipe, with the source of each number.

    Try:
        zoo recipes show lora-small-data

    Args:
        name: Name of the recipe (`zoo recipes list`), or a path that ends in .yaml.
    """
    from zoo import api

    text = api.recipe_text(name)
    return Output({"name": name, "text": text}, text.rstrip("\n"))


@recipes.command
def copy(
    name: Annotated[str, Parameter(completer=flags.COMPLETERS["copied"])],
    to: Annotated[Path, Parameter(converter=flags.place)] = Path(),
    /,
    *,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    common: Common = flags.NONE,
) -> Output:
    """Copy a recipe, or the training loop, to change it.

    Try:
        zoo recipes copy linear-probe mine.yaml
        zoo recipes copy loop

    Args:
        name: Name of the recipe (`zoo recipes list`).
        to: File, or folder, to copy it to.
        force: Replace the file if it exists.
    """
    from zoo import api

    path = api.copy_recipe(name, to, force=force)
    return Output({"name": name, "path": str(path)}, f"copied to {path}")


@recipes.command
def validate(file: str, /, *, common: Common = flags.NONE) -> Output:
    """Check a recipe: its keys, the types and ranges of its values, and the names in it.

    Try:
        zoo recipes validate mine.yaml

    Args:
        file: The recipe's file, or the name of one (`zoo recipes list`).
    """
    from zoo import api

    values = api.validate_recipe(file)
    return Output({"recipe": file, "values": values}, f"{file}: {len(values)} values, all good")
