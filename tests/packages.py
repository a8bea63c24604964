"""Packages with entry points, as pip would install them."""

from pathlib import Path


def install(site: Path, name: str, code: str, **points: str) -> None:
    """A package `name` on the path, with a module `name`; `points` are lines of entry points by the last word of their group."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(f"[zoo.{group}]\n{line}\n" for group, line in points.items()))
    (site / f"{name}.py").write_text(code)
    (site / f"{name}.yaml").write_text("# A recipe.\nstrategy: full\n")
