"""`zoo completion`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.app import build
from zoo.cli.flags import Common
from zoo.cli.output import Output
from zoo.errors import ConfigError, OutputError

Shell = Literal["bash", "zsh", "fish", "powershell"]


def completion(
    shell: Shell | None = None,
    /,
    *,
    install: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    common: Common = flags.NONE,
) -> Output:
    """Print the completion script of a shell, or install it for you.

    Try:
        zoo completion bash --install
        zoo completion zsh > ~/.zfunc/_zoo

    Args:
        shell: The shell. [default: the one that runs]
        install: Write the script where the shell looks for it, with a line in its start-up file if it needs one.
    """
    from cyclopts.completion import ShellDetectionError, detect_shell

    try:
        chosen = shell or detect_shell()
    except ShellDetectionError:
        raise ConfigError("which shell this is cannot be told; name it, as in `zoo completion bash`") from None
    app = build()
    if not install:
        script = app.generate_completion(shell=chosen)
        return Output({"shell": chosen, "script": script}, script.rstrip("\n"))
    try:
        path = app.install_completion(shell=chosen)
    except OSError as error:
        raise OutputError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return Output({"shell": chosen, "path": str(path)}, f"installed in {path}; it works in the next shell")
