"""Measure zoo and its peers on the same pictures, all in one call, and write RESULTS.md.

    python -m benchmarks.run                      # the linear probe, by everybody
    python -m benchmarks.run --rounds 3           # three times, in turn
    python -m benchmarks.run --data digits        # the same of scikit-learn's digits
    python -m benchmarks.run --only zoo expert --quick
    python -m benchmarks.run --growth --fine-tuning
    python -m benchmarks.run --texts              # the linear probe of a sentence encoder

results.json keeps every number, by section; a section that is not measured again stays as it is. A trial (`--quick`) writes nothing but
to standard output, unless `--out` says where. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure, pictures, plots, tables, texts
from benchmarks.commands import ENCODER, FINE_TUNING, FINE_TUNING_EPOCHS, GROWTH, GROWTH_SIZES, PROBE, TEXT, Command, chosen
from zoo import registry
from zoo.backbones import weights
from zoo.errors import RunFailed, ZooError

IMAGE_SIZE = 128
HERE = Path(__file__).parent
PLOTS = {
    "probe": plots.accuracy_against_seconds,
    "digits": plots.accuracy_against_seconds,
    "growth": plots.seconds_against_pictures,
    "fine_tuning": plots.accuracy_against_seconds,
    "text": plots.accuracy_against_seconds,
}


@dataclass(frozen=True)
class Plan:
    """What to measure for one section."""

    section: str
    commands: tuple[Command, ...]
    pictures: tuple[int, ...]
    """Numbers of pictures to train on."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers = sorted({command.peer for command in PROBE})
    parser.add_argument("--rounds", type=int, default=1, help="how often each command is run, in turn")
    parser.add_argument("--only", nargs="+", choices=peers, default=[], help="run these alone")
    parser.add_argument("--quick", action="store_true", help="a trial: 200 pictures, one epoch")
    parser.add_argument("--pictures", type=int, help="how many to train on")
    parser.add_argument("--data", choices=list(pictures.SIZES), default="fashion-mnist")
    parser.add_argument("--growth", action="store_true", help="time against the number of pictures, instead of the probe")
    parser.add_argument(
        "--fine-tuning", action="store_true", help="full, lora:16 and partial:1 against a plain loop, instead of the probe"
    )
    parser.add_argument("--texts", action="store_true", help="a sentence encoder on texts, instead of the probe")
    parser.add_argument("--out", type=Path, help=f"folder of the results; {HERE.name}/ unless --quick")
    return parser.parse_args(arguments)


def plans(options: argparse.Namespace) -> list[Plan]:
    """The sections asked for; the probe where none is named."""
    train = options.pictures or (200 if options.quick else pictures.SIZES[options.data][0])
    sizes = (100, 200) if options.quick else GROWTH_SIZES
    named = [Plan("growth", GROWTH, sizes)] * options.growth + [Plan("fine_tuning", FINE_TUNING, (train,))] * options.fine_tuning
    named += [Plan("text", TEXT, (200 if options.quick else options.pictures or texts.SIZES[0],))] * options.texts
    return named or [Plan("digits" if options.data == "digits" else "probe", PROBE, (train,))]


def measured(plan: Plan, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Run the commands of a section, round after round. One that fails is named in `not_run`, and the others go on."""
    commands, not_run = chosen(plan.commands, options.only)
    of_texts = plan.section == "text"
    val, test = (50, 50) if options.quick else (texts.SIZES if of_texts else pictures.SIZES[options.data])[1:]
    epochs = 3 if of_texts else 1 if options.quick else 5
    for train in plan.pictures:
        if of_texts:
            texts.write(work / str(train), (train, val, test))
        else:
            pictures.write(options.data, work / str(train), (train, val, test))
    encoder = weights.find(registry.resolve(ENCODER)).path.parent if of_texts else None
    measurements = []
    for number in range(options.rounds):
        for train in plan.pictures:
            numbers = {"image_size": IMAGE_SIZE, "epochs": epochs, "seed": number}
            paths = {"data": work / str(train), "weights": work.parent / "weights", "encoder": encoder}
            paths["cache"] = work / f"cache-{number}-{train}"
            shown = {name: name.upper() for name in paths}  # a path of this machine says nothing to anybody else
            for command in commands:
                arguments = [text.format(**numbers, **paths) for text in command.arguments]
                print(
                    f"round {number + 1}, {train:,} {'texts' if of_texts else 'pictures'}: {command.title}",
                    file=sys.stderr,
                    flush=True,
                )
                try:
                    found = measure.run(arguments, work / f"run-{number}-{train}-{commands.index(command)}")
                except RunFailed as error:
                    not_run[command.title] = str(error)
                    continue
                key = {"title": command.title, "pictures": train, "round": number}
                command_line = shlex.join(["python", *(text.format(**numbers, **shown) for text in command.arguments)])
                measurements.append({**key, **found, "command": command_line})
    settings = {"data": "fortunes" if of_texts else options.data, "pictures": _listed(plan.pictures), "val": val, "test": test}
    by_strategy = ", ".join(f"{number} of {strategy}" for strategy, number in FINE_TUNING_EPOCHS.items())
    settings |= {"epochs": by_strategy if plan.section == "fine_tuning" else epochs, "rounds": options.rounds} | (
        {} if of_texts else {"image_size": IMAGE_SIZE}
    )
    return {"settings": settings, "measurements": measurements, "not_run": not_run}


def _listed(numbers: tuple[int, ...]) -> str:
    return " / ".join(f"{number:,}" for number in numbers)


def main() -> int:
    """Measure, print the tables and write the results. Returns the exit status."""
    options = parse()
    out: Path | None = options.out or (None if options.quick else HERE)
    stored = (out or HERE) / "results.json"
    results: dict[str, Any] = json.loads(stored.read_text(encoding="utf-8")) if out and stored.is_file() else {}
    circumstances = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]]),
        "machine": measure.machine(),
    }
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as name:
        work = Path(name)
        # In a process of its own, since a child's peak memory is at least that of the process that starts it.
        subprocess.run(
            [sys.executable, "-m", "benchmarks.weights", str(work / "weights"), str(IMAGE_SIZE)], check=True, cwd=HERE.parent
        )
        for plan in plans(options):
            results[plan.section] = {**circumstances, **measured(plan, options, work / plan.section)}
            if out:
                out.mkdir(parents=True, exist_ok=True)
                stored.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                PLOTS[plan.section](results[plan.section]["measurements"], out / f"{plan.section}.svg")
                (out / "RESULTS.md").write_text(tables.render(results), encoding="utf-8")
    print(tables.render(results))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ZooError as error:
        sys.exit(f"error: {error}")
