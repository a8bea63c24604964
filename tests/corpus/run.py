"""Read the test files of other projects, and compare what comes out with independent readers: `make corpus`, or

    python tests/corpus/run.py [images ...] [--folder FOLDER] [--only TEXT]

Each kind is a module beside this one (`images.py`, `audio.py`, `tables.py`) with

- `SOURCES`: names of source distributions that hold such files, and where they are from;
- `FORMATS`: which ending belongs to which format; `claims(path)`, where that does not tell it;
- `check(path)`: `equal`, `refused`, `wrong`, or `no reader` where none but ours reads it; and a line of detail.

Nothing of what is fetched lies in git; the folder is kept, so that a second run fetches nothing.

A file may end the process or hang (that is what is looked for): files are read in a child, and the one at which it ends is `crashed`.
What is known to differ stands in `known.yaml`, with the reason; all else that is wrong or crashes makes the exit status 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
KINDS = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run")
LIMIT = 120
"""Seconds for one file."""
WORDS = ("equal", "refused", "no reader", "known", "wrong", "crashed")


@dataclass(frozen=True)
class Package:
    """A source distribution: of Python (`pip download`), or of Debian (`apt-get source`)."""

    name: str
    where: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=KINDS, help=f"of {', '.join(KINDS)}; all by default")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "zoo-corpus", help="where sources are kept")
    parser.add_argument("--only", default="", help="only files whose path has this text")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return child(given.child)
    known = yaml.safe_load((HERE / "known.yaml").read_text(encoding="utf-8")) or {}
    bad = False
    for kind in given.kinds:
        module = importlib.import_module(kind)
        found = sorted(path for package in module.SOURCES for path in files(fetch(Package(*package), given.folder), module))
        chosen = [path for path in found if given.only in str(path)]
        bad |= show(kind, module, dict(outcomes(kind, chosen)), known.get(kind, {}), given.folder)
    return int(bad)


def fetch(package: Package, folder: Path) -> Path:
    """The unpacked sources of a package; without any, where the registry has them not, which is said."""
    place = folder / package.where / package.name
    if (place / "done").exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    try:
        (_from_python if package.where == "python" else _from_debian)(package.name, place, folder)
    except subprocess.CalledProcessError as error:
        print(f"{package.name}: not fetched ({Path(error.cmd[0]).name} gave status {error.returncode})")
        return place
    for archive in list(place.iterdir()):
        unpack(archive, place)
    (place / "done").touch()
    return place


def _from_python(name: str, place: Path, _: Path) -> None:
    asked = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", "."]
    subprocess.run([sys.executable, *asked, name], cwd=place, check=True, stderr=subprocess.DEVNULL)


def _from_debian(name: str, place: Path, folder: Path) -> None:
    lists = folder / "lists"
    settings = {"SourceParts": debian_sources(folder), "SourceList": "/dev/null"}
    options = [f"-oDir::Etc::{key}={value}" for key, value in settings.items()] + [f"-oDir::State::Lists={lists}", "--quiet=2"]
    lists.mkdir(exist_ok=True)
    if not any(lists.glob("*Sources*")):
        subprocess.run(["apt-get", *options, "update"], check=True)
    asked = ["apt-get", *options, "source", "--download-only", name]
    subprocess.run(asked, cwd=place, check=True, stderr=subprocess.DEVNULL)


def debian_sources(folder: Path) -> Path:
    """This machine's own list of Debian's packages, asked for sources instead of binaries."""
    place = folder / "sources.list.d"
    place.mkdir(parents=True, exist_ok=True)
    for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        if path.is_file() and path.suffix in (".list", ".sources"):
            lines = path.read_text(encoding="utf-8").splitlines()
            changed = [
                "deb-src" + line[3:] if line.startswith("deb ") else line.replace("Types: deb", "Types: deb-src")
                for line in lines
            ]
            (place / path.name).write_text("\n".join(changed) + "\n", encoding="utf-8")
    return place


def unpack(archive: Path, place: Path) -> None:
    """What is not an archive is left as it is."""
    if archive.is_file() and tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            tar.extractall(place, filter="data")
    elif archive.is_file() and zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as whole:
            whole.extractall(place)


def files(place: Path, module: Any) -> Iterator[Path]:
    """The files of this kind, by their endings; of tables, not the archives that are compressed alike."""
    claims = getattr(module, "claims", lambda path: True)
    for path in place.rglob("*"):
        if path.suffix.lower() in module.FORMATS and path.is_file() and path.stat().st_size and claims(path):
            yield path


def outcomes(kind: str, paths: list[Path]) -> Iterator[tuple[Path, tuple[str, str]]]:
    """What became of each file, by a child that is started anew behind each that ends it."""
    waiting = list(paths)
    while waiting:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as listed:
            json.dump([kind, list(map(str, waiting))], listed)
            listed.flush()
            asked = [sys.executable, __file__, "--child", listed.name]
            process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert process.stdout is not None
            done = 0
            for line in process.stdout:
                yield waiting[done], tuple(json.loads(line))
                done += 1
            status = process.wait()
        waiting = waiting[done:]
        if waiting:
            yield waiting.pop(0), ("crashed", f"the process ended with status {status}")


def child(listed: str) -> int:
    """Read files and print a line for each; a file that takes too long ends the process."""
    import faulthandler

    kind, paths = json.loads(Path(listed).read_text(encoding="utf-8"))
    module = importlib.import_module(kind)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    for path in paths:
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        print(json.dumps(module.check(Path(path))), file=out, flush=True)
        faulthandler.cancel_dump_traceback_later()
    return 0


def show(kind: str, module: Any, found: dict[Path, tuple[str, str]], known: dict[str, str], folder: Path) -> bool:
    """Print the table by format and what is wrong; whether anything is."""
    rows: dict[str, Counter[str]] = {}
    bad = []
    for path, (word, detail) in found.items():
        reason = next((reason for name, reason in known.items() if str(path).endswith(name)), None)
        if word in ("wrong", "crashed") and reason:
            word = "known"
        if word in ("wrong", "crashed"):
            bad.append(f"{word}: {path.relative_to(folder)}: {detail}")
        rows.setdefault(module.FORMATS[path.suffix.lower()], Counter())[word] += 1
    total = sum(rows.values(), Counter())
    print(f"{kind:12}" + "".join(f"{word:>12}" for word in WORDS))
    for name, counts in [*sorted(rows.items()), ("all", total)]:
        print(f"{name:12}" + "".join(f"{counts[word]:12,}" for word in WORDS))
    for line in bad:
        print(line)
    log = folder / f"{kind}.jsonl"
    log.write_text(
        "".join(json.dumps([str(path.relative_to(folder)), *one]) + "\n" for path, one in found.items()), encoding="utf-8"
    )
    print(f"every file: {log}\n")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
