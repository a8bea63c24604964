"""`zoo finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output, table

if TYPE_CHECKING:
    from zoo.jobs.dry_run import DryRun
    from zoo.runs import Run

    Flags = dict[str, Any]
else:
    Flags = flags.typed()


def finetune(
    backbone: Annotated[str | None, Parameter(completer=flags.COMPLETERS["backbone"])] = None,
    *,
    recipe: Annotated[str | None, Parameter(completer=flags.COMPLETERS["recipe"])] = None,
    config: Annotated[Path | None, Parameter(converter=flags.place)] = None,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    options: Annotated[Flags | None, Parameter(name="*")] = None,
    common: Common = flags.NONE,
) -> Output:
    """Fine-tune a backbone on your images, texts or audio clips, and keep the best model with its card in the run's folder.

    Try:
        zoo finetune resnet50 --freeze backbone --data photos/
        zoo finetune resnet50 --freeze lora:16 --data photos/ --dry-run
        zoo finetune all-MiniLM-L6-v2 --freeze backbone --data reviews.csv --text body --label class

    Precedence: flag, --recipe, the family's recipe for the strategy, the default
    shown here. `none` unsets an option that may be unset.

    Args:
        backbone: A name (`zoo list backbones`), any of timm's as timm/NAME, or one of the Hub's as hf/ORGANISATION/NAME. [default: the
            recipe's, else resnet50]
        recipe: Named recipe (`zoo recipes list`), or a path that ends in .yaml.
        config: The config.yaml of a run, to repeat it; flags take precedence.
        dry_run: Show the options with their origins, the data and what would train; train one batch, and keep nothing.
    """
    from zoo import api

    given = {**(options or {}), **({} if backbone is None else {"backbone": backbone})}
    config_file = None if config is None else str(config)
    if dry_run:
        return _dry(api.finetune(recipe=recipe, config=config_file, dry_run=True, **given))
    return finished(api.finetune(recipe=recipe, config=config_file, **given))


def finished(run: Run) -> Output:
    """What came out of a run: its results, and where the model and its card are."""
    summary = run.summary()
    rows = [
        {"result": name.replace("_", " "), "value": value}
        for name, value in summary.items()
        if not isinstance(value, dict | list)
    ]
    card = run.best / "README.md"
    return Output(summary, table(rows), f"\nmodel card: {card}" if card.is_file() else "")


def _dry(dry: DryRun) -> Output:
    options = [{"option": name, "value": value, "from": origin} for name, value, origin in dry.config_rows]
    tensors = [{"tensor": name, "group": group, "shape": "x".join(map(str, shape))} for name, group, shape in dry.trainable]
    return Output(
        dry.to_dict(),
        table(options),
        "",
        *dry.data_lines,
        "",
        table(tensors),
        f"\n{dry.trains}",
        dry.method,
        f"{dry.steps:,} steps in all; one batch was trained, loss {dry.loss:.4f}, and nothing was kept",
    )
