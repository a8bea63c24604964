"""Named recipes as files: listed, read and copied. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo import content, folders, registry
from zoo.errors import ConfigError, OutputError, UnknownName


def rows() -> list[dict[str, Any]]:
    """Name, strategy and first line of every named recipe, and of the programs beside ours (`loop`), which can be copied too."""
    named = [registry.recipe(name) for name in registry.recipes()]
    recipes = [{"name": one.name, "strategy": one.values.get("strategy"), "summary": one.summary} for one in named]
    return recipes + [{"name": name, "strategy": None, "summary": _first_line(path)} for name, path in _programs().items()]


def text(name: str) -> str:
    """The text of a recipe or a program: a name, or a path that ends in .yaml. Raises: UnknownName, ConfigError."""
    path = _path(name)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def copy(name: str, to: Path, *, force: bool = False) -> Path:
    """Copy a recipe or a program to a file, or into a folder under its own name, and give the path.

    Raises: UnknownName; OutputError if the file exists (unless `force`) or cannot be written.
    """
    content_text = text(name)
    target = to / _path(name).name if folders.is_folder(to) else to
    if folders.exists(target) and not force:
        raise OutputError(f"{target} exists; give another name, or --force to replace it")
    folders.write_text(target, content_text)
    return target


def _programs() -> dict[str, Path]:
    return content.files("recipes", ".py")


def _path(name: str) -> Path:
    programs = _programs()
    if name in programs:
        return programs[name]
    try:
        return registry.recipe(name).path
    except UnknownName:
        raise UnknownName("recipe", name, {**registry.recipes(), **programs}, "(`zoo recipes list` shows all)") from None


def _first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].strip('"').strip()
