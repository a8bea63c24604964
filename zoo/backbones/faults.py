"""What the libraries below raise about a network, said in one line of zoo's. No torch here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zoo.errors import ConfigError, ZooError

LONGEST = 200
"""Characters of a library's own words; more are cut."""


@contextmanager
def reported(what: str, kind: type[ZooError] = ConfigError) -> Iterator[None]:
    """Inside, whatever a library raises becomes an error of this kind, `what: its reason`.

    timm and transformers have no exceptions of their own: networks of which they know that something does not fit raise anything, from
    AssertionError to ImportError. For calls of theirs alone, so that no fault of ours hides here.
    """
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        raise kind(f"{what}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What an exception says, on one line, cut; its class where it says nothing."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"
