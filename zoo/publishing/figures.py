"""The figures of a card: PNG files whose bytes depend on the numbers and on the versions of matplotlib and its font alone.

Figures are built as objects; nothing of matplotlib's global state, or of the user's settings for it, is read or changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib import colormaps, font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from zoo.evaluation.report import Report

CONFUSION = "figures/confusion_matrix.png"
CALIBRATION = "figures/calibration.png"
DOTS = 100
"""Pixels an inch."""
_NAMED = 200
"""More classes than this are not named along the axes."""
_COUNTED = 30
"""More classes than this have no counts in their cells."""
_LONGEST = 24
"""Characters of a name that are shown."""


def write_figures(folder: Path, report: Report) -> list[str]:
    """Write both figures into `folder`, and give their paths relative to it. Raises: OSError."""
    (folder / "figures").mkdir(exist_ok=True)
    with matplotlib.style.context("default"):
        _save(_confusion(report), folder / CONFUSION)
        _save(_calibration(report), folder / CALIBRATION)
    return [CONFUSION, CALIBRATION]


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=DOTS, metadata={"Software": "zoo"})


def _confusion(report: Report) -> Figure:
    """Rows are true classes; a cell's shade is its share of the row, on a scale that shows rare errors too; no pictures: grey."""
    classes = len(report.labels)
    cell, points = _sizes(classes)
    names = _shown(report.labels.names) if classes <= _NAMED else []
    margin = 0.012 * points * max((len(name) for name in names), default=4) + 0.6
    side = max(2.2, cell * classes)
    figure = Figure(figsize=(side + margin + 1.0, side + margin + 0.6), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    axes = figure.add_subplot()
    pictures = report.confusion.sum(axis=1, keepdims=True)
    shares = np.where(pictures > 0, report.confusion / np.maximum(pictures, 1), np.nan)
    colours = colormaps["Blues"].with_extremes(bad="#dddddd")
    picture = axes.imshow(shares, cmap=colours, norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(f"{report.n} pictures; shade: share of the true class", fontsize=9, loc="left")
    if names:
        _name_axes(axes, names, points)
    if classes <= _COUNTED:
        _write_counts(axes, report.confusion, shares, points)
    bar = figure.colorbar(picture, ax=axes, fraction=0.03, pad=0.02, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
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
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)  # a class may be called `$x$`
    axes.tick_params(length=2)


def _write_counts(axes: Any, confusion: Any, shares: Any, points: float) -> None:
    for row, column in np.argwhere(confusion > 0):
        dark = shares[row, column] > 0.4
        count = int(confusion[row, column])
        size = points if count < 1000 else points * 0.75
        axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color="white" if dark else "black")


def _shown(names: Sequence[str]) -> list[str]:
    """Names as an axis can show them: one line, not too long, no two alike; `class 3` where the font lacks a character."""
    shown = []
    for index, name in enumerate(names):
        line = " ".join(name.split())
        if not line or any(ord(sign) not in _characters() for sign in line):
            line = f"class {index}"
        half = _LONGEST // 2
        shown.append(line if len(line) <= _LONGEST else f"{line[: half - 1]}…{line[-half:]}")
    return [line if shown.count(line) == 1 else f"{line} ({index})" for index, line in enumerate(shown)]


@cache
def _characters() -> frozenset[int]:
    """The characters of the font that matplotlib brings along."""
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def _calibration(report: Report) -> Figure:
    """Accuracy of each confidence bin against the diagonal of perfect calibration; below, where the pictures are."""
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
    upper.set_title(f"{report.n} pictures; expected calibration error {error:.3f}", fontsize=9, loc="left")
    lower.bar(middles, [one.count / report.n for one in filled], width, color="#9a9a9a")
    lower.set(xlabel="confidence (highest probability)", ylabel="share", ylim=(0, None))
    return figure
