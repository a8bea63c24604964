"""From measurements to tables: medians, ratios, intervals, and RESULTS.md. Nothing here runs or measures anything.

A measurement is a mapping with `title`, `pictures`, `round`, `seconds`, `peak_mb`, `correct`, `total` and `notes`, as results.json
keeps them; a section of results.json holds those of one call, its machine, its date and its command.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.commands import COLD, EXPERT, WARM

Z = 1.959963984540054
"""97.5 % point of the normal distribution."""
Measurements = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Row:
    """One command on so many pictures, over all rounds."""

    title: str
    pictures: int
    seconds: float
    """Median wall time."""
    peak_gb: float
    """The largest."""
    accuracy: float | None
    """Mean over the rounds, which have seeds of their own; None where nothing was predicted."""
    low: float | None
    high: float | None
    """Wilson's interval for that share of the test pictures."""
    notes: str


def wilson(share: float, total: int) -> tuple[float, float]:
    """The 95 % interval of a share of `total` independent trials (Wilson 1927, doi.org/10.2307/2276774).

    >>> [round(end, 4) for end in wilson(0.9, 500)]
    [0.8706, 0.9233]
    """
    centre = (share + Z * Z / (2 * total)) / (1 + Z * Z / total)
    half = Z / (1 + Z * Z / total) * math.sqrt(share * (1 - share) / total + Z * Z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def rows(measurements: Measurements) -> list[Row]:
    """A row for each title and number of pictures, in order of first appearance."""
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for one in measurements:
        groups.setdefault((one["title"], one["pictures"]), []).append(one)
    return [_row(title, pictures, group) for (title, pictures), group in groups.items()]


def _row(title: str, pictures: int, group: Measurements) -> Row:
    accuracy = low = high = None
    total = group[0]["total"]
    if total:
        accuracy = sum(one["correct"] for one in group) / (total * len(group))
        low, high = wilson(accuracy, total)
    seconds, peak = median(one["seconds"] for one in group), max(one["peak_mb"] for one in group) / 1e3
    return Row(title, pictures, seconds, peak, accuracy, low, high, group[0]["notes"])


def ratio(measurements: Measurements, title: str, reference: str, pictures: int) -> float | None:
    """How many times as long `title` takes as `reference`: the median over the rounds that have both. None without such a round."""
    times: dict[str, dict[int, float]] = {title: {}, reference: {}}
    for one in measurements:
        if one["title"] in times and one["pictures"] == pictures:
            times[one["title"]][one["round"]] = one["seconds"]
    both = times[title].keys() & times[reference].keys()
    return median(times[title][number] / times[reference][number] for number in both) if both else None


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers, which is all but the first column and the notes, are aligned to the right."""
    marks = ["---" if name in ("", "notes") else "---:" for name in header]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, marks, *lines))


def probe_table(measurements: Measurements) -> str:
    """Every command beside zoo with a cold and with a warm cache."""
    header = ["", "seconds", "x zoo cold", "x zoo warm", "peak GB", "test accuracy", "95 % interval", "notes"]
    return table(header, [_cells(row, measurements, (COLD, WARM)) for row in rows(measurements)])


def fine_tuning_table(measurements: Measurements) -> str:
    """Pairs of the same settings: `STRATEGY, zoo` and `STRATEGY, plain loop`."""
    header = ["", "seconds", "x zoo", "peak GB", "test accuracy", "95 % interval", "notes"]
    lines = [_cells(row, measurements, (f"{row.title.partition(',')[0]}, zoo",)) for row in rows(measurements)]
    return table(header, lines)


def growth_table(measurements: Measurements) -> str:
    """Seconds by number of pictures to train on, and how many times as long the work by hand takes as zoo."""
    titles = (COLD, WARM, EXPERT.title)
    found = {(row.title, row.pictures): f"{row.seconds:.1f}" for row in rows(measurements)}
    lines = []
    for pictures in sorted({one["pictures"] for one in measurements}):
        ratios = [ratio(measurements, EXPERT.title, zoo, pictures) for zoo in (COLD, WARM)]
        seconds = [found.get((title, pictures), "") for title in titles]
        lines.append([f"{pictures:,}", *seconds, *map(_times, ratios)])
    return table(["pictures to train on", *titles, "by hand x zoo cold", "by hand x zoo warm"], lines)


def _cells(row: Row, measurements: Measurements, references: Sequence[str]) -> list[str]:
    ratios = [_times(ratio(measurements, row.title, reference, row.pictures)) for reference in references]
    measured = ["", ""]
    if row.accuracy is not None:
        measured = [f"{row.accuracy:.3f}", f"{row.low:.3f} to {row.high:.3f}"]
    return [row.title, f"{row.seconds:.1f}", *ratios, f"{row.peak_gb:.2f}", *measured, row.notes]


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


SECTIONS = {
    "probe": ("Linear probe", probe_table),
    "digits": ("Linear probe of the digits", probe_table),
    "growth": ("Linear probe of ever more pictures", growth_table),
    "fine_tuning": ("Fine-tuning, zoo and a plain loop of the same settings", fine_tuning_table),
    "text": ("Linear probe of a sentence encoder on texts", probe_table),
}
INTRODUCTION = """# zoo against its peers

Written by `benchmarks/run.py` from `results.json`; do not edit. Each command runs in a process of its own, imports included, and each
round runs all of them in turn. Seconds are medians of wall times; "x zoo" is how many times as long a command takes as zoo's, the
median over rounds. Peak memory is that of the largest single process of a command; workers, which read pictures, are smaller. All have
the same pictures, the same pretrained weights, the same number of threads and fp32; the model is chosen on the validation pictures
where the tool does so, and the test pictures are predicted once. Accuracy is the mean over the rounds (each has its own seed), with
Wilson's 95 % interval for one set of test pictures. "As documented" is the tool's own guide; "tuned" is what an expert does
inside the tool. `benchmarks/peers/` has the scripts, and in each the page it follows. zoo is its whole command, checks and model card
included.
"""


def render(results: Mapping[str, Any]) -> str:
    """RESULTS.md from results.json: the sections that have been measured."""
    parts = [INTRODUCTION]
    for name, (title, make) in SECTIONS.items():
        if name in results:
            section = results[name]
            plot = f"![{title}]({name}.svg)"
            parts += [f"## {title}\n", _circumstances(section), make(section["measurements"]), "", plot, "", _not_run(section)]
    return "\n".join(parts)


def _circumstances(section: Mapping[str, Any]) -> str:
    machine, settings = section["machine"], section["settings"]
    side = settings.get("image_size")
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{settings['data']}, {settings['pictures']} {'pictures' if side else 'texts'} to train on, {settings['val']:,} to choose on and "
        f"{settings['test']:,} to measure on{f', {side} px' if side else ''}; epochs, where a tool counts them: {settings['epochs']}; "
        f"rounds: {settings['rounds']}. "
        f"{section['date']}, `{section['command']}`.\n\n"
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, {machine['memory_gb']} GB; Python "
        f"{machine['python']}, {versions}.\n"
    )


def _not_run(section: Mapping[str, Any]) -> str:
    reasons = "; ".join(f"{title} ({reason})" for title, reason in section["not_run"].items())
    return f"Not run: {reasons}.\n" if reasons else ""
