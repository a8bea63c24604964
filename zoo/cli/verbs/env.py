"""`zoo env`."""

from __future__ import annotations

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output, table


def env(*, common: Common = flags.NONE) -> Output:
    """Show versions, processor, engines and caches, for a bug report. Nothing is sent anywhere.

    Try:
        zoo env
        zoo env --json
    """
    from zoo import api

    found = api.environment()
    libraries = found.pop("libraries")
    rows = [{"name": name, "value": ", ".join(value) if isinstance(value, list) else value} for name, value in found.items()]
    rows += [{"name": name, "value": version or "not installed"} for name, version in libraries.items()]
    return Output({**found, "libraries": libraries}, table([{**row, "value": row["value"] or "none"} for row in rows]))
