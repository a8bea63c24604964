"""The `zoo` command. One module a verb, imported when it is called: it calls `zoo.api` and hands back an `Output`.

Nothing here imports torch. Whatever goes wrong is one line on stderr, `zoo: ...`, and the exit status says whose turn it is:
2, the user can mend it; 1, a run failed or zoo has a fault; 130, 143 and 129, Ctrl-C, SIGTERM and SIGHUP. With `--json` the last line of
stdout says the same to programs.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import cast

from cyclopts import CycloptsError
from cyclopts.exceptions import MissingArgumentError, RepeatArgumentError, UnknownCommandError, UnusedCliTokensError

from zoo import interrupts
from zoo.cli.app import build
from zoo.cli.flags import NONE, STDIN, Common
from zoo.cli.output import Output
from zoo.errors import UnknownName, ZooError, escaped, first_line, one_line, ran_out_of_memory
from zoo.streams import lasting, silence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of the process, and give its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # a file's name may hold bytes that the terminal cannot show
    streams = (sys.stdout, sys.stderr)
    try:
        with contextlib.redirect_stderr(lasting(sys.stderr)):  # training outlives its terminal
            return _main(words)
    finally:
        for stream in streams:
            try:
                stream.flush()
            except OSError:
                silence(stream)


def _main(words: list[str]) -> int:
    """Run a command line, whatever comes of it, and give its exit status."""
    try:
        with interrupts.handled():
            status = _run(words)
            sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        if not isinstance(error.__context__ or error, BrokenPipeError):  # rich makes a SystemExit of it
            raise
        silence(sys.stdout)
        return 141  # as a program that SIGPIPE ends
    except (KeyboardInterrupt, Exception) as error:
        return _report(error, debug="--debug" in words, as_json="--json" in words)
    return status


def _run(words: list[str]) -> int:
    """Parse, call the verb, print what it gives, and give its exit status."""
    if words[:1] == ["predict"]:
        words = [STDIN if word == "-" else word for word in words]
    command, bound, _ = build(words[0] if words else "").parse_args(words, exit_on_error=False, print_error=False, verbose=False)
    common = cast(Common, bound.arguments.get("common", NONE))
    with _messages(), contextlib.redirect_stdout(sys.stderr) if common.json else contextlib.nullcontext():
        output = command(*bound.args, **bound.kwargs)
    if _prints() and isinstance(output, Output):  # help and version print for themselves
        output.print(json=common.json)
    return output.status if isinstance(output, Output) else 0


def _prints() -> bool:
    """Under torchrun, one process prints for all."""
    return os.environ.get("RANK", "0") == "0"


class _Lines(logging.Formatter):
    """What is said may have several lines; what stands in them may have no control character."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(escaped(line) for line in super().format(record).split("\n"))


@contextlib.contextmanager
def _messages() -> Iterator[None]:
    """Show on stderr what the library has to say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    log = logging.getLogger("zoo")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _report(error: BaseException, *, debug: bool, as_json: bool) -> int:
    """Print an error in one line (under `--debug`, behind its traceback), and give the exit status it stands for."""
    if debug and not isinstance(error, CycloptsError):
        traceback.print_exception(error)
    kind = type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        status, text = getattr(error, "exit_status", 130), str(error) or "stopped"
    elif isinstance(error, ZooError):
        status, text = error.exit_status, str(error)
    elif isinstance(error, CycloptsError):
        status, text, kind = 2, _explain(error), "UsageError"
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        status, text = 2, f"{error.filename!r}: {error.strerror}"
    elif ran_out_of_memory(error):
        advice = "use a smaller --batch-size, --image-size or --max-length, or more memory"
        status, text = 1, f"memory ran out ({first_line(error)}); {advice}"
    else:
        hint = "" if debug else "; run again with --debug for the traceback"
        status, text = 1, f"unexpected {kind}: {' '.join(str(error).split())}{hint}"
    text = text.replace(STDIN, "-")
    print(f"zoo: {one_line(text)}", file=sys.stderr, flush=True)
    if as_json and _prints():
        print(json.dumps({"error": one_line(text), "kind": kind, "exit_status": status}), file=lasting(sys.stdout), flush=True)
    return status


def _explain(error: CycloptsError) -> str:
    """A mistake in the command line, as cyclopts says it, with a way out."""
    verb = " ".join(("zoo", *(error.command_chain or ())))
    more = f"; `{verb} --help` shows what it takes"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"nothing takes {' '.join(map(repr, error.unused_tokens))} here{more}"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return f"{error.keyword or error.argument.name} needs a value{more}"
    if isinstance(error, RepeatArgumentError):
        return f"{error.token.keyword} given more than once; give one value"
    if isinstance(error, UnknownCommandError) and error.unused_tokens and error.app is not None:
        word = error.unused_tokens[0]
        verbs = [name for name in error.app if not name.startswith("-")]
        return str(UnknownName("option" if word.startswith("-") else "verb", word, verbs, f"(verbs: {', '.join(verbs)})"))
    return str(error).removesuffix(".")
