"""The figures of RESULTS.md, as small SVG files whose bytes depend on the measurements alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.tables import Measurements, Row, rows

STYLE = {"svg.fonttype": "none", "svg.hashsalt": "zoo", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def accuracy_against_seconds(measurements: Measurements, path: Path) -> None:
    """A point for each command, with its interval; to the left is faster, and upward is better."""

    def draw(axes: Axes) -> None:
        for number, row in enumerate(row for row in rows(measurements) if row.accuracy is not None):
            style: dict[str, Any] = {"color": plt.cm.tab20(number), "marker": _marker(row), "markersize": 9 if _ours(row) else 6}
            errors = [[row.accuracy - row.low], [row.high - row.accuracy]]
            axes.errorbar(row.seconds, row.accuracy, errors, linestyle="", elinewidth=0.8, label=row.title, **style)
        axes.set(xscale="log", xlabel="seconds of the whole command", ylabel="test accuracy")
        _plain_numbers(axes.xaxis)

    _save(path, draw)


def seconds_against_pictures(measurements: Measurements, path: Path) -> None:
    """A line for each command: how its time grows with the pictures."""

    def draw(axes: Axes) -> None:
        found = rows(measurements)
        for title in dict.fromkeys(row.title for row in found):
            mine = sorted((row.pictures, row.seconds) for row in found if row.title == title)
            axes.plot(*zip(*mine, strict=True), marker="o", markersize=4, label=title)
        axes.set(xscale="log", yscale="log", xlabel="pictures to train on", ylabel="seconds of the whole command")
        _plain_numbers(axes.xaxis)
        _plain_numbers(axes.yaxis)

    _save(path, draw)


def _ours(row: Row) -> bool:
    return row.title.startswith("zoo") or row.title.endswith("zoo")


def _marker(row: Row) -> str:
    if _ours(row):
        return "*"
    return "s" if "documented" in row.title else "o"


def _plain_numbers(axis: Axis) -> None:
    """20, 50, 100 instead of powers of ten: few measurements span more than one."""
    axis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())


def _save(path: Path, draw: Callable[[Axes], None]) -> None:
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8.5, 3.8), layout="constrained")
        draw(axes)
        axes.grid(alpha=0.25)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
