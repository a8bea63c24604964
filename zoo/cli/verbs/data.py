"""`zoo data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output, table
from zoo.folders import expanded
from zoo.options import INSPECT

if TYPE_CHECKING:
    from zoo.jobs.inspect import DataReport

_CLASSES = 30
"""Classes in a table for people; the page has all."""

if TYPE_CHECKING:
    Flags = dict[str, Any]
else:
    Flags = flags.typed(INSPECT)

data = App(name="data", help="Inspect data before training.", help_format="plaintext")


@data.command
def inspect(
    path: str,
    /,
    *,
    backbone: Annotated[str | None, Parameter(completer=flags.COMPLETERS["backbone"])] = None,
    out: Annotated[Path | None, Parameter(converter=flags.place)] = None,
    options: Annotated[Flags | None, Parameter(name="*")] = None,
    common: Common = flags.NONE,
) -> Output:
    """Report what is in some data and what is wrong with it, on one HTML page.

    Counts by split and class, sizes, what cannot be read, identical and nearly
    identical samples, those with different labels or in several splits, and
    examples. With a backbone also the labels that are likely wrong. Nothing of
    the data is changed.

    Try:
        zoo data inspect photos/
        zoo data inspect reviews.csv --text body --label stars --backbone all-MiniLM-L6-v2

    Args:
        path: As for `zoo finetune --data`: a folder, a table, or builtin:digits.
        backbone: Find likely label errors by its features (confident learning).
        out: The page. One of an earlier call is replaced. [default: NAME-report.html in the working folder]
    """
    from zoo import api

    page = out or Path(f"{_name(path)}-report.html")
    report = api.inspect(path, backbone, page=page, **(options or {}))
    return Output(
        {**report.to_dict(), "page": str(page)},
        f"{report.source}: {report.total:,} {report.kind.nouns}, {report.task.value}",
        *_counts(report),
        *(f"{one.measured}: {one.smallest:,.4g} to {one.largest:,.4g}, median {one.median:,.4g}" for one in report.histograms),
        *(
            f"{name}: {', '.join(f'{value} ({count:,})' for value, count in found.items())}"
            for name, found in report.common.items()
        ),
        "",
        *(f"! {heading}: {line}" for heading, line in report.findings()),
        *report.notices,
        f"page: {page}",
    )


def _counts(report: DataReport) -> list[Any]:
    """A line a class: samples in each split; and what there is to say about them."""
    splits, names = list(report.counts), list(next(iter(report.counts.values())))
    rows = [{report.target: name, **{split: report.counts[split][name] for split in splits}} for name in names[:_CLASSES]]
    more = [f"... {len(names):,} in all"] if len(names) > _CLASSES else []
    ratio = [] if report.imbalance is None else [f"largest to smallest class: {report.imbalance:.3g} to 1"]
    return [table(rows), *more, *ratio]


def _name(path: str) -> str:
    """What the data are called: the last part of their path, without what a file's name should not have."""
    return expanded(path.replace(":", "-")).resolve().stem or "data"
