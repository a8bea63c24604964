"""The figures of a card: PNG files whose bytes depend on the numbers and on the versions of matplotlib and its font alone.

Figures are built as objects; nothing of matplotlib's global state, or of the user's settings for it, is read or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib import colormaps, font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from zoo.evaluation.class_tables import ValueRow
from zoo.evaluation.report import Report
from zoo.types import Kind, Task

DOTS = 100
"""Pixels an inch."""
_NAMED = 200
"""More classes than this are not named along the axes."""
_COUNTED = 30
"""More classes than this have no counts in their cells."""
_LONGEST = 24
"""Characters of a name that are shown."""
_PANELS = 6
"""More values than this are not drawn."""
_ACROSS = 3


@dataclass(frozen=True)
class Drawing:
    """One figure of a card."""

    path: str
    """Relative to the folder."""
    title: str
    words: str
    """What it shows, for who cannot see it."""
    draw: Callable[[Report, Kind], Figure]


def drawings(task: Task) -> list[Drawing]:
    """The figures of a task, in the order of the card."""
    if task is Task.CLASSIFICATION:
        confusion = "Confusion matrix: rows are true classes, columns predicted ones"
        return [
            Drawing("figures/confusion_matrix.png", "Confusion matrix", confusion, _confusion),
            Drawing("figures/calibration.png", "Calibration", "Reliability diagram: accuracy by confidence", _calibration),
        ]
    if task is Task.MULTILABEL:
        return [Drawing("figures/labels.png", "Labels by F1", "Bars: F1, precision and recall of each label", _labels)]
    return [Drawing("figures/values.png", "Predicted by true values", "Predicted values against true ones", _values)]


def write_figures(folder: Path, report: Report, kind: Kind) -> list[str]:
    """Write the figures of the report's task into `folder`, and give their paths relative to it. Raises: OSError."""
    (folder / "figures").mkdir(exist_ok=True)
    wanted = drawings(report.task)
    with matplotlib.style.context("default"):
        for one in wanted:
            _save(one.draw(report, kind), folder / one.path)
    return [one.path for one in wanted]


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=DOTS, metadata={"Software": "zoo"})


def _confusion(report: Report, kind: Kind) -> Figure:
    """Rows are true classes; a cell's shade is its share of the row, on a scale that shows rare errors too; no samples: grey."""
    classes = len(report.labels)
    cell, points = _sizes(classes)
    names = _shown(report.labels.names) if classes <= _NAMED else []
    margin = 0.012 * points * max((len(name) for name in names), default=4) + 0.6
    side = max(2.2, cell * classes)
    figure = Figure(figsize=(side + margin + 1.0, side + margin + 0.6), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    axes = figure.add_subplot()
    support = report.confusion.sum(axis=1, keepdims=True)
    shares = np.where(support > 0, report.confusion / np.maximum(support, 1), np.nan)
    colours = colormaps["Blues"].with_extremes(bad="#dddddd")
    image = axes.imshow(shares, cmap=colours, norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(f"{report.n} {kind.nouns}; shade: share of the true class", fontsize=9, loc="left")
    if names:
        _name_axes(axes, names, points)
    if classes <= _COUNTED:
        _write_counts(axes, report.confusion, shares, points)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "20 %", "50 %", "100 %"], fontsize=7)
    return figure


def _sizes(classes: int) -> tuple[float, float]:
    """(inches a cell, points of the names), so that names stay readable and the file stays small."""
    for limit, cell, points in ((12, 0.5, 9.0), (_COUNTED, 0.36, 8.0), (80, 0.16, 7.0), (_NAMED, 0.105, 5.5)):
        if classes <= limit:
            return cell, points
    return 12 / classes, 7.0


def _name_axes(axes: Any, names: Sequence[str], points: float) -> None:
    places = range(len(names))
    upright = max(map(len, names)) > 4 or len(names) > 12
    axes.set_xticks(places, names, fontsize=points, rotation=90 if upright else 0)
    axes.set_yticks(places, names, fontsize=points)
    _plain((*axes.get_xticklabels(), *axes.get_yticklabels()))
    axes.tick_params(length=2)


def _write_counts(axes: Any, confusion: Any, shares: Any, points: float) -> None:
    for row, column in np.argwhere(confusion > 0):
        dark = shares[row, column] > 0.4
        count = int(confusion[row, column])
        size = points if count < 1000 else points * 0.75
        axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color="white" if dark else "black")


def _shown(names: Sequence[str], what: str = "class") -> list[str]:
    """Names as an axis can show them: one line, not too long, no two alike; `class 3` where the font lacks a character."""
    shown = []
    for index, name in enumerate(names):
        line = " ".join(name.split())
        if not line or any(ord(sign) not in _characters() for sign in line):
            line = f"{what} {index}"
        half = _LONGEST // 2
        shown.append(line if len(line) <= _LONGEST else f"{line[: half - 1]}…{line[-half:]}")
    return [line if shown.count(line) == 1 else f"{line} ({index})" for index, line in enumerate(shown)]


