"""`zoo bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output, table
from zoo.options import BENCH

if TYPE_CHECKING:
    Flags = dict[str, Any]
else:
    Flags = flags.typed(BENCH)


def bench(
    backbone: Annotated[str | None, Parameter(completer=flags.COMPLETERS["backbone"])] = None,
    *,
    options: Annotated[Flags | None, Parameter(name="*")] = None,
    common: Common = flags.NONE,
) -> Output:
    """Measure how fast this machine reads your data, runs the network and solves the head, beside its peak.

    Try:
        zoo bench resnet50 --data photos/
        zoo bench vit_small_patch16_224 --weights random --json

    Args:
        backbone: A name (`zoo list backbones`), or any of timm's as timm/NAME. [default: resnet50]
    """
    from zoo import api

    measured = api.bench(backbone, **(options or {}))
    values = measured.to_dict()
    settled = ", ".join(f"{name} {value}" for name, value in measured.options.items())
    rows = [{**part, "of_peak": None if part["of_peak"] is None else f"{part['of_peak']:.0%}"} for part in values["parts"]]
    limit = measured.matmul_gflops / measured.memory_gb_per_second
    side = "the arithmetic" if measured.intensity > limit else "the memory"
    return Output(
        values,
        f"{measured.backbone}, {settled}, {measured.device}, {measured.threads} threads",
        table(rows),
        f"\npeak: {measured.matmul_gflops:,.0f} GFLOP/s by matrix multiplication, {measured.memory_gb_per_second:,.1f} GB/s by copying",
        f"a forward pass takes {measured.gflop_per_sample:.2g} GFLOP a sample, {measured.intensity:,.0f} operations per byte; at most "
        f"{side} limits it (the border is at {limit:,.0f})",
    )
