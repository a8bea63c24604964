"""`zoo show`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output, table


def show(
    backbone: Annotated[str, Parameter(completer=flags.COMPLETERS["backbone"])],
    /,
    *,
    strategy: Annotated[str | None, Parameter(name=("--strategy", "--freeze"), completer=flags.COMPLETERS["strategy"])] = None,
    common: Common = flags.NONE,
) -> Output:
    """Show a backbone: its card, its stages, what a strategy would train, and its architecture. Needs no weights.

    Try:
        zoo show resnet50
        zoo show vit_small_patch16_224 --strategy lora:16

    Args:
        backbone: Name of the backbone (`zoo list backbones`), or any of timm's as timm/NAME.
        strategy: Show what this strategy would train (`zoo list strategies`).
    """
    from zoo import api

    shown = api.show(backbone, strategy)
    stages = [{"stage": name, "tensors": tensors, "parameters": count} for name, tensors, count in shown.stages]
    plan = () if shown.plan is None else (table(shown.plan), "", str(shown.trains), "")
    return Output(shown.to_dict(), shown.card, table(stages), "", *plan, shown.summary_text)
