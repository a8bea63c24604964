"""Where samples come from: a source each for folders, tables, archives, data sets of Hugging Face and those that are built in.

A new one is a module or package in this folder with a `SOURCE`, or a plug-in (entry point `zoo.sources`): fine-tuning, evaluation, the data
report and prediction find it here.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from zoo import plugins
from zoo.data.sets import Opened
from zoo.data.sources.source import Request, Source
from zoo.errors import ConfigError, DataError
from zoo.folders import exists, expanded, is_folder, special

GROUP = "zoo.sources"


@cache
def sources() -> tuple[Source, ...]:
    """All sources: zoo's own, those of plug-ins, and what takes the names that are left."""
    modules = [importlib.import_module(f"{__name__}.{one.name}") for one in pkgutil.iter_modules(__path__)]
    own = [module.SOURCE for module in modules if hasattr(module, "SOURCE")]
    others = plugins.load_all(GROUP, lambda value: None if isinstance(value, Source) else "is not an instance of Source")
    return tuple(sorted([*own, *others.values()], key=lambda one: one.last))


def find(spec: str) -> Source | None:
    """The source that claims a name of data; None: none does."""
    folder = is_folder(expanded(spec))
    return next((one for one in sources() if one.claims(spec, folder)), None)


def open_source(request: Request) -> Opened:
    """What `request.options.data` names.

    Raises: DataError, ConfigError, UnknownName: each names the folder, file, row or column.
    """
    spec, group = request.spec, request.options.group
    source = find(spec)
    if source is None:
        raise _unclaimed(spec)
    if group is not None and not source.columns:
        raise ConfigError(
            f"--group {group} names a column, and {spec} is not a table; list its files in one (path, label, {group})"
        )
    return source.open(request)


def _unclaimed(spec: str) -> DataError:
    """What to say of a name that no source claims."""
    path = expanded(spec)
    if what := special(path):
        return DataError(f"{spec}: {what}, not a file; write what it gives into a file first")
    found = "not data that can be read" if exists(path) else "no such folder"
    return DataError(f"{spec}: {found}; expected {', '.join(one.spelling for one in reversed(sources()))}")
