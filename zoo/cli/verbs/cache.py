"""`zoo cache`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cyclopts import App

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output, table

if TYPE_CHECKING:
    from zoo.cache import Entry

cache = App(
    name="cache", help="Show, check and clear the cache of features, decisions and converted networks.", help_format="plaintext"
)


@cache.command
def info(*, cache: str | None = None, common: Common = flags.NONE) -> Output:
    """Say where the cache is, and how much is in it.

    Try:
        zoo cache info

    Args:
        cache: Its folder. [default: $ZOO_CACHE, else zoo/ in your cache folder]
    """
    from zoo import api

    place, entries = api.cache_entries(cache)
    kinds = sorted({entry.kind for entry in entries})
    rows = [_total(kind, [entry for entry in entries if entry.kind == kind]) for kind in kinds]
    total = sum(entry.bytes for entry in entries)
    shown = table([{**row, "bytes": _size(row["bytes"])} for row in rows]) if rows else "it is empty"
    return Output({"folder": str(place), "bytes": total, "kinds": rows}, f"{place}: {_size(total)}", shown)


@cache.command(name="list")
def list_entries(*, cache: str | None = None, common: Common = flags.NONE) -> Output:
    """List the entries of the cache, most recently used first.

    Try:
        zoo cache list

    Args:
        cache: Its folder. [default: $ZOO_CACHE, else zoo/ in your cache folder]
    """
    from zoo import api

    place, entries = api.cache_entries(cache)
    rows = [
        {
            "kind": entry.kind,
            "of": " ".join(str(entry.facts[key]) for key in ("backbone", "what", "engine", "precision") if key in entry.facts),
            "rows": entry.rows,
            "size": _size(entry.bytes),
            "used": time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used)),
            "folder": str(entry.path),
        }
        for entry in entries
    ]
    return Output(
        {"folder": str(place), "entries": [_plain(entry) for entry in entries]}, table(rows) if rows else f"{place}: empty"
    )


@cache.command
def verify(*, cache: str | None = None, common: Common = flags.NONE) -> Output:
    """Check every file against its digest; damaged ones are removed, and computed again when needed.

    A run checks what it uses by itself.

    Try:
        zoo cache verify

    Args:
        cache: Its folder. [default: $ZOO_CACHE, else zoo/ in your cache folder]
    """
    from zoo import api

    damaged = [str(path) for path in api.verify_cache(cache)]
    return Output({"damaged": damaged}, *(f"removed {path}" for path in damaged), f"{len(damaged)} files were damaged")


@cache.command
def clear(
    kind: str | None = None, /, *, older_than: float = 0.0, cache: str | None = None, common: Common = flags.NONE
) -> Output:
    """Remove entries of the cache; what a run is computing now stays.

    Try:
        zoo cache clear features
        zoo cache clear --older-than 30

    Args:
        kind: Of which kind (`zoo cache info`). [default: every kind]
        older_than: Only what was not used for so many days.
        cache: Its folder. [default: $ZOO_CACHE, else zoo/ in your cache folder]
    """
    from zoo import api

    removed = api.clear_cache(kind, older_than_days=older_than, cache=cache)
    total = sum(entry.bytes for entry in removed)
    return Output(
        {"removed": [_plain(entry) for entry in removed], "bytes": total}, f"removed {len(removed)} entries, {_size(total)}"
    )


def _total(kind: str, entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "kind": kind,
        "entries": len(entries),
        "rows": sum(entry.rows for entry in entries),
        "bytes": sum(entry.bytes for entry in entries),
    }


def _plain(entry: Entry) -> dict[str, Any]:
    return {**vars(entry), "path": str(entry.path)}


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
