"""The wheel by itself: it has all that zoo reads, and the command runs from it, beside no checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True, text=True)
    return next(folder.glob("*.whl"))


def ran(site: Path, *words: str) -> str:
    """stdout of `zoo`, of the wheel's code alone, in an empty working folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(site), "ZOO_CACHE": str(site.parent / "cache"), "HF_HUB_OFFLINE": "1"}
    place = site.parent / "elsewhere"
    place.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_one_package_with_its_content(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"zoo", f"{wheel.name.rsplit('-', 3)[0]}.dist-info"}
    for folder, ending in (("adapters", ".yaml"), ("recipes", ".yaml"), ("recipes", ".py"), ("model_cards", ".md")):
        here = {path.name for path in (ROOT / folder).glob(f"*{ending}")}
        assert here == {Path(name).name for name in names if name.startswith(f"zoo/_content/{folder}/") and name.endswith(ending)}
    assert "zoo/py.typed" in names


def test_the_command_runs_from_it(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    assert str(site) in ran(site, "-c", "import zoo; print(zoo.__file__)")
    rows = json.loads(ran(site, "-m", "zoo", "list", "recipes", "--json").splitlines()[-1])
    assert "linear-probe" in json.dumps(rows)
    words = [
        "finetune",
        "timm/test_resnet.r160_in1k",
        "--weights",
        "random",
        "--image-size",
        "32",
        "--freeze",
        "backbone",
        "--out",
        "run",
    ]
    result = json.loads(ran(site, "-m", "zoo", *words, "--json").splitlines()[-1])
    assert result["status"] == "finished"
    assert (site.parent / "elsewhere" / "run" / "best" / "README.md").exists()
