"""The report as one HTML page: no script, nothing from elsewhere, readable on light and dark screens and by screen readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise

from zoo.inspection.findings import Found, Group, Histogram, LabelErrors, Sample, Suspect
from zoo.types import Kind, Task

_WIDE, _HIGH = 420, 130
"""Pixels of a histogram's bars."""
_BELOW = 22
"""Pixels below them, for the numbers."""
START = "<!doctype html>\n<!-- zoo data report -->\n"
"""What every page begins with, and so is known by."""
GROUPS, MEMBERS, SUSPECTS = 30, 6, 120
"""Groups of duplicates under a heading, members of each, and suspects."""
_PLURAL = {Task.CLASSIFICATION: "classes", Task.MULTILABEL: "labels", Task.REGRESSION: "values"}
_CLASSES, _LINES, _PAIRS = 40, 100, 20
"""Classes before the rest is folded away; lines of a list; pairs of labels."""
_STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c2430; --soft: #5b6675; --paper: #fff; --card: #f4f6f8; --edge: #d5dbe2; --bar: #3b6fb6; --bad: #a8321f;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #a3adba; --paper: #14181e; --card: #1e242c; --edge: #353e4a; --bar: #6ea0e6; --bad: #f0907f; }
}
body {
  margin: 0 auto; padding: 1.5rem; max-width: 70rem;
  font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
}
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--edge); font-size: 1.2rem; }
h3 { font-size: 1rem; }
p, figcaption, .soft { color: var(--soft); }
td, th, li { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: .2rem .6rem; border-bottom: 1px solid var(--edge); text-align: left; vertical-align: top; font-weight: normal; }
thead th { color: var(--soft); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { width: 45%; }
.bar { height: 1rem; min-width: 1px; background: var(--bar); }
.bars rect { fill: var(--bar); } .bars line { stroke: var(--soft); } .bars text { fill: var(--soft); font-size: 12px; }
.tiles, .sheet, .pair { display: flex; flex-wrap: wrap; gap: .7rem; }
.tile, .group { background: var(--card); border-radius: .5rem; padding: .6rem .9rem; }
.tile b { display: block; font-size: 1.3rem; }
.group { margin: .6rem 0; }
.bad { color: var(--bad); }
figure { margin: 0; }
.pair figure { flex: 1 1 20rem; max-width: 30rem; }
.sheet figure { width: 116px; font-size: .75rem; overflow-wrap: anywhere; }
.sheet img { max-width: 112px; display: block; }
.text { white-space: pre-wrap; } td.text { width: 68%; }
summary { cursor: pointer; }
"""
_NEAR = {
    Kind.IMAGE: "Near duplicates: perceptual hashes of 64 bits (low frequencies of the grey image) that differ in 4 at most, confirmed "
    "by copies of 8 x 8 pixels whose colours correlate by 0.98 at least. Turned, mirrored and strongly cropped copies are not found.",
    Kind.TEXT: "Near duplicates: texts that are alike without case, white space and punctuation. Paraphrases are not found.",
    Kind.AUDIO: "Near duplicates are not looked for among audio clips.",
}
_UNSPLIT = " The data have no splits: zoo sets validation and test samples aside, and keeps identical ones together, not near duplicates."
_LEARNT = " Likely errors: confident learning (Northcutt, Jiang, Chuang 2021, arXiv 1911.00068), ranked by self-confidence."


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


def write(found: Found) -> str:
    """The whole page."""
    body = "\n".join(
        part
        for part in (
            _head(found),
            _findings(found),
            _classes(found),
            _sizes(found),
            _examples(found),
            _suspects(found, found.label_errors) if found.label_errors else "",
            _duplicates(found),
            _lines("Cannot be read", found.unreadable),
            _lines("Labels that differ in case or spaces alone", found.similar_labels),
            _lines("What else was noticed", found.notices),
            _method(found),
        )
        if part
    )
    title = escape(f"Data report: {found.source}")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'{START}<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _head(found: Found) -> str:
    leaks = sum(one.leaks for one in (*found.exact, *found.near))
    contradicting = sum(one.contradicts for one in (*found.exact, *found.near))
    first = next(iter(found.counts.values()))
    tiles: list[tuple[str, object, bool]] = [
        (found.kind.nouns, found.total, False),
        (_PLURAL[found.task], len(first), False),
        ("cannot be read", len(found.unreadable), bool(found.unreadable)),
        ("groups of identical ones", len(found.exact), bool(found.exact)),
        ("groups of near duplicates", len(found.near), bool(found.near)),
        ("groups with different labels", contradicting, contradicting > 0),
    ]
    if found.has_splits:
        tiles.append(("groups in several splits", leaks, leaks > 0))
    if found.imbalance is not None:
        tiles.insert(2, ("largest : smallest class", f"{number(found.imbalance)} : 1", found.imbalance >= 10))
    if found.label_errors:
        tiles.append(("labels likely wrong", len(found.label_errors.suspects), bool(found.label_errors.suspects)))
    shown = "".join(
        f'<div class="tile"><b{" class=bad" if bad else ""}>{value if isinstance(value, str) else f"{value:,}"}</b>{escape(name)}</div>'
        for name, value, bad in tiles
    )
    splits = ", ".join(f"{name} {size:,}" for name, size in found.sizes.items()) if found.has_splits else "no splits"
    return f'<h1>{escape(found.source)}</h1><p>{found.task.value} of {found.kind.nouns}; {splits}</p><div class="tiles">{shown}</div>'


def _findings(found: Found) -> str:
    items = [f"<li><b>{escape(heading)}</b><br>{escape(line)}</li>" for heading, line in found.findings()]
    listed = (
        f"<ul>{''.join(items)}</ul>"
        if items
        else "<p>Nothing: all can be read, no two are alike, and no two labels differ in case alone.</p>"
    )
    return f"<h2>What to look at</h2>{listed}"


def _classes(found: Found) -> str:
    if found.task is Task.REGRESSION:
        return ""
    return f"<h2>{_PLURAL[found.task].capitalize()}</h2>{counts(found.counts, found.target, _CLASSES)}"


def _sizes(found: Found) -> str:
    drawn = "".join(histogram(one, found.kind.nouns) for one in found.histograms)
    tables = "".join(_common(name, counts, found.kind.nouns) for name, counts in found.common.items() if counts)
    return f'<h2>Sizes</h2><div class="pair">{drawn}{tables}</div>' if drawn or tables else ""


def _common(name: str, counts: Mapping[str, int], nouns: str) -> str:
    head = f'<tr><th scope="col">{escape(name)}</th><th scope="col" class="number">{nouns}</th></tr>'
    rows = "".join(f'<tr><td>{escape(value)}</td><td class="number">{count:,}</td></tr>' for value, count in counts.items())
    return f"<figure><table><thead>{head}</thead><tbody>{rows}</tbody></table></figure>"


def _examples(found: Found) -> str:
    shown = "".join(
        (f"<h3>{escape(name)}</h3>" if name else "") + _sheet(found, samples, labelled=not name)
        for name, samples in found.examples.items()
        if samples
    )
    count = len(next(iter(found.counts.values())))
    more = f"<p>The first {len(found.examples):,} of {count:,}.</p>" if 1 < len(found.examples) < count else ""
    return f"<h2>Examples</h2>{more}{shown}" if shown else ""


def _sheet(found: Found, samples: Sequence[Sample], *, labelled: bool = True) -> str:
    """Images side by side, or other samples line by line, each with its name."""
    if found.kind is Kind.IMAGE:
        figures = "".join(_shown(found, one, labelled) for one in samples)
        return f'<div class="sheet">{figures}</div>'
    rows = "".join(
        f'<tr><td class="text">{escape(found.previews.get(one, ""))}</td>'
        f'<td class="soft">{escape(str(one) if labelled else one.place)}</td></tr>'
        for one in samples
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _shown(found: Found, one: Sample, labelled: bool) -> str:
    address = found.previews.get(one)
    image = f'<img src="{address}" alt="{escape(f"{one.name}, labelled {one.label}")}">' if address else ""
    return f"<figure>{image}<figcaption>{escape(str(one) if labelled else one.place)}</figcaption></figure>"


def _suspects(found: Found, errors: LabelErrors) -> str:
    left = (
        f" Left out, with fewer than {errors.folds} different samples: {', '.join(errors.left_out)}." if errors.left_out else ""
    )
    said = (
        f"A linear probe on {errors.backbone} ({errors.weights}) predicted each of {errors.predicted:,} samples without having seen it "
        f"or its duplicates; {errors.accuracy:.1%} of the predictions give the label as it is. The lower that is, the less a line below "
        f"says.{left}"
    )
    heading = f"<h2>Labels that are likely wrong</h2><p>{escape(said)}</p>"
    if not errors.suspects:
        return f"{heading}<p>None.</p>"
    names = ("", "sample", "its label", "likely", "probability of its label", "of the likely one")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = "".join(_suspect(found, one) for one in errors.suspects[:SUSPECTS])
    pairs = _items(f"{label} → {likely}: {count:,}" for label, likely, count in errors.confusions[:_PAIRS])
    count = len(errors.suspects)
    more = f"<p>The first {SUSPECTS:,} of {count:,}.</p>" if count > SUSPECTS else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"{heading}{more}{table}<h3>From which label to which</h3><ul>{pairs}</ul>"


def _suspect(found: Found, one: Suspect) -> str:
    return (
        f"<tr><td>{_preview(found, one.sample)}</td><td>{escape(one.sample.place)}</td><td>{escape(one.sample.label)}</td>"
        f'<td class="bad">{escape(one.likely)}</td><td class="number">{one.self_confidence:.3f}</td>'
        f'<td class="number">{one.probability:.3f}</td></tr>'
    )


def _preview(found: Found, one: Sample) -> str:
    shown = found.previews.get(one, "")
    if found.kind is Kind.IMAGE:
        return f'<img src="{shown}" alt="{escape(one.name)}">' if shown else ""
    return f'<span class="text">{escape(shown)}</span>'


def _duplicates(found: Found) -> str:
    return "".join(
        f"<h2>{heading}</h2>{_groups(found, groups)}"
        for heading, groups in (("Identical", found.exact), ("Nearly identical", found.near))
        if groups
    )


def _groups(found: Found, groups: Sequence[Group]) -> str:
    shown = []
    for one in groups[:GROUPS]:
        faults = [text for holds, text in ((one.contradicts, "different labels"), (one.leaks, "in several splits")) if holds]
        count = len(one.samples)
        heading = f"{count:,} {found.kind.nouns}" + (f' <b class="bad">{", ".join(faults)}</b>' if faults else "")
        rest = f"<p>and {count - MEMBERS:,} more</p>" if count > MEMBERS else ""
        shown.append(f'<div class="group">{heading}{_sheet(found, one.samples[:MEMBERS])}{rest}</div>')
    more = f"<p>The first {GROUPS} of {len(groups):,} groups.</p>" if len(groups) > GROUPS else ""
    return more + "".join(shown)


def _lines(heading: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    more = f"<li>and {len(lines) - _LINES:,} more</li>" if len(lines) > _LINES else ""
    return f"<h2>{heading}</h2><ul>{_items(lines[:_LINES])}{more}</ul>"


def _items(lines: Iterable[str]) -> str:
    return "".join(f"<li>{escape(line)}</li>" for line in lines)


def _method(found: Found) -> str:
    splits = "" if found.has_splits else _UNSPLIT
    learnt = _LEARNT if found.label_errors else ""
    said = f"Identical: the same sha256. {_NEAR[found.kind]}{splits}{learnt} Digest of the data: {found.sha256}"
    return f"<h2>How this was found</h2><p>{said}</p>"