@cache
def _characters() -> frozenset[int]:
    """The characters of the font that matplotlib brings along."""
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def _calibration(report: Report, kind: Kind) -> Figure:
    """Accuracy of each confidence bin against the diagonal of perfect calibration; below, where the samples are."""
    figure = Figure(figsize=(4.6, 5.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    filled = [one for one in report.calibration if one.accuracy is not None and one.confidence is not None]
    middles = [(one.low + one.high) / 2 for one in filled]
    width = 0.9 / len(report.calibration)
    upper.bar(middles, [one.accuracy for one in filled], width, color="#3b6fb6", label="accuracy of the bin")
    upper.plot([one.confidence for one in filled], [one.accuracy for one in filled], "o", color="black", markersize=3.5)
    upper.plot([], [], "o", color="black", markersize=3.5, label="at its mean confidence")
    upper.plot([0, 1], [0, 1], "--", color="#777777", linewidth=1, label="perfectly calibrated")
    upper.set(ylabel="accuracy", ylim=(0, 1.03), xlim=(0, 1))
    upper.legend(fontsize=8, loc="best")
    error = report.values["ece"].value
    upper.set_title(f"{report.n} {kind.nouns}; expected calibration error {error:.3f}", fontsize=9, loc="left")
    lower.bar(middles, [one.count / report.n for one in filled], width, color="#9a9a9a")
    lower.set(xlabel="confidence (highest probability)", ylabel="share", ylim=(0, None))
    return figure


def _labels(report: Report, kind: Kind) -> Figure:
    """A bar of F1 for each label, the first on top, and where its precision and recall are; what is undefined is left out."""
    rows = report.per_label
    cell, points = _sizes(len(rows))
    names = _shown(report.labels.names, "label") if len(rows) <= _NAMED else []
    margin = 0.012 * points * max((len(name) for name in names), default=4) + 0.6
    figure = Figure(figsize=(4.2 + margin, max(1.6, cell * len(rows)) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    axes.barh(places, [row.f1 or 0.0 for row in rows], 0.7, color="#3b6fb6", label="F1")
    for mark, colour, what in (("o", "#e08214", "precision"), ("D", "black", "recall")):
        known = [(getattr(row, what), place) for place, row in zip(places, rows, strict=True) if getattr(row, what) is not None]
        axes.plot([x for x, _ in known], [y for _, y in known], mark, color=colour, markersize=max(2.0, points / 2), label=what)
    axes.set(xlim=(0, 1.03), ylim=(len(rows) - 0.5, -0.5), ylabel="" if names else "label")
    if names:
        axes.set_yticks(places, names, fontsize=points)
        _plain(axes.get_yticklabels())
    axes.set_title(f"{report.n} {kind.nouns}", fontsize=9, loc="left")
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    return figure


def _plain(texts: Sequence[Any]) -> None:
    for text in texts:
        text.set_parse_math(False)  # a class may be called `$x$`


def _values(report: Report, kind: Kind) -> Figure:
    """For each value, how many samples have which true and predicted value, in cells; the dashed line is where they are equal."""
    shown = report.per_value[:_PANELS]
    columns = min(_ACROSS, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(3.5 * columns, 3.6 * lines + 0.5), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    names = _shown(report.labels.names, "value")
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for axes, row, name in zip(panels, shown, names, strict=False):
        _panel(axes, row, name)
    left_out = len(report.per_value) - len(shown)
    rest = f", {left_out} more values not drawn" if left_out else ""
    figure.suptitle(f"{report.n} {kind.nouns}; shade: how many in a cell{rest}", fontsize=9)
    return figure


def _panel(axes: Any, row: ValueRow, name: str) -> None:
    counts = np.array(row.grid, dtype=np.float64).T
    low, high = (row.low, row.high) if row.high > row.low else (row.low, row.low + 1.0)
    counts[counts == 0] = np.nan
    most = int(np.nanmax(counts))
    shade = LogNorm(0.3, max(2, most))  # one sample is to be seen
    axes.imshow(
        counts, cmap="Blues", norm=shade, origin="lower", extent=(low, high, low, high), aspect="auto", interpolation="nearest"
    )
    axes.set_box_aspect(1)
    axes.plot([low, high], [low, high], "--", color="#777777", linewidth=1)
    axes.set(xlabel="true", ylabel="predicted", xlim=(low, high), ylim=(low, high))
    axes.set_title(f"{name} (darkest cell: {most})", fontsize=9)
    _plain([axes.title])
    axes.tick_params(labelsize=7)
