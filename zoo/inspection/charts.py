"""Bars as SVG and HTML, in the colours of the page around them, each with its numbers in words for those who do not see it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import pairwise

from zoo.inspection.found import Histogram

_WIDE, _HIGH = 420, 130
"""Pixels of a histogram's bars."""
_BELOW = 22
"""Pixels below them, for the numbers."""


def histogram(found: Histogram, noun: str) -> str:
    """A figure with a bar a bin, each as wide as the others; `noun`: what is counted."""
    step, top = _WIDE / len(found.counts), max(found.counts)
    bars = []
    for index, count in enumerate(found.counts):
        height = _HIGH * count / top
        low, high = found.edges[index : index + 2]
        bars.append(
            f'<rect x="{index * step + 0.5:.1f}" y="{_HIGH - height:.1f}" width="{step - 1:.1f}" height="{height:.1f}">'
            f"<title>{number(low)} to {number(high)}: {count:,} {noun}</title></rect>"
        )
    facts = f"smallest {number(found.smallest)}, median {number(found.median)}, largest {number(found.largest)}"
    title = escape(f"{found.measured}: {facts}")
    ends = f'<text x="0" y="{_HIGH + 16}">{number(found.edges[0])}</text>'
    ends += f'<text x="{_WIDE}" y="{_HIGH + 16}" text-anchor="end">{number(found.edges[-1])}</text>'
    scale = "" if _even(found.edges) else "; each bin is wider than the last by the same factor"
    return (
        f"<figure><figcaption><b>{escape(found.measured)}</b>: {facts}{scale}</figcaption>"
        f'<svg class="bars" viewBox="0 0 {_WIDE} {_HIGH + _BELOW}" role="img" aria-label="{title}"><title>{title}</title>'
        f'{"".join(bars)}<line x1="0" y1="{_HIGH}" x2="{_WIDE}" y2="{_HIGH}"/>{ends}</svg></figure>'
    )


def counts(by_split: Mapping[str, Mapping[str, int]], target: str, limit: int) -> str:
    """A table with a line a class: samples in each split, and a bar for all of them. The rest is folded.

    target: what a class is called. limit: classes before the rest.
    """
    splits = list(by_split)
    names = list(next(iter(by_split.values())))
    totals = {name: sum(by_split[split][name] for split in splits) for name in names}
    top = max(totals.values(), default=0) or 1
    head = "".join(f'<th scope="col" class="number">{escape(split)}</th>' for split in splits)
    lines = [
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f'<td class="number">{by_split[split][name]:,}</td>' for split in splits)
        + f'<td class="wide"><div class="bar" style="width:{100 * totals[name] / top:.1f}%"></div></td></tr>'
        for name in names
    ]
    header = f'<thead><tr><th scope="col">{target}</th>{head}<td></td></tr></thead>'
    shown = f"<table>{header}<tbody>{''.join(lines[:limit])}</tbody></table>"
    if len(lines) > limit:
        rest = f"<table>{header}<tbody>{''.join(lines[limit:])}</tbody></table>"
        shown += f"<details><summary>{len(lines) - limit:,} more</summary>{rest}</details>"
    return shown


def number(value: float) -> str:
    """A number as people read it: whole above a hundred, else three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _even(edges: tuple[float, ...]) -> bool:
    steps = [high - low for low, high in pairwise(edges)]
    return max(steps) <= 1.01 * min(steps)
