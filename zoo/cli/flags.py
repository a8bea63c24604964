"""The flags of `zoo finetune`, made from `zoo.config.options()`, and those that every verb has.

The flags are the keys of a typed dictionary, none of them required: what was not given is not in it, so that what arrives is
exactly the top layer of `zoo.config.resolve`.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from cyclopts import Group, Parameter, Token

from zoo import registry
from zoo.config import marked, options
from zoo.folders import named
from zoo.options import Choice, Listed, Mark, Option, Spelled
from zoo.plugins import Registry

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

Completer = Callable[["CompletionContext"], Iterable[str]]

_EVERYWHERE = Group("Everywhere", sort_key=1000)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """What every verb takes; `zoo.cli` reads it."""

    json: Annotated[bool, Parameter(group=_EVERYWHERE, negative="", show_default=False)] = False
    """Print one JSON object as the last line of stdout, and everything else to stderr."""
    debug: Annotated[bool, Parameter(group=_EVERYWHERE, negative="", show_default=False)] = False
    """Show the traceback of an error."""


NONE = Common()
if TYPE_CHECKING:
    Device = str
else:
    Device = options()["device"].type
"""What `--device` takes, as of `zoo finetune`."""
"""None of them given."""


def _names(kind: str) -> Completer:
    """Offer, to a shell, the names of one kind."""

    def complete(context: CompletionContext) -> list[str]:
        from zoo import api

        return [str(row["name"]).partition(":")[0] for row in getattr(api, f"list_{kind}")()]  # `lora` of `lora:R`

    return complete


def _choices(known: Registry) -> Completer:
    """Offer the names of a registry."""
    return lambda context: known.names()


COMPLETERS: dict[str, Completer] = {
    **{name: _names(listed.kind) for name, option in options().items() if (listed := option.marker(Listed))},
    **{name: _choices(choice.registry) for name, option in options().items() if (choice := option.marker(Choice))},
    "recipe": lambda context: registry.recipes(),
    "copied": _names("recipes"),
}
"""By option, what a shell offers for its value; `copied` is what `zoo recipes` shows and copies."""


def typed(verb: Mark | None = None) -> Any:
    """A typed dictionary with a key an option, or those that a verb takes; the annotations carry names, help, panels and defaults.

    BACKBONE is left out: it is the positional argument."""
    only = options() if verb is None else marked(verb)
    panels: dict[str, Group] = {}
    for option in options().values():
        panels.setdefault(option.title, Group(option.title, sort_key=len(panels)))
    keys = {
        option.name: Annotated[option.type, parameter(option, panels[option.title])]
        for option in options().values()
        if option.name != "backbone" and option.name in only
    }
    return typing.cast(Any, TypedDict)("Flags", keys, total=False)


def parameter(option: Option, panel: Group) -> Parameter:
    """An option as cyclopts needs it."""
    second = option.marker(Spelled)
    arms = {option.type, *typing.get_args(option.type)}
    converter = exactly_or_none if type(None) in arms else exactly if arms & {int, float} else None
    choice = option.marker(Choice)
    choices = "" if choice is None else f" One of {', '.join(choice.registry.own())}."
    return Parameter(
        name=option.flag if second is None else (option.flag, second.flag),
        help=" ".join(option.help.split()) + choices,  # else the line breaks of the source, with its indent, are kept
        group=panel,
        show_default=False if option.default is None else str(option.default),
        converter=converter,
        completer=COMPLETERS.get(option.name),
    )


def exactly(kind: Any, tokens: list[Token]) -> str | int | float:
    """One value of the type `kind`; cyclopts itself rounds 2.7 to a whole number."""
    text = tokens[0].value
    if kind not in (int, float):
        return text
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not {'a whole number' if kind is int else 'a number'}") from None


def place(kind: Any, tokens: list[Token]) -> Path:
    """A path that is not empty."""
    return named(tokens[0].value)


STDIN = "\0-"
"""What stands for a lone hyphen while the command line is parsed: cyclopts takes that for an option, and no word holds a NUL."""


def exactly_or_none(kind: Any, tokens: list[Token]) -> str | int | float | None:
    """As `exactly`, for an option that may be empty: `none` empties it."""
    return None if tokens[0].value == "none" else exactly(kind, tokens)
